"""Sizes of the DPE networks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mimicam.engine.checked_files import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class DpeConfig:
    """Size and widths of the networks of DPE (CVPR 2023, section 3.1)."""

    name: str
    size: int
    """Side of the picture in pixels: a power of two, at least 8."""
    latent: int
    """Number of values of the encoder's latent and of each motion code."""
    directions: int
    """Number of orthogonal motion directions in the latent space."""
    channels: tuple[int, ...]
    """Channels of the feature maps at 4, 8, 16, ... ``size`` pixels."""

    def __post_init__(self) -> None:
        if self.size < 8 or self.size & (self.size - 1):
            raise ValueError(f"size must be a power of two from 8 on, got {self.size}")
        if not all(0 < n <= 1 << 16 for n in (self.latent, *self.channels)) or self.size > 1 << 12:
            raise ValueError("size, latent and channels are out of any sensible range")
        if len(self.channels) != len(self.resolutions) + 1:
            raise ValueError(
                f"channels must name every resolution from 4 to {self.size}, got {self.channels}"
            )
        if not 0 < self.directions <= self.latent:
            raise ValueError(f"directions must lie in 1..{self.latent}, got {self.directions}")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sides of the feature maps from encoder to generator: 8, 16, ... ``size``."""
        # Not 4: the generator starts there from a constant, without the portrait's map.
        return tuple(1 << k for k in range(3, self.size.bit_length()))

    def channels_at(self, resolution: int) -> int:
        """Return the channels of encoder and generator at a side of ``resolution`` pixels."""
        return self.channels[resolution.bit_length() - 3]

    def as_dict(self) -> dict[str, Any]:
        """Return values for the JSON beside a checkpoint; ``from_dict`` reads them."""
        return asdict(self) | {"channels": list(self.channels)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DpeConfig:
        """Return the config that ``as_dict`` wrote.

        Raises:
            KeyError, TypeError, ValueError: the values are not such a config.
        """
        return cls(
            name=one_line(values["name"]),
            size=int(values["size"]),
            latent=int(values["latent"]),
            directions=int(values["directions"]),
            channels=tuple(int(c) for c in values["channels"]),
        )


PUBLISHED = DpeConfig(
    name="published", size=256, latent=512, directions=20, channels=(512, 512, 512, 512, 256, 128, 64)
)
"""Size of the published weights: 69 M values, 61 GFLOP a frame for one mode."""

DEBUG = DpeConfig(name="debug", size=64, latent=32, directions=8, channels=(24, 24, 16, 16, 8))
"""Tiny networks for tests: random weights, milliseconds per picture."""

SMALL = DpeConfig(name="small", size=64, latent=128, directions=20, channels=(128, 128, 128, 96, 64))
"""Small enough to train on a CPU and look at the losses: 3 s a step of four pairs on one core
(2026-11). ``debug`` is too narrow to train: its losses stop falling after a hundred steps."""

PRESETS = {preset.name: preset for preset in (PUBLISHED, SMALL, DEBUG)}
