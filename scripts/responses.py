"""Measure the bundled portraits' responses: ``python -m scripts.responses``.

Run it after new weights or portraits, then ``python -m scripts.assets``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mimicam.engine.assets_manifest import ASSETS, RESPONSES, bundled_portraits, pixel_hash
from mimicam.engine.models.load import load_model
from mimicam.engine.portrait import enroll


def main() -> None:
    """Write the file that `engine.assets_manifest.known_response` reads."""
    path, model = ASSETS / RESPONSES, load_model("compact")
    # Without the old values, so that each portrait is measured.
    _write(path, {"model": model.sha256, "pictures": {}})
    pictures = {}
    for file in bundled_portraits():
        portrait = enroll(file, model=model)
        response = portrait.response
        assert response is not None, "the bundled model measures responses"
        pictures[pixel_hash(portrait.picture)] = [round(float(value), 3) for value in response]
        print(file.stem, " ".join(f"{value:.2f}" for value in response))
    _write(path, {"model": model.sha256, "pictures": pictures})


def _write(path: Path, known: dict[str, Any]) -> None:
    path.write_text(json.dumps(known, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
