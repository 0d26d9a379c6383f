"""A model without networks, whose picture identifies the portrait and records the conditioning."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mimicam.engine.models.base import Features
from mimicam.engine.network_spec import Shapes
from mimicam.engine.types import Float, Image, WarpFields
from tests.models.fakes import TrackerDriven


class FakeModel(TrackerDriven):
    """Draws the mean colour of the portrait's crop and records each conditioning.

    It reuses its buffer, as real models do.
    """

    name, backend, size = "fake", "no network", 64

    def __init__(self, sha256: str = "0" * 64) -> None:
        self.sha256 = sha256
        self.encoded = 0
        self.conditionings: list[dict[str, Float]] = []
        self.drawn: list[Features] = []
        cells = self.size // 2
        self._layers = WarpFields(
            inpaint=np.empty((self.size, self.size, 3), np.uint8),
            visibility=np.zeros((self.size, self.size), np.float32),
            flow=np.zeros((cells, cells, 2), np.float32),
        )

    def feature_shapes(self) -> Shapes:
        return {"latent": (8,), "crop": (self.size, self.size, 3)}

    def encode(self, crop: Image) -> Features:
        self.encoded += 1
        latent = np.random.default_rng(0).normal(size=8).astype(np.float32)
        return Features(arrays={"latent": latent, "crop": crop.astype(np.float32)}, model=self.sha256)

    def generate(self, features: Features, conditioning: Mapping[str, Float]) -> WarpFields:
        self.conditionings.append(dict(conditioning))
        self.drawn.append(features)
        self._layers.inpaint[:] = features.arrays["crop"].mean(axis=(0, 1))
        return self._layers
