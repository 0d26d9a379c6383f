"""Refuse a Python that is too old or too new, in one line. Runs on any Python 3."""

import sys

if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    have = ".".join(str(part) for part in sys.version_info[:3])
    sys.exit(
        "error: mimicam needs Python 3.10 to 3.13, this is " + have + "; run: make PYTHON=python3.12 ..."
    )
