"""The face of one person over a whole video, and the steady box that follows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mimicam.engine.editing.smoothing import Times, gaussian
from mimicam.engine.face.skin_colours import Flags
from mimicam.engine.stages.crop import portrait_box
from mimicam.engine.types import CropBox, Face, Float

Colours = npt.NDArray[np.uint8]
"""Colours at a face's landmarks, RGB ``[478, 3]``."""
_STEADY_S = 0.4
"""Seconds. Standard deviation of the Gaussian that smooths the box's path."""
_DRIFT = 0.12
"""Crop units. Largest distance of the box from the place that the face's own pose gives it."""
_DRIFT_SCALE = 1.15
"""Largest ratio of the box's size to the one that the face's own pose gives it."""
_JUMP = 0.5
"""Crop units. A face that moves further between two frames was cut, so a new run begins."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceTrack:
    """One person's face in the frames of a video."""

    times_s: Times
    """``[N]``, the frames' own times."""
    faces: list[Face | None]
    """``[N]``, None where the face is not seen."""
    colours: Mapping[int, Colours] = field(default_factory=dict)
    """Colours by frame. Frames without are not searched for what covers the face."""
    hands: Mapping[int, Flags] = field(default_factory=dict)
    """Landmarks behind a hand by frame, see `engine.face.hands`. In other frames nobody looked."""

    @property
    def seen(self) -> list[int]:
        """List the frames that show the face."""
        return [index for index, face in enumerate(self.faces) if face is not None]

    def runs(self) -> list[list[int]]:
        """Return frames without a loss, cut or jump between them, as lists of indices."""
        runs: list[list[int]] = []
        before: CropBox | None = None
        for index, face in enumerate(self.faces):
            box = None if face is None else portrait_box(face)
            if box is not None and before is not None and _is_near(before, box):
                runs[-1].append(index)
            elif box is not None:
                runs.append([index])
            before = box
        return runs


def steady_boxes(track: FaceTrack) -> list[CropBox | None]:
    """Return a box for each frame: smooth over time, near the face, on whole pixels.

    Whole pixels let an edit sample the frame itself, so that what does not move stays identical.
    """
    boxes: list[CropBox | None] = [None] * len(track.faces)
    for run in track.runs():
        wanted = np.array([_centre_and_scale(track.faces[index]) for index in run], np.float32)
        smooth = _bounded(gaussian(wanted, track.times_s[run], _STEADY_S), wanted)
        # The limit has corners, which a short second pass rounds off.
        smooth = gaussian(smooth, track.times_s[run], _STEADY_S / 4)
        for index, row in zip(run, smooth, strict=True):
            boxes[index] = _on_pixels(row)
    return boxes


def _centre_and_scale(face: Face | None) -> tuple[float, float, float]:
    """Return centre x and y in pixels, and the logarithm of the side."""
    assert face is not None, "a run has a face in each frame"
    box = portrait_box(face)
    # The logarithm: smoothing then treats growing and shrinking alike.
    return box.x_px + box.size_px / 2, box.y_px + box.size_px / 2, float(np.log(box.size_px))


def _bounded(smooth: Float, wanted: Float) -> Float:
    limit = np.empty_like(wanted)
    limit[:, :2] = _DRIFT * np.exp(wanted[:, 2:]) / 2
    limit[:, 2] = np.log(_DRIFT_SCALE)
    return np.clip(smooth, wanted - limit, wanted + limit)


def _on_pixels(row: Float) -> CropBox:
    # Even and on whole pixels: a crop at fractions would be resampled, and flicker.
    size = 2 * max(round(float(np.exp(row[2])) / 2), 8)
    x_px, y_px = (round(float(centre) - size / 2) for centre in row[:2])
    return CropBox(x_px=float(x_px), y_px=float(y_px), size_px=float(size))


def _is_near(before: CropBox, box: CropBox) -> bool:
    half = before.size_px / 2
    # Centres are compared, not corners, since the size may differ.
    shift = box.size_px / 2 - half
    distance = np.hypot(box.x_px + shift - before.x_px, box.y_px + shift - before.y_px)
    return bool(distance < _JUMP * half) and 0.7 < box.size_px / before.size_px < 1.4
