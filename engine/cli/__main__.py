"""``python -m engine.cli``: the same command where the script folder is not on the path."""

import sys

from engine.cli import main

sys.exit(main())
