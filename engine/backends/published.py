"""DPE's networks as published, of any size, in the folded form, whatever runs them.

A driver's frame costs the motion encoder and one generator; ``both`` also encodes the picture in between and runs
the other generator (DPE, equations 6 and 7). A portrait's feature maps stay where the backend computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from engine.backends.model import Features, LatentCodes, as_network_input, as_picture, check_own
from engine.types import Float, Image, Mode

NETWORKS = ("encoder", "motion_encoder", "expression_generator", "pose_generator")
"""Names, inputs and outputs are those of ``engine.models.onnx_form``."""

Value = Any
"""An array where the backend keeps it: NumPy's, or a tensor on a device. Values add with ``+``."""


class Networks(Protocol):
    """A model's networks on one backend. Not thread-safe."""

    def load(self, array: Float) -> Value:
        """Bring an array to where the networks compute."""

    def fetch(self, value: Value) -> npt.NDArray[Any]:
        """A value as an array of its own, float32."""

    def run(self, network: str, *inputs: Value) -> Sequence[Value]:
        """Outputs in the network's order; its next run may overwrite them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a person and a portrait want to know of the weights."""

    name: str
    sha256: str
    size: int
    backend: str


class PublishedModel:
    """See `engine.backends.model.PictureModel`."""

    modes: tuple[Mode, ...] = (Mode.EXP, Mode.POSE, Mode.BOTH)

    def __init__(self, networks: Networks, facts: ModelFacts) -> None:
        """``networks`` are of the weights that ``facts`` names."""
        self._networks = networks
        self.name, self.sha256 = facts.name, facts.sha256
        self.size, self.backend = facts.size, facts.backend
        self._picture = np.empty((self.size, self.size, 3), np.uint8)
        self._resident: tuple[Features, list[Value]] | None = None

    def encode(self, crop: Image) -> Features:
        """See `engine.backends.model.Model.encode`. Latent, both codes, maps from coarse to fine."""
        outputs = self._networks.run("encoder", self._networks.load(as_network_input(crop)))
        return Features(arrays=tuple(map(self._networks.fetch, outputs)), model=self.sha256)

    def read_motion(self, crop: Image) -> LatentCodes:
        """See `engine.backends.model.PictureModel.read_motion`."""
        outputs = self._networks.run("motion_encoder", self._networks.load(as_network_input(crop)))
        expression, pose = map(self._networks.fetch, outputs)
        return LatentCodes(expression=expression[0], pose=pose[0])

    def own_codes(self, features: Features) -> LatentCodes:
        """See `engine.backends.model.PictureModel.own_codes`."""
        check_own(features, self.sha256)
        return LatentCodes(expression=features.arrays[1][0], pose=features.arrays[2][0])

    def generate(self, features: Features, drive: tuple[Float | None, ...]) -> Image:
        """See `engine.backends.model.PictureModel.generate`."""
        check_own(features, self.sha256)
        if len(drive) != 2 or all(code is None for code in drive):
            raise ValueError("drive must be an expression and a pose code, one of which may be None")
        run, (expression, pose) = self._networks.run, drive
        latent, *maps = self._on_device(features)
        if expression is not None:
            picture = run("expression_generator", latent + self._networks.load(expression[None]), *maps)[0]
        if expression is not None and pose is not None:
            latent, _, _, *maps = run("encoder", picture)
        if pose is not None:
            picture = run("pose_generator", latent + self._networks.load(pose[None]), *maps)[0]
        return as_picture(self._networks.fetch(picture), self._picture)

    def _on_device(self, features: Features) -> list[Value]:
        """Latent and maps of the portrait in use, brought there once."""
        if self._resident is None or self._resident[0] is not features:
            latent, _, _, *maps = features.arrays
            self._resident = (features, [self._networks.load(array) for array in (latent, *maps)])
        return self._resident[1]
