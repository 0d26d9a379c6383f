"""What a loaded model offers to the stages, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mimicam.engine.errors import EngineError
from mimicam.engine.types import Float, Image, Mode, WarpFields

if TYPE_CHECKING:
    from mimicam.engine.models.reenactor import Reenactor


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


class LiveModel(Protocol):
    """A set of weights on one backend, as a pipeline drives it. Not thread-safe."""

    name: str
    """``compact`` or the file's name."""
    backend: str
    """What runs it, for people: ``openvino bf16, 2 threads``."""
    sha256: str
    """Hash of the weights."""
    size: int
    """Side of the crop, pixels."""
    modes: tuple[Mode, ...]
    """What it can be driven in. ``both`` alone: one code moves expression and pose together."""
    native_size: bool
    """Whether it draws pictures of its own size only. Otherwise results are as sharp as the portrait."""
    smooth_recordings: bool
    """Whether motion of recordings is filtered, as that of a camera is."""

    def reenactor(self, *, smooth: bool, previous: Any = None) -> Reenactor[Any, Any, Any]:
        """Make the steps of one session.

        Args:
            smooth: filter the driver's motion over time.
            previous: the reenactor of a session that goes on with this model, whose neutral is kept.

        Raises:
            KernelBuildError: a kernel does not compile on this machine.
        """


class Model(LiveModel, Protocol):
    """A model that can also enroll portraits."""

    needs_face: bool
    """Whether a portrait needs a face that the tracker finds. Otherwise an aligned picture is enough."""

    def encode(self, crop: Image) -> Features:
        """Return latent and feature maps of a portrait, uint8 ``[S, S, 3]``."""


@runtime_checkable
class TrackerDrivenModel(Model, Protocol):
    """A model that is driven by the tracker's motion."""

    def generate(self, features: Features, conditioning: Mapping[str, Float]) -> WarpFields:
        """Return the warp fields of a picture. The next call overwrites their buffers.

        ``conditioning``: the generator's inputs besides the features, by name and without a batch axis; see
        `engine.models.compact.spec.generator_spec`.
        """


class CodedModel(LiveModel, Protocol):
    """A model whose portraits have latent codes of their own."""

    def own_codes(self, features: Features) -> LatentCodes:
        """Return the portrait's codes, read when it was encoded.

        Raises:
            EngineError: another model encoded it.
        """


@runtime_checkable
class ImageDrivenModel(CodedModel, Model, Protocol):
    """A model that reads motion from the driver's picture, as DPE and DAE-GAN were published."""

    def read_motion(self, crop: Image) -> LatentCodes:
        """Return the codes of a driver's face, uint8 ``[S, S, 3]``. A joint code is ``expression``; ``pose`` is empty."""

    def generate(self, features: Features, *, expression: Float | None, pose: Float | None) -> Image:
        """Return a picture, uint8 ``[S, S, 3]``. The next call overwrites its buffer.

        ``expression``, ``pose``: codes ``[L]`` to add to the latent. None: that branch does not run.

        Raises:
            ValueError: the model cannot run these branches.
        """


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


def as_warp_fields(outputs: Mapping[str, Float]) -> WarpFields:
    """Convert outputs of `engine.models.compact.spec.generator_spec`, with a batch of one, channels first."""
    painted, flow = outputs["painted"], outputs["flow"]
    _, _, height, width = painted.shape
    picture = as_picture(painted, np.empty((height, width, 3), np.uint8))
    return WarpFields(
        inpaint=picture,
        visibility=outputs["mask"][0, 0],
        flow=np.ascontiguousarray(flow[0].transpose(1, 2, 0)),
    )
