"""Header of a bundle: ``model.json`` in a folder that ``mimicam models bundle`` wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mimicam.engine.errors import EngineError
from mimicam.engine.models.compact.spec import CompactConfig

COMPACT_DIR = Path(__file__).parents[2] / "assets" / "compact"
"""Bundle that comes with mimicam."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInfo:
    """Facts of a bundle that a backend reads before the weights."""

    name: str
    sha256: str
    """SHA-256 of the weights; portraits carry it."""
    size: int
    """Side of the crop, pixels."""
    config: CompactConfig


def read_info(folder: Path) -> BundleInfo:
    """Read and check ``model.json``.

    Raises:
        EngineError: it is missing or damaged.
    """
    try:
        values = json.loads((folder / "model.json").read_text())
        return BundleInfo(
            name=str(values["name"]),
            sha256=str(values["sha256"]),
            size=int(values["size"]),
            config=CompactConfig(**values["config"]),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise EngineError(
            f"{folder / 'model.json'} is damaged: reinstall mimicam, or make the bundle again"
        ) from error
