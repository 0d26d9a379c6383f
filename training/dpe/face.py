"""The face network of equation 10: the tracker's networks, run with gradients.

The paper uses the features of an expression recognition network (its reference 10). The tracker's
52 blendshapes take their place. Head pose is measured too, to tell the branches apart.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.engine.face.landmarks import BLENDSHAPE_LANDMARKS
from mimicam.training.dpe.branches import FaceMeasure
from mimicam.training.losses.onnx_graph import OnnxGraph

_SIDE = 256
"""Side of the landmark network's picture, pixels."""
_POSE_POINTS = (33, 263, 168, 1, 152, 10)
"""Outer eye corners, nose bridge and tip, chin, forehead. Of these, expression moves only the chin
much."""


class TrackerFeatures(nn.Module):
    """Maps pictures of one face each, as large as in training clips, to 52 blendshapes."""

    def __init__(self, landmarks: Path, blendshapes: Path) -> None:
        """Args:
        landmarks: ``face_landmarks_478.onnx``; its first output is 478 points in pixels.
        blendshapes: ``face_blendshapes_52.onnx``.
        """
        super().__init__()
        self._landmarks, self._blendshapes = OnnxGraph(landmarks), OnnxGraph(blendshapes)
        self._points: Tensor
        self.register_buffer("_points", torch.from_numpy(BLENDSHAPE_LANDMARKS).long())
        self.requires_grad_(False)

    def landmarks(self, image_N3SS: Tensor) -> Tensor:
        """Find ``[N, 478, 3]`` in pixels of a 256-pixel picture, from pictures in -1..1."""
        image = F.interpolate(image_N3SS, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
        NHWC = ((image + 1) / 2).permute(0, 2, 3, 1)
        points: Tensor = self._landmarks(NHWC)[0]
        return points.reshape(-1, 478, 3)

    def forward(self, image_N3SS: Tensor) -> Tensor:
        return self.blendshapes(self.landmarks(image_N3SS))

    def blendshapes(self, points_NK3: Tensor) -> Tensor:
        """Compute ``[N, 52]`` from ``[N, 478, 3]``; the network takes one face at a time."""
        chosen = points_NK3[:, self._points, :2]
        # The ONNX file has a fixed batch of 1.
        return torch.stack([self._blendshapes(one[None])[0].reshape(-1) for one in chosen])

    def read(self, image_N3SS: Tensor) -> FaceMeasure:
        """Measure pictures for ``branches.measure_branches``: blendshapes, and six nearly rigid
        points in units of the side."""
        points = self.landmarks(image_N3SS)
        return FaceMeasure(
            expression=self.blendshapes(points), pose=points[:, _POSE_POINTS].flatten(1) / _SIDE
        )
