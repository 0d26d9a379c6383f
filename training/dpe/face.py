"""The face network of equation 10: the tracker's networks, run with gradients.

The paper uses the features of an expression recognition network (its reference 10). The tracker's
52 blendshapes take their place. Head pose is measured too, to tell the branches apart.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mimicam.engine.face.landmarks import BLENDSHAPE_LANDMARKS
from mimicam.training.dpe.branches import FaceMeasure
from mimicam.training.losses.face_square import SIDE_PX, FaceSquare, face_square, whole_picture
from mimicam.training.losses.onnx_graph import OnnxGraph

_POSE_POINTS = (33, 263, 168, 1, 152, 10)
"""Outer eye corners, nose bridge and tip, chin, forehead. Of these, expression moves only the chin
much."""
_SEARCHES = 2
"""Number of times that `TrackerFeatures.read` places the square anew. The first reads the whole
picture."""


class TrackerFeatures(nn.Module):
    """Maps pictures of one face each to 52 blendshapes, as the tracker reads them."""

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

    def forward(self, image_N3SS: Tensor, landmarks_NL3: Tensor) -> Tensor:
        """Compute blendshapes ``[N, 52]``, with gradients to the pictures.

        Args:
            image_N3SS: pictures, -1..1.
            landmarks_NL3: 478 points in crop space, which place the square that is read. Those of a
                picture with about the same head pose will do.
        """
        # Points in bfloat16 would be whole pixels.
        with torch.autocast(image_N3SS.device.type, enabled=False):
            return self._shapes(self._find(image_N3SS, face_square(landmarks_NL3)))

    @torch.no_grad()
    def read(self, image_N3SS: Tensor) -> FaceMeasure:
        """Find the faces in pictures whose poses are not known, and measure them.

        The pose is six nearly rigid points in crop space, ``[N, 18]``.
        """
        square = whole_picture(image_N3SS)
        for _ in range(_SEARCHES):
            square = face_square(self._find(image_N3SS, square))
        points_NL3 = self._find(image_N3SS, square)
        return FaceMeasure(expression=self._shapes(points_NL3), pose=points_NL3[:, _POSE_POINTS].flatten(1))

    def _find(self, image_N3SS: Tensor, square: FaceSquare) -> Tensor:
        """Find ``[N, 478, 3]`` in crop space, in the square."""
        # Around the picture the tracker has black.
        points: Tensor = self._landmarks(square.cut(image_N3SS, outside="zeros"))[0]
        return square.to_crop(points.reshape(-1, 478, 3))

    def _shapes(self, points_NL3: Tensor) -> Tensor:
        """Compute ``[N, 52]`` from points in crop space."""
        chosen = (points_NL3[:, self._points, :2] + 1) * (SIDE_PX / 2)
        # The ONNX file has a fixed batch of 1.
        return torch.stack([self._blendshapes(one[None])[0].reshape(-1) for one in chosen])
