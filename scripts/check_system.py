"""Check for the system libraries that OpenCV needs, and print the command that installs missing
ones."""

import sys

from mimicam.engine.doctor import import_remedy


def main() -> int:
    """Import OpenCV; return 1 if it fails."""
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
