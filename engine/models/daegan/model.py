"""DAE-GAN (AAAI 2020) on any backend that runs its networks.

Its pose code holds head pose and expression together (section 3: "pose-related information",
expression included). Nothing in it or in its training separates them, so it supports mode ``both``
only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from mimicam.engine.backends.networks import ModelInfo, Networks, Resident
from mimicam.engine.models.base import Features, LatentCodes, as_network_input, as_picture, check_own
from mimicam.engine.models.daegan.agreement import SHARPNESS, disagreement, matrices, resting_mouth
from mimicam.engine.models.daegan.edit import JointEdit
from mimicam.engine.models.image_driven import ImageDrivenReenactor
from mimicam.engine.network_spec import Shapes
from mimicam.engine.stages.person_composite import composite_person
from mimicam.engine.types import Float, Image, Mode

NETWORKS = ("face_embedder", "front", "pose_encoder", "generator")
"""Names of the networks; see `engine.models.daegan.spec` for inputs and outputs."""


class DaeGanModel:
    """See `engine.models.base.ImageDrivenModel`."""

    modes: tuple[Mode, ...] = (Mode.BOTH,)
    native_size, needs_face, smooth_recordings = True, False, False
    has_blendshapes = False

    def __init__(self, networks: Networks, info: ModelInfo) -> None:
        """Wrap opened networks, which have the weights that ``info`` names."""
        self._networks, self._resident = networks, Resident(networks)
        self.name, self.sha256 = info.name, info.sha256
        self.size, self.backend = info.size, info.backend
        self.frame_size = networks.output_shapes("face_embedder")["warped"][-1]
        # The compact preset draws over the fused face itself, so its blur would be seen.
        self._by_agreement = "embedded_face" in networks.output_shapes("front")
        self._picture = np.empty((self.size, self.size, 3), np.uint8)

    def feature_shapes(self) -> Shapes:
        """See `engine.models.base.Model.feature_shapes`."""
        code = self._networks.output_shapes("pose_encoder")["code"]
        return {**self._networks.output_shapes("front"), "code": code}

    def encode(self, crop: Image) -> Features:
        """See `engine.models.base.Model.encode`."""
        return self.encode_frames((crop,))

    def encode_frames(self, crops: Sequence[Image]) -> Features:
        """Encode the face fused from several frames of one person, uint8 ``[T, T, 3]`` each.

        T is `frame_size`, from which all of the detail comes; crops of other sides are scaled.

        Arrays: the outputs of ``front``, which the generator reads in every frame, and ``code``,
        the pose code of the first frame.

        Raises:
            ValueError: ``crops`` is empty.
        """
        if not crops:
            raise ValueError("crops must hold at least one picture")
        run, load, fetch = self._networks.run, self._networks.load, self._networks.fetch
        # The front end reads the fused face once; its maps are what each frame needs.
        face = self._fuse(crops)
        prepared = {name: fetch(value) for name, value in run("front", face=load(face)).items()}
        return Features(
            arrays={**prepared, "code": self._code(_scaled(crops[0], self.size))[None]}, model=self.sha256
        )

    def read_motion(self, crop: Image) -> LatentCodes:
        """See `engine.models.base.ImageDrivenModel.read_motion`.

        The joint code is returned as ``expression``.
        """
        return _joint(self._code(crop))

    def retrieval_embedding(self, crop: Image) -> Float:
        """See `engine.models.base.RetrievalModel`; without a map of its own, the pose code."""
        outputs = self._encoded(crop)
        embedding: Float = self._networks.fetch(outputs.get("retrieval", outputs["code"]))[0]
        return embedding

    def own_codes(self, features: Features) -> LatentCodes:
        """See `engine.models.base.ImageDrivenModel.own_codes`."""
        check_own(features, self.sha256)
        return _joint(features.arrays["code"][0])

    def reenactor(self, *, smooth: bool, previous: Any = None) -> ImageDrivenReenactor:
        """See `engine.models.base.LiveModel.reenactor`."""
        neutral = None if previous is None else previous.neutral
        return ImageDrivenReenactor(
            self, JointEdit, smooth=smooth, neutral=neutral, composite=composite_person
        )

    def generate(self, features: Features, *, expression: Float | None, pose: Float | None) -> Image:
        """See `engine.models.base.ImageDrivenModel.generate`.

        ``expression`` is the joint code; ``pose`` must be None.
        """
        check_own(features, self.sha256)
        if expression is None or pose is not None:
            raise ValueError("expression must be the code that moves both, and pose None")
        # Uploaded once per portrait; a frame uploads its code only.
        own = {name: array for name, array in features.arrays.items() if name != "code"}
        prepared = self._resident(features, own)
        code = self._networks.load(expression[None])
        picture = self._networks.run("generator", code=code, **prepared)["picture"]
        return as_picture(self._networks.fetch(picture), self._picture)

    def _fuse(self, crops: Sequence[Image]) -> Float:
        """Return the mean of the warped frames by attention (equation 1), ``[1, 3, S, S]``."""
        outputs = [self._embedded(crop) for crop in crops]
        warped, weight = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
        face = _mean(warped, weight)
        if self._by_agreement and len(crops) > 1:
            differs = disagreement(warped, face, *matrices(face.shape[-1]))
            # Less the least: one frame of each place keeps its weight, so that no sum is 0.
            face = _mean(warped, weight * np.exp(SHARPNESS * (differs.min(0) - differs)))
            face += resting_mouth(face.shape[-1]) * (warped[:1] - face)
        return face

    def _embedded(self, crop: Image) -> tuple[Float, Float]:
        image = as_network_input(_scaled(crop, self.frame_size))
        outputs = self._networks.run("face_embedder", image=self._networks.load(image))
        warped, weight = (self._networks.fetch(outputs[name]) for name in ("warped", "weight"))
        return warped, weight

    def _code(self, crop: Image) -> Float:
        code: Float = self._networks.fetch(self._encoded(crop)["code"])[0]
        return code

    def _encoded(self, crop: Image) -> Mapping[str, Any]:
        return self._networks.run("pose_encoder", image=self._networks.load(as_network_input(crop)))


def _scaled(crop: Image, side: int) -> Image:
    """Scale a square picture; one of that side is returned as it is."""
    if len(crop) == side:
        return crop
    flags = cv2.INTER_AREA if len(crop) > side else cv2.INTER_CUBIC
    scaled: Image = cv2.resize(crop, (side, side), interpolation=flags)
    return scaled


def _mean(warped_K3SS: Float, weight_K1SS: Float) -> Float:
    """Return the weighted mean of frames, ``[1, 3, S, S]``."""
    mean: Float = (warped_K3SS * weight_K1SS).sum(0, keepdims=True) / weight_K1SS.sum(0)
    return mean


def _joint(code: Float) -> LatentCodes:
    return LatentCodes(expression=code, pose=np.zeros(0, np.float32))
