"""Run ``python -m training.synthetic --count N --seed S --out FILE.npz``."""

import sys

import tyro

from engine.errors import EngineError
from training.synthetic.cli import Synthesize


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused, 130 interrupted (run again to resume)."""
    try:
        return tyro.cli(Synthesize, args=argv).run()
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
