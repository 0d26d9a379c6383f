"""Sizes of the DPE networks, as values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DpeConfig:
    """One size of the networks of DPE (CVPR 2023, section 3.1)."""

    name: str
    size: int
    """Side of the picture in pixels: a power of two, at least 8."""
    latent: int
    """Values of the encoder's latent, and of each motion code."""
    directions: int
    """Orthogonal motion directions in the latent space."""
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
        """Sides of the feature maps handed from encoder to generator: 8, 16, ... ``size``."""
        return tuple(1 << k for k in range(3, self.size.bit_length()))

    def channels_at(self, resolution: int) -> int:
        """Channels of encoder and generator where the picture is ``resolution`` pixels wide."""
        return self.channels[resolution.bit_length() - 3]

    def as_dict(self) -> dict[str, Any]:
        """For the JSON beside a checkpoint; ``from_dict`` reads it back."""
        return asdict(self) | {"channels": list(self.channels)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DpeConfig:
        """The config that ``as_dict`` wrote. Raises KeyError, TypeError or ValueError on anything else."""
        return cls(
            name=str(values["name"]),
            size=int(values["size"]),
            latent=int(values["latent"]),
            directions=int(values["directions"]),
            channels=tuple(int(c) for c in values["channels"]),
        )


PUBLISHED = DpeConfig(
    name="published", size=256, latent=512, directions=20, channels=(512, 512, 512, 512, 256, 128, 64)
)
"""The published weights' size: 69 M values, 61 GFLOP a frame for one mode."""

DEBUG = DpeConfig(name="debug", size=64, latent=32, directions=8, channels=(24, 24, 16, 16, 8))
"""A toy for tests: random weights, milliseconds a picture."""

SMALL = DpeConfig(name="small", size=64, latent=128, directions=20, channels=(128, 128, 128, 96, 64))
"""What a CPU can train for a look at the losses: 3 s a step of four pairs on one core (2026-11). ``debug`` is too narrow
to learn: there the losses stop falling after a hundred steps."""

PRESETS = {preset.name: preset for preset in (PUBLISHED, SMALL, DEBUG)}
