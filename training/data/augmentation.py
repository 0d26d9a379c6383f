"""Similarities and colours that pictures of one sample are changed by alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Ranges; every draw is shared by the frames of a sample."""

    roll_deg: float = 12.0
    scale: tuple[float, float] = (0.85, 1.15)
    shift: float = 0.08
    """Largest shift, as a share of the picture's side."""
    colour: float = 0.25
    gamma: float = 0.25

    def matrix(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a similarity ``[2, 3]``: crop space after augmentation from crop space before."""
        roll, scale = np.deg2rad(rng.uniform(-self.roll_deg, self.roll_deg)), rng.uniform(*self.scale)
        cos, sin = scale * np.cos(roll), scale * np.sin(roll)
        shift = rng.uniform(-2 * self.shift, 2 * self.shift, 2)
        return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]], np.float32)

    def recolour(self, rng: np.random.Generator, *images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Draw a change of light, and apply it to all ``images``, uint8 ``[H, W, 3]``."""
        # A shared gain, and a third as much per channel: light, and its colour.
        gain = 1 + rng.uniform(-self.colour, self.colour) + rng.uniform(-self.colour, self.colour, 3) / 3
        gamma = 1 + rng.uniform(-self.gamma, self.gamma)
        table = np.linspace(0, 1, 256)[:, None] ** gamma * gain
        table = (np.clip(table, 0, 1) * 255).round().astype(np.uint8)
        return tuple(cv2.LUT(image, table.reshape(256, 1, 3)) for image in images)


def warped(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Apply a similarity in crop space and scale to ``size`` pixels; beyond the picture it is
    reflected."""
    return cv2.warpAffine(
        np.ascontiguousarray(image),
        pixel_matrix(matrix, image.shape[0], size),
        (size, size),
        flags=cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def pixel_matrix(matrix: np.ndarray, size_in: int, size_out: int) -> np.ndarray:
    """Convert a crop-space map to the pixel map that warpAffine expects (pixel centres at
    integers)."""
    # Crop space has -1..1 over the picture's edges; pixel 0 has its centre half a pixel inside.
    to_pixel = np.array(
        [[size_out / 2, 0, size_out / 2 - 0.5], [0, size_out / 2, size_out / 2 - 0.5], [0, 0, 1]]
    )
    from_pixel = np.array([[2 / size_in, 0, 1 / size_in - 1], [0, 2 / size_in, 1 / size_in - 1], [0, 0, 1]])
    return (to_pixel @ np.vstack([matrix, [0, 0, 1]]) @ from_pixel)[:2]
