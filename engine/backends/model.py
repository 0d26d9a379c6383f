"""What a loaded model offers to the stages, whatever runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from engine.types import Float, Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """A portrait as the generator wants it: computed once, kept.

    The arrays belong to the model that made them; ``model`` is its hash, so that a file written by another
    model is refused.
    """

    arrays: tuple[npt.NDArray[Any], ...]
    """Latent first, then the feature maps, then the picture."""
    model: str


class Model(Protocol):
    """Encoder and generator of one set of weights on one backend. Not thread-safe."""

    name: str
    """``compact`` or the file's name."""
    backend: str
    """What runs it, for people: ``openvino bf16, 2 threads``."""
    sha256: str
    """Of the weights."""
    size: int
    """Side of the crop, pixels."""

    def encode(self, crop: Image) -> Features:
        """Latent and feature maps of a portrait, uint8 ``[S, S, 3]``."""

    def generate(self, features: Features, drive: tuple[Float, ...]) -> Image:
        """A picture, uint8 ``[S, S, 3]``. The buffer is used again by the next call.

        ``drive``: the arrays of `engine.stages.motion.Drive`, in its order.
        """
