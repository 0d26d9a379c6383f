"""Composite a generated picture of a person over the portrait's still background.

A model that draws whole pictures bends the background with the head. So the person is separated
from each generated picture, as from the portrait when it is enrolled (`engine.face.person_matte`),
and laid over the portrait's own background, which `engine.stages.still_background` completes.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.face.person_matte import PersonFinder
from mimicam.engine.stages.composite import Composite, soft_mask
from mimicam.engine.stages.surroundings import PortraitTexture
from mimicam.engine.types import Float, Image

_STEADY, _MOVED = 0.3, 0.3
"""Share of a new opacity that a pixel takes where it hardly changed, and the change from which it
takes all: outlines do not shimmer, and do not lag behind a moving head."""


def composite_person(around: Composite, face_px: int) -> Callable[[Image], Image]:
    """Return the composite of generated pictures of this side: that of the person alone, or
    ``around`` if the portrait has no usable matte."""
    scene = around.texture(face_px)
    return around if scene.background is None else PersonComposite(scene, scene.background)


class PersonComposite:
    """Composites results of one portrait at one size. Not thread-safe.

    The caller may keep each result.
    """

    def __init__(self, scene: PortraitTexture, background: Image) -> None:
        """Set up for one portrait; ``background``: that of the scene."""
        side, (width, height) = scene.side, scene.size
        self._side, self._canvas = side, scene.canvas
        self._region = (slice(scene.top, scene.top + side), slice(scene.left, scene.left + side))
        self._behind = np.ascontiguousarray(background[self._region])
        self._under = np.ascontiguousarray(scene.canvas[self._region])
        # Where the canvas ends with the crop, there is nothing to blend with.
        self._border = soft_mask(side, beside=width > side, above=height > side)
        self._inside: Float = np.subtract(1.0, self._border, dtype=np.float32)
        self._find, self._opacity = PersonFinder(), Steady()
        self._wide = np.empty((2, side, side), np.float32)
        self._scaled, self._mixed = np.empty((2, side, side, 3), np.uint8)
        self._pool: BufferPool[np.uint8] = BufferPool(self._canvas.shape, np.uint8)

    def __call__(self, face: Image) -> Image:
        """Return the person on the canvas, uint8 ``[height, width, 3]``."""
        size, (person, behind) = (self._side, self._side), self._wide
        cv2.resize(self._opacity(self._find(face)), size, dst=person, interpolation=cv2.INTER_LINEAR)
        np.subtract(1.0, person, out=behind)
        if len(face) != self._side:
            face = cv2.resize(face, size, dst=self._scaled, interpolation=cv2.INTER_CUBIC)
        out = self._pool.take()
        if out.shape == self._mixed.shape:
            # The canvas is the crop: nothing is around it.
            cv2.blendLinear(face, self._behind, person, behind, dst=out)
            return out
        cv2.blendLinear(face, self._behind, person, behind, dst=self._mixed)
        np.copyto(out, self._canvas)
        cv2.blendLinear(self._mixed, self._under, self._border, self._inside, dst=out[self._region])
        return out


class Steady:
    """Smooths opacities over frames, less where they change much."""

    def __init__(self) -> None:
        self._last: Float | None = None

    def __call__(self, opacity: Float) -> Float:
        """Return the opacity of this frame; the next call overwrites it."""
        if self._last is None:
            self._last = opacity.copy()
            return self._last
        change = opacity - self._last
        share = np.clip(np.abs(change) / _MOVED, _STEADY, 1.0)
        self._last += share * change
        return self._last
