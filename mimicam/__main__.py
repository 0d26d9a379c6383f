"""``python -m mimicam``: the ``mimicam`` command where the folder of scripts is not on the path."""

import sys

from mimicam.engine.commands import main

if __name__ == "__main__":
    sys.exit(main())
