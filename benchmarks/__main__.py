"""``python -m mimicam.benchmarks --compare A.json B.json [--tolerance 0.05]``"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimicam.benchmarks.compare import report
from mimicam.engine.errors import EngineError


def main(arguments: list[str]) -> int:
    """0: nothing is worse; 1: something is; 2: the files cannot be compared."""
    parser = argparse.ArgumentParser(prog="python -m mimicam.benchmarks", description=__doc__)
    parser.add_argument("--compare", nargs=2, type=Path, required=True, metavar=("BEFORE", "AFTER"))
    parser.add_argument("--tolerance", type=float, default=0.05, help="as a share; 0.05 by default")
    options = parser.parse_args(arguments)
    try:
        text, code = report(tuple(options.compare), options.tolerance)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
