"""``model.json`` of a folder that ``mimicam models bundle`` wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mimicam.engine.errors import EngineError
from mimicam.engine.models.compact.spec import CompactConfig

COMPACT_DIR = Path(__file__).parents[2] / "assets" / "compact"
"""The bundle that comes with mimicam."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInfo:
    """What a backend needs to know before it loads the weights."""

    name: str
    sha256: str
    """Of the weights; portraits carry it."""
    size: int
    """Side of the crop, pixels."""
    config: CompactConfig


def read_info(folder: Path) -> BundleInfo:
    """Read and check ``model.json``.

    Raises:
        EngineError: it is missing or damaged.
    """
    try:
        info = json.loads((folder / "model.json").read_text())
        return BundleInfo(
            name=str(info["name"]),
            sha256=str(info["sha256"]),
            size=int(info["size"]),
            config=CompactConfig(**info["config"]),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise EngineError(
            f"{folder / 'model.json'} is damaged: reinstall mimicam, or make the bundle again"
        ) from error
