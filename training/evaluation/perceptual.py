"""Distances between MobileNetV2's features.

They are neither LPIPS nor FID, so they have names of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mimicam.engine.types import Float, Image
from mimicam.training.evaluation import metrics
from mimicam.training.losses.perceptual import MobileNetDistance


class PictureFeatures:
    """Features of pictures uint8 ``[S, S, 3]``, RGB; see `training.losses.perceptual`."""

    def __init__(self, weights: Path) -> None:
        """Load the network.

        Raises:
            EngineError: the weights are missing.
        """
        self._net = MobileNetDistance(weights)
        # One depth more than the distance: sets are compared by what pictures show, not by texture.
        self._deep = MobileNetDistance(weights, depth=4)

    @torch.inference_mode()
    def distance(self, image: Image, target: Image) -> float:
        """Compute the distance of two pictures: as LPIPS without its learned weights, on another
        network."""
        return float(self._net(_tensor(image), _tensor(target)))

    @torch.inference_mode()
    def embed(self, image: Image) -> Float:
        """Compute ``[96]``: the features at a sixteenth of the size, averaged over the picture."""
        vector: Float = self._deep.maps(_tensor(image))[-1].mean((2, 3))[0].numpy()
        return vector

    def frechet(self, fakes: Sequence[Image], reals: Sequence[Image]) -> float:
        """Compute the distance of two sets: as FID (Heusel et al., NeurIPS 2017), on another
        network's features."""
        return metrics.frechet(
            *(np.stack([self.embed(image) for image in images]) for images in (fakes, reals))
        )


def _tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float()[None] / 127.5 - 1
