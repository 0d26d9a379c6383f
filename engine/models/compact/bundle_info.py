"""Where compact models ship, and the header of their bundles."""

from __future__ import annotations

from pathlib import Path

from mimicam.engine.models import bundle_file
from mimicam.engine.models.compact.spec import CompactConfig

COMPACT_DIR = bundle_file.SHIPPED / "compact"
"""Bundle that comes with mimicam."""
BundleInfo = bundle_file.BundleInfo[CompactConfig]


def read_info(folder: Path) -> BundleInfo:
    """Read and check ``model.json``.

    Raises:
        EngineError: it is missing or damaged.
    """
    return bundle_file.read_bundle(folder, lambda values: CompactConfig(**values))
