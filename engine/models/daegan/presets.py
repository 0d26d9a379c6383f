"""DAE-GAN's sizes by name, and the networks of each."""

from __future__ import annotations

from mimicam.engine.models.daegan.compact import CompactDaeGan
from mimicam.engine.models.daegan.compact_config import (
    DAEGAN_COMPACT,
    DAEGAN_COMPACT_64,
    DAEGAN_COMPACT_128,
    CompactDaeGanConfig,
)
from mimicam.engine.models.daegan.config import DAEGAN, DAEGAN_DEBUG, DAEGAN_SMALL, AnyConfig
from mimicam.engine.models.daegan.network import DaeGan, DaeGanNetworks

PRESETS: dict[str, AnyConfig] = {
    preset.name: preset
    for preset in (DAEGAN, DAEGAN_SMALL, DAEGAN_DEBUG, DAEGAN_COMPACT, DAEGAN_COMPACT_128, DAEGAN_COMPACT_64)
}


def build(config: AnyConfig) -> DaeGanNetworks:
    """Make networks with fresh weights."""
    return CompactDaeGan(config) if isinstance(config, CompactDaeGanConfig) else DaeGan(config)
