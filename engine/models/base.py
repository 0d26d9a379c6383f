"""What a loaded model offers to the stages, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mimicam.engine.errors import EngineError
from mimicam.engine.types import Float, Image, Layers, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """A portrait as the generator wants it: computed once, kept.

    The arrays belong to the model that made them; ``model`` is its hash, so that a file written by another
    model is refused.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    """By the names that the model's networks give them."""
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentCodes:
    """A face's motion as the picture encoder reads it (DPE, equation 2): what is added to a latent."""

    expression: Float
    """``[L]``"""
    pose: Float
    """``[L]``"""


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


@runtime_checkable
class TrackerModel(Model, Protocol):
    """A model that is driven by what the tracker reads."""

    def generate(self, features: Features, conditioning: Mapping[str, Float]) -> Layers:
        """A picture's layers. The buffers are used again by the next call.

        ``conditioning``: what the generator takes beside the features, by name and without a batch axis: see
        `engine.models.compact.spec.generator_spec`.
        """


@runtime_checkable
class PictureModel(Model, Protocol):
    """A model that reads motion off the driver's picture, as DPE and DAE-GAN were published, not off the tracker."""

    modes: tuple[Mode, ...]
    """What it can be driven in. ``both`` alone: one code moves expression and pose together."""

    def read_motion(self, crop: Image) -> LatentCodes:
        """Both codes of a driver's face, uint8 ``[S, S, 3]``; one that moves both is ``expression``, ``pose`` empty."""

    def own_codes(self, features: Features) -> LatentCodes:
        """The portrait's codes, read when it was encoded.

        Raises:
            EngineError: it was encoded by another model.
        """

    def generate(self, features: Features, drive: tuple[Float | None, ...]) -> Image:
        """A picture, uint8 ``[S, S, 3]``. The buffer is used again by the next call.

        ``drive``: the arrays of `engine.stages.picture.CodeDrive`, in its order.
        """


LiveModel = TrackerModel | PictureModel
"""What a pipeline can be driven with."""


def check_own(features: Features, sha256: str) -> None:
    """Refuse a portrait that another model encoded.

    Raises:
        EngineError: it is one.
    """
    if features.model != sha256:
        raise EngineError("this portrait was enrolled with other weights: run 'mimicam enroll' again")


def as_network_input(crop: Image) -> Float:
    """A picture uint8 ``[S, S, 3]`` as the networks want it: ``[1, 3, S, S]`` in -1..1."""
    image: Float = crop.astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1.0
    return image


def as_picture(output: npt.NDArray[Any], out: Image) -> Image:
    """A network's picture ``[1, 3, S, S]`` in -1..1, rounded into ``out``, uint8 ``[S, S, 3]``; returns ``out``."""
    grey = (np.clip(output[0].astype(np.float32), -1.0, 1.0) + 1.0) * 127.5
    np.copyto(out, np.rint(grey).transpose(1, 2, 0), casting="unsafe")
    return out


def as_layers(outputs: Mapping[str, Float]) -> Layers:
    """Outputs of `engine.models.compact.spec.generator_spec`, with a batch of one, channels first."""
    painted, flow = outputs["painted"], outputs["flow"]
    _, _, height, width = painted.shape
    picture = as_picture(painted, np.empty((height, width, 3), np.uint8))
    return Layers(
        painted=picture, mask=outputs["mask"][0, 0], flow=np.ascontiguousarray(flow[0].transpose(1, 2, 0))
    )
