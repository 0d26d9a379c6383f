"""DAE-GAN's sizes: those of the paper's form, and `config_of` for both. Importing it needs no
PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mimicam.engine.checked_files import integer
from mimicam.engine.models.daegan.compact_config import CompactDaeGanConfig

GROUPS = 4
"""Groups of every group normalisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaeGanConfig:
    """Size and widths of the networks."""

    name: str = "daegan"
    size: int = 256
    """Side of the picture, a power of two from 32 on."""
    width: int = 64
    """Channels at full size; doubled at each halving up to ``most``. A multiple of 4."""
    most: int = 512
    code: int = 256
    """Values of the pose code."""
    blocks: int = 6
    """Residual blocks in the middle of the generator."""
    reduction: int = 16
    """Factor by which the middle of the generator is smaller than the picture."""

    @property
    def face_size(self) -> int:
        """Side of the embedded face."""
        return self.size

    def __post_init__(self) -> None:
        for value in (self.size, self.width, self.most, self.code, self.reduction, self.blocks):
            integer(value, 1, 1 << 12)
        if self.size < 32 or self.size & (self.size - 1):
            raise ValueError(f"size must be a power of two from 32 on, got {self.size}")
        if self.width % GROUPS or self.most % GROUPS:
            raise ValueError(
                f"width and most must be multiples of {GROUPS}, got {self.width} and {self.most}"
            )
        if self.reduction < 4 or self.reduction & (self.reduction - 1) or self.reduction * 4 > self.size:
            raise ValueError(f"reduction must be a power of two in 4..{self.size // 4}, got {self.reduction}")

    def widths(self, smallest: int) -> tuple[int, ...]:
        """Return channels at ``size``, ``size / 2``, ... ``smallest`` pixels."""
        steps = (self.size // smallest).bit_length()
        return tuple(min(self.width << k, self.most) for k in range(steps))


DAEGAN = DaeGanConfig()
DAEGAN_SMALL = DaeGanConfig(name="daegan-small", size=64, width=24, most=96, code=64, blocks=3, reduction=8)
"""Small enough to train within an hour on a CPU core."""
DAEGAN_DEBUG = DaeGanConfig(name="daegan-debug", size=32, width=8, most=16, code=12, blocks=1, reduction=4)

AnyConfig = DaeGanConfig | CompactDaeGanConfig


def config_of(values: dict[str, Any]) -> AnyConfig:
    """Return the sizes that a header states.

    Raises:
        TypeError, ValueError: they are none.
    """
    # Only the compact form has a code for the face.
    return CompactDaeGanConfig(**values) if "face_code" in values else DaeGanConfig(**values)
