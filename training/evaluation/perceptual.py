"""MobileNetV2's feature distance of two pictures, under its own name: it is not LPIPS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from engine.types import Image
from training.perceptual import MobileNetDistance


class PictureDistance:
    """0 for equal pictures; see `training.perceptual`."""

    def __init__(self, weights: Path) -> None:
        """Raises EngineError when the weights are missing."""
        self._net = MobileNetDistance(weights)

    @torch.inference_mode()
    def __call__(self, image: Image, target: Image) -> float:
        """Both uint8 ``[S, S, 3]``, RGB."""
        return float(self._net(_tensor(image), _tensor(target)))


def _tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float()[None] / 127.5 - 1
