"""Try what OpenCV needs of the system, and name the command that installs what is missing."""

import sys

from mimicam.engine.doctor import import_remedy


def main() -> int:
    """0: all there."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        print(
            f"error: a system library is missing ({error}); run: {import_remedy('opencv-python', str(error))}"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
