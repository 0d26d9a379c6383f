"""Interfaces of a loaded model, independent of its family and backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
import numpy.typing as npt

from mimicam.engine.errors import EngineError
from mimicam.engine.models.features import Features as Features
from mimicam.engine.network_spec import Shapes
from mimicam.engine.types import Face, Float, Image, Mode, MotionCode, WarpFields

if TYPE_CHECKING:
    from mimicam.engine.models.reenactor import Reenactor


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentCodes:
    """Motion of a face as an image encoder reads it (DPE, equation 2): codes to add to a latent."""

    expression: Float
    """``[L]``"""
    pose: Float
    """``[L]``"""


class LiveModel(Protocol):
    """A set of weights on one backend, as a pipeline uses it. Not thread-safe."""

    name: str
    """``compact`` or the file's name."""
    backend: str
    """Backend, precision and device, for people: ``openvino bf16, 2 threads``."""
    sha256: str
    """SHA-256 of the weights."""
    size: int
    """Side of the crop, pixels."""
    modes: tuple[Mode, ...]
    """Modes that it supports. ``both`` alone: one code moves expression and pose together."""
    native_size: bool
    """Whether results have the model's own size only. Otherwise they are as sharp as the
    portrait."""
    smooth_recordings: bool
    """Whether motion in recordings is filtered, as a camera's is."""
    has_blendshapes: bool
    """Whether its motion has blendshapes: regions of the face have gains of their own
    (`engine.face.regions`), and expression presets can be added. Otherwise one code moves the whole
    expression."""

    def reenactor(self, *, smooth: bool, previous: Any = None) -> Reenactor[Any, Any, Any]:
        """Make the steps of one session.

        Args:
            smooth: filter the driver's motion over time.
            previous: reenactor of the same session on another backend; its neutral is kept.

        Raises:
            KernelBuildError: a kernel does not compile on this machine.
        """


class Model(LiveModel, Protocol):
    """A model that can also enroll portraits."""

    needs_face: bool
    """Whether a portrait needs a face that the tracker finds. Otherwise an aligned picture
    suffices."""

    def feature_shapes(self) -> Shapes:
        """Return the shapes of a portrait's features by name, in the order of `encode`."""

    def encode(self, crop: Image) -> Features:
        """Return latent and feature maps of a portrait, uint8 ``[S, S, 3]``."""


@runtime_checkable
class TrackerDrivenModel(Model, Protocol):
    """A model that is driven by the tracker's motion."""

    def generate(self, features: Features, conditioning: Mapping[str, Float]) -> WarpFields:
        """Return the warp fields of a picture. The next call overwrites their buffers.

        ``conditioning``: the generator's inputs besides the features, by name and without a batch
        axis; see `engine.models.compact.spec.generator_spec`.
        """


def is_tracker_driven(model: LiveModel) -> TypeGuard[TrackerDrivenModel]:
    """Whether a model's `generate` takes the tracker's motion.

    `isinstance` compares names alone, and the `generate` of an `ImageDrivenModel` takes codes.
    """
    return isinstance(model, TrackerDrivenModel) and not isinstance(model, ImageDrivenModel)


ReadFace = Callable[[Image, Float], Face | None]
"""Reads the face of a picture near landmarks ``[478, 3]``, pixels. None: there is none."""


@runtime_checkable
class CalibratedModel(Model, Protocol):
    """A model whose portraits show expressions more or less strongly, which it measures."""

    def measure_response(
        self, crop: Image, motion: MotionCode, features: Features, read: ReadFace
    ) -> Float | None:
        """Return the factor by which each blendshape has to be asked for, ``[52]``.

        Takes a second on one core: call it once, when a portrait is enrolled. The factors are 1
        where the tracker does not read the portrait's drawn faces. None: the model measures none.

        Args:
            crop: uint8 ``[S, S, 3]``.
            motion: the portrait's own motion in it.
            features: as the model encoded it.
            read: reads the drawn faces.
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
    """A model that reads motion from the driver's picture, as published for DPE and DAE-GAN."""

    def read_motion(self, crop: Image) -> LatentCodes:
        """Return the codes of a driver's face, uint8 ``[S, S, 3]``.

        A joint code is returned as ``expression``; then ``pose`` is empty.
        """

    def generate(self, features: Features, *, expression: Float | None, pose: Float | None) -> Image:
        """Return a picture, uint8 ``[S, S, 3]``. The next call overwrites its buffer.

        ``expression``, ``pose``: codes ``[L]`` to add to the latent. None: that branch does not
        run.

        Raises:
            ValueError: the model cannot run these branches.
        """


@runtime_checkable
class SeveralFramesModel(Model, Protocol):
    """A model whose portrait may come from several pictures of one person."""

    frame_size: int
    """Side of the crops that it reads, pixels: T."""

    def encode_frames(self, crops: Sequence[Image]) -> Features:
        """Return the features of a portrait from at least one crop, uint8 ``[T, T, 3]``; the pose
        and expression at rest are the first crop's."""


@runtime_checkable
class RetrievalModel(ImageDrivenModel, Protocol):
    """A model that embeds expression and pose for retrieval (DAE-GAN, section 4.3)."""

    def retrieval_embedding(self, crop: Image) -> Float:
        """Return what a retrieval compares by cosine, ``[E]``, of a face, uint8 ``[S, S, 3]``."""


def check_own(features: Features, sha256: str) -> None:
    """Refuse a portrait that another model encoded.

    Raises:
        EngineError: another model encoded it.
    """
    if features.model != sha256:
        raise EngineError("this portrait was enrolled with other weights: run 'mimicam enroll' again")


def as_network_input(crop: Image) -> Float:
    """Convert a picture, uint8 ``[S, S, 3]``, to network input ``[1, 3, S, S]`` in -1..1."""
    # To the range of the generators' tanh.
    image: Float = crop.astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1.0
    return image


def as_picture(output: npt.NDArray[Any], out: Image) -> Image:
    """Round a picture ``[1, 3, S, S]`` in -1..1 into ``out``, uint8 ``[S, S, 3]``; return it."""
    # Rounded, not cut off: the same byte on every backend that is within half a level.
    grey = (np.clip(output[0].astype(np.float32), -1.0, 1.0) + 1.0) * 127.5
    np.copyto(out, np.rint(grey).transpose(1, 2, 0), casting="unsafe")
    return out


def as_warp_fields(outputs: Mapping[str, Float]) -> WarpFields:
    """Convert the outputs of a generator, with a batch of one and channels first, to warp fields.

    ``outputs``: see `engine.models.compact.spec.generator_spec`.
    """
    inpaint, flow = outputs["inpaint"], outputs["flow"]
    _, _, height, width = inpaint.shape
    # A new picture: the outputs lie in memory that the next frame overwrites.
    picture = as_picture(inpaint, np.empty((height, width, 3), np.uint8))
    return WarpFields(
        inpaint=picture,
        visibility=outputs["visibility"][0, 0],
        flow=np.ascontiguousarray(flow[0].transpose(1, 2, 0)),
    )
