"""Figure 7 of DAE-GAN: frames, reconstructions, embedded faces and displacements."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from mimicam.engine.models.base import as_network_input
from mimicam.engine.models.daegan.layers import resized
from mimicam.engine.models.daegan.network import DaeGanNetworks, reconstruct
from mimicam.engine.types import Image


@torch.no_grad()
def disentangled(model: DaeGanNetworks, crops: list[Image]) -> Image:
    """Draw four rows of one column per crop, uint8 ``[S, S, 3]`` each; see the module."""
    frames = torch.from_numpy(np.concatenate([as_network_input(crop) for crop in crops]))
    # Each frame alone: the faces show whether pose and identity came apart.
    faces = model.embed(frames[:, None]).face
    reading = model.pose_embedder(frames)
    fields = resized(reading.displacement, frames.shape[-1])
    reconstructed, shown = reconstruct(faces, reading), resized(faces, frames.shape[-1])
    rows = [*map(_pictures, (frames, reconstructed, shown)), flow_colours(fields)]
    return np.vstack([np.hstack(row) for row in rows])


def flow_colours(fields_N2HW: Tensor) -> list[Image]:
    """Colour displacements: direction as hue, length as saturation, on one scale for all."""
    u, v = fields_N2HW.numpy().transpose(1, 0, 2, 3)
    length = np.hypot(u, v)
    # OpenCV's hue of a byte picture goes to 180.
    hue = (np.rad2deg(np.arctan2(v, u)) % 360 / 2).astype(np.uint8)
    strength = (255 * length / max(float(length.max()), 1e-6)).astype(np.uint8)
    hsv = np.stack([hue, strength, np.full_like(hue, 255)], -1)
    return [cv2.cvtColor(each, cv2.COLOR_HSV2RGB) for each in hsv]


def _pictures(images_N3SS: Tensor) -> list[Image]:
    grey = ((images_N3SS.clamp(-1, 1) + 1) * 127.5).round().byte()
    return list(grey.permute(0, 2, 3, 1).numpy())
