"""Demo wall: a driver, and a portrait animated in each of the three modes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from mimicam.engine.concurrency.timings import Timings
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.models.base import Model
from mimicam.engine.pipeline import Observation, Pipeline
from mimicam.engine.portrait import Portrait
from mimicam.engine.types import EditSettings, Frame, Image, Mode

CELL_PX = 320
LABEL_PX = 24
SIZE = (4 * CELL_PX, CELL_PX + LABEL_PX)
"""Width, height of the whole picture."""
PORTRAITS_SHOWN = 6
"""Number of bundled portraits shown, 3.3 s each."""
_LABELS = ("driver", "expression", "pose", "both")
_MODES = (Mode.EXP, Mode.POSE, Mode.BOTH)
_FOLLOW = 0.1
"""Share of the distance to the face by which the driver's view moves per frame."""


class Wall:
    """Shows driver, expression, pose and both side by side; the portrait changes over time.

    The driver's own picture is shown only here, since the driver is the bundled clip.
    """

    def __init__(
        self,
        model: Model,
        portraits: Sequence[Portrait],
        *,
        seconds: float,
        edit: EditSettings = EditSettings(),
        timings: Timings | None = None,
    ) -> None:
        """Set up one pipeline for each mode.

        Args:
            model: encoder and generator, used by all three.
            portraits: each is shown for its share of the time.
            seconds: duration of the driver's clip.
            edit: settings of all three, besides the mode.
            timings: receives the durations of all three pipelines.
        """
        self._portraits = list(portraits)
        self._turn_s = seconds / len(self._portraits)
        self._current = 0
        self._first_ns: int | None = None
        self._view = DriverView(CELL_PX)
        # Shared: three pipelines draw from one observation, so one tracker runs.
        track = FaceTracker()
        self._pipelines = [
            Pipeline(
                model=model,
                portrait=self._portraits[0],
                edit=replace(edit, mode=mode),
                size=(CELL_PX, CELL_PX),
                timings=timings,
                track=track,
            )
            for mode in _MODES
        ]
        self._labels = _label_strip()

    def observe(self, frame: Frame) -> Observation:
        """Observe a driver's frame once for all three pipelines."""
        return self._pipelines[0].observe(frame)

    def draw(self, observation: Observation) -> Frame:
        """Return the wall for one driver's frame."""
        self._take_turns(observation.frame.captured_ns)
        results = [pipeline.draw(observation).image for pipeline in self._pipelines]
        row = np.hstack([self._view(observation), *(_cell(image) for image in results)])
        return replace(observation.frame, image=np.vstack([self._labels, row]))

    def _take_turns(self, captured_ns: int) -> None:
        self._first_ns = captured_ns if self._first_ns is None else self._first_ns
        turn = int((captured_ns - self._first_ns) / 1e9 / self._turn_s)
        # The last frame may lie at the very end, where another turn would begin.
        turn = min(turn, len(self._portraits) - 1)
        if turn != self._current:
            self._current = turn
            for pipeline in self._pipelines:
                pipeline.set_portrait(self._portraits[turn])


class DriverView:
    """A square of the driver's picture that follows the face sideways."""

    def __init__(self, side: int) -> None:
        """Set the square's side, in pixels."""
        self._side = side
        self._centre_px: float | None = None

    def __call__(self, observation: Observation) -> Image:
        """Return the square, ``[side, side, 3]``."""
        image, face = observation.frame.image, None if observation.crop is None else observation.crop.face
        height, width = image.shape[:2]
        square = min(height, width)
        target = float(face.landmarks[:, 0].mean()) if face is not None else self._centre_px or width / 2
        last = target if self._centre_px is None else self._centre_px
        # By frames, not by time: the bundled clip has a constant rate.
        self._centre_px = last + _FOLLOW * (target - last)
        # Whole pixels: resampling would blur the driver's picture.
        left = round(min(max(self._centre_px - square / 2, 0), width - square))
        return _cell(image[:square, left : left + square], self._side)


def _cell(image: Image, side: int = CELL_PX) -> Image:
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _label_strip() -> Image:
    strip = np.full((LABEL_PX, SIZE[0], 3), 24, np.uint8)
    for column, label in enumerate(_LABELS):
        where = (column * CELL_PX + 8, LABEL_PX - 7)
        cv2.putText(strip, label, where, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235, 235, 235), 1, cv2.LINE_AA)
    return strip
