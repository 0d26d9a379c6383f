"""Cut the square that the tracker's landmark network reads, differentiably.

The square is upright to the line of the eyes, and 1.5 times as large as the face's box, as in the
tracker and in the network's training. Crop space has -1..1 over a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mimicam.engine.models.compact.landmark_flow import pixel_grid

SIDE_PX = 256
"""Side of the landmark network's picture."""
_SCALE = 1.5
"""Side of the square divided by that of the face's box (MediaPipe's face landmarker)."""
_EYE_CORNERS = (33, 263)


@dataclass(frozen=True, kw_only=True)
class FaceSquare:
    """Place of the square in crop space, for each of N pictures."""

    centre: Tensor
    """``[N, 2]``"""
    axes: Tensor
    """``[N, 2, 2]``, rows: half a side along x and along y of the square."""

    def cut(self, image_N3SS: Tensor, *, outside: Literal["border", "zeros"] = "border") -> Tensor:
        """Cut the network's input ``[N, 256, 256, 3]``, 0..1, from pictures in -1..1.

        Args:
            outside: what lies around the picture: its border, repeated, or black.
        """
        grid_P2 = pixel_grid(SIDE_PX, self.axes)
        # From the network's square to crop space: rotate and scale the grid, then shift it.
        place_NP2 = self.centre[:, None] + grid_P2 @ self.axes
        grid = place_NP2.view(-1, SIDE_PX, SIDE_PX, 2)
        light_N3SS = (image_N3SS.float() + 1) / 2
        face = F.grid_sample(light_N3SS, grid, padding_mode=outside, align_corners=False)
        return face.permute(0, 2, 3, 1)

    def from_crop(self, points_NL2: Tensor) -> Tensor:
        """Map points from crop space to the square's own coordinates, -1..1."""
        return (points_NL2 - self.centre[:, None]) @ inverse_of_axes(self.axes)

    def to_crop(self, points_NL3: Tensor) -> Tensor:
        """Map the network's points, pixels of the square, to crop space; depth has their scale."""
        half_px = SIDE_PX / 2
        xy = self.centre[:, None] + (points_NL3[..., :2] / half_px - 1) @ self.axes
        z = points_NL3[..., 2:] / half_px * self.axes[:, :1].norm(dim=-1, keepdim=True)
        return torch.cat([xy, z], dim=-1)


def face_square(landmarks_NL3: Tensor) -> FaceSquare:
    """Place the square around landmarks ``[N, 478, 2 or 3]`` in crop space."""
    right, left = (landmarks_NL3[:, i, :2] for i in _EYE_CORNERS)
    x_N2 = F.normalize(left - right, dim=-1)
    # A quarter turn of the eyes' line, downwards in the picture.
    y_N2 = torch.stack([-x_N2[:, 1], x_N2[:, 0]], dim=-1)
    turn_N22 = torch.stack([x_N2, y_N2], dim=1)
    # The tracker's square is upright to the eyes' line, not to the picture.
    upright = landmarks_NL3[..., :2] @ turn_N22.transpose(-1, -2)
    low, high = upright.amin(1), upright.amax(1)
    # Square by the longer side, as MediaPipe's region.
    half_N = (high - low).amax(-1) / 2 * _SCALE
    centre_N2 = torch.einsum("nk,nkd->nd", (low + high) / 2, turn_N22)
    return FaceSquare(centre=centre_N2, axes=turn_N22 * half_N[:, None, None])


def whole_picture(image_N3SS: Tensor) -> FaceSquare:
    """Return the square that is the whole picture."""
    axes_22 = torch.eye(2, device=image_N3SS.device)
    centre_N2 = torch.zeros(len(image_N3SS), 2, device=image_N3SS.device)
    return FaceSquare(centre=centre_N2, axes=axes_22.expand(len(image_N3SS), 2, 2))


def inverse_of_axes(axes_N22: Tensor) -> Tensor:
    """Invert scaled rotations.

    ``torch.linalg.inv`` would check for errors, which makes the host wait for the device.
    """
    square_N11 = (axes_N22[:, :1] ** 2).sum(-1, keepdim=True)
    return axes_N22.transpose(-1, -2) / square_N11
