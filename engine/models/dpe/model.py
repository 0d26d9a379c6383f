"""DPE in the folded form, of any size, on any backend that runs its networks.

A driver's frame runs the motion encoder and one generator. Mode ``both`` also encodes the picture
in between and runs the other generator (DPE, equations 6 and 7). A portrait's feature maps stay on
the backend's device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mimicam.engine.backends.networks import ModelInfo, Networks, Resident
from mimicam.engine.models.base import Features, LatentCodes, as_network_input, as_picture, check_own
from mimicam.engine.models.dpe.edit import BranchEdit
from mimicam.engine.models.image_driven import ImageDrivenReenactor
from mimicam.engine.models.reenactor import Reenactor
from mimicam.engine.network_spec import Shapes
from mimicam.engine.types import Float, Image, Mode

NETWORKS = ("encoder", "motion_encoder", "expression_generator", "pose_generator")
"""Names of the networks; see ``engine.models.dpe.spec`` for inputs and outputs."""
CODES = ("expression_code", "pose_code")
"""Outputs of both encoders."""


class DpeModel:
    """See `engine.models.base.ImageDrivenModel`."""

    modes: tuple[Mode, ...] = (Mode.EXP, Mode.POSE, Mode.BOTH)
    native_size, needs_face, smooth_recordings = True, False, False
    has_blendshapes = False

    def __init__(self, networks: Networks, info: ModelInfo) -> None:
        """Wrap opened networks, which have the weights that ``info`` names."""
        self._networks, self._resident = networks, Resident(networks)
        self.name, self.sha256 = info.name, info.sha256
        self.size, self.backend = info.size, info.backend
        self._picture = np.empty((self.size, self.size, 3), np.uint8)

    def feature_shapes(self) -> Shapes:
        """See `engine.models.base.Model.feature_shapes`."""
        return self._networks.output_shapes("encoder")

    def encode(self, crop: Image) -> Features:
        """See `engine.models.base.Model.encode`."""
        outputs = self._networks.run("encoder", image=self._networks.load(as_network_input(crop)))
        arrays = {name: self._networks.fetch(value) for name, value in outputs.items()}
        return Features(arrays=arrays, model=self.sha256)

    def read_motion(self, crop: Image) -> LatentCodes:
        """See `engine.models.base.ImageDrivenModel.read_motion`."""
        outputs = self._networks.run("motion_encoder", image=self._networks.load(as_network_input(crop)))
        expression, pose = (self._networks.fetch(outputs[name])[0] for name in CODES)
        return LatentCodes(expression=expression, pose=pose)

    def own_codes(self, features: Features) -> LatentCodes:
        """See `engine.models.base.ImageDrivenModel.own_codes`."""
        check_own(features, self.sha256)
        return portrait_codes(features)

    def reenactor(self, *, smooth: bool, previous: Any = None) -> Reenactor[Any, Any, Any]:
        """See `engine.models.base.LiveModel.reenactor`."""
        neutral = None if previous is None else previous.neutral
        return ImageDrivenReenactor(self, BranchEdit, smooth=smooth, neutral=neutral)

    def generate(self, features: Features, *, expression: Float | None, pose: Float | None) -> Image:
        """See `engine.models.base.ImageDrivenModel.generate`."""
        check_own(features, self.sha256)
        if expression is None and pose is None:
            raise ValueError("expression and pose must not both be None")
        run, load = self._networks.run, self._networks.load
        # Uploaded once per portrait; later frames reuse it.
        maps = dict(self._resident(features, portrait_maps(features) | {"latent": features.arrays["latent"]}))
        latent = maps.pop("latent")
        if expression is not None:
            edited = latent + load(expression[None])
            picture = run("expression_generator", latent=edited, **maps)["image"]
        # Mode both: encode the intermediate picture, whose latent and maps feed the pose generator.
        if expression is not None and pose is not None:
            encoded = run("encoder", image=picture)
            latent, maps = encoded["latent"], {name: encoded[name] for name in maps}
        if pose is not None:
            picture = run("pose_generator", latent=latent + load(pose[None]), **maps)["image"]
        return as_picture(self._networks.fetch(picture), self._picture)


def portrait_codes(features: Features) -> LatentCodes:
    """Return the portrait's own codes, as its encoder read them."""
    expression, pose = (features.arrays[name][0] for name in CODES)
    return LatentCodes(expression=expression, pose=pose)


def portrait_maps(features: Features) -> dict[str, Float]:
    """Return the portrait's feature maps by the generators' input names, from coarse to fine."""
    return {name: array for name, array in features.arrays.items() if name not in ("latent", *CODES)}
