"""Header of a bundle: ``model.json`` in a folder that ``mimicam models bundle`` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mimicam.engine.checked_files import one_line, read_json
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
        values = read_json(folder / "model.json")
        config = CompactConfig(**values["config"])
        if values["size"] != config.size:
            raise ValueError("its two sizes differ")
        return BundleInfo(
            name=one_line(values["name"]), sha256=one_line(values["sha256"]), size=config.size, config=config
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise EngineError(
            f"{folder / 'model.json'} is damaged: reinstall mimicam, or make the bundle again"
        ) from error
