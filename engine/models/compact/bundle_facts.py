"""Header of a bundle: ``model.json`` in a folder that ``mimicam bundle`` wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mimicam.engine.errors import EngineError
from mimicam.engine.models.compact.spec import CompactConfig

COMPACT_DIR = Path(__file__).parents[2] / "assets" / "compact"
"""Bundle that comes with mimicam."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFacts:
    """Facts of a bundle that a backend reads before the weights."""

    name: str
    sha256: str
    """SHA-256 of the weights; portraits carry it."""
    size: int
    """Side of the crop, pixels."""
    config: CompactConfig


def read_facts(folder: Path) -> BundleFacts:
    """Read and check ``model.json``.

    Raises:
        EngineError: it is missing or damaged.
    """
    try:
        facts = json.loads((folder / "model.json").read_text())
        return BundleFacts(
            name=str(facts["name"]),
            sha256=str(facts["sha256"]),
            size=int(facts["size"]),
            config=CompactConfig(**facts["config"]),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise EngineError(
            f"{folder / 'model.json'} is damaged: reinstall mimicam, or make the bundle again"
        ) from error
