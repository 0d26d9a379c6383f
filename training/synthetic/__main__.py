"""``python -m mimicam.training.synthetic --count N --seed S --out FILE.npz``, or ``... fitted``."""

import sys

import tyro

from mimicam.engine.errors import EngineError
from mimicam.training.commands.data.reexpress import Fitted
from mimicam.training.commands.data.render import Synthesize


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused, 130 interrupted (run again to resume)."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["fitted"]:
            return tyro.cli(Fitted, args=words[1:]).run()
        return tyro.cli(Synthesize, args=words).run()
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
