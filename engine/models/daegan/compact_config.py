"""Sizes of DAE-GAN's compact preset; its networks are in ``engine.models.daegan.compact``."""

from __future__ import annotations

from dataclasses import dataclass

from mimicam.engine.checked_files import integer

FIELD = 32
"""Side of displacements, attention maps and the generator's first maps."""
FRONT = (48, 96)
"""Channels of the generator at 32 and 16 pixels."""
BACK = {64: 24, 128: 16, 256: 8}
"""Channels of the generator's back end by side."""
RETRIEVED = 56
"""Values that the retrieval by expression and pose compares: 52 blendshapes, 3 head angles and a
constant; see `training.daegan.retrieval`."""
FINER = 2
"""Sides of the picture that a side of the embedded face has. The face is sampled twice, from the
frame and into the picture, and each time loses detail: at the picture's own size, results have 0.53
of the detail of the true frames, and 0.70 at twice the size (training/LOG.md). The generator takes
5 % longer, since it samples from a larger picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactDaeGanConfig:
    """Size of the compact preset."""

    name: str = "daegan-compact"
    size: int = 256
    """Side of the picture: 64, 128 or 256."""
    code: int = 64
    """Values of the pose code. Few, so that little of a driver's looks fits in."""
    face_code: int = 128
    """Values between the face embedder's encoder and decoder."""
    blocks: int = 3
    """Residual blocks in the middle of the generator."""
    width: int = 32
    """Channels of the discriminator's first layer."""
    most: int = 128
    """Most channels of the discriminator."""

    @property
    def face_size(self) -> int:
        """Side of the embedded face."""
        return FINER * self.size

    def __post_init__(self) -> None:
        for value in (self.code, self.face_code, self.blocks, self.width, self.most):
            integer(value, 1, 1 << 12)
        if self.size not in BACK:
            raise ValueError(f"size must be one of {', '.join(map(str, BACK))}, got {self.size}")


DAEGAN_COMPACT = CompactDaeGanConfig()
DAEGAN_COMPACT_128 = CompactDaeGanConfig(name="daegan-compact-128", size=128)
DAEGAN_COMPACT_64 = CompactDaeGanConfig(name="daegan-compact-64", size=64)
