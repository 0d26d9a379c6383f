"""What the keys of the window do to a running session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mimicam.engine.gallery import Gallery
from mimicam.engine.pipeline import LivePath
from mimicam.engine.types import EXPRESSION_GAIN_MAX, POSE_GAIN_MAX, EditSettings

GAIN_STEP = 0.1
_QUIT = ("q", "\x1b")


class Controls:
    """Keys to changes."""

    def __init__(self, pipeline: LivePath, gallery: Gallery, *, stop: Callable[[], None]) -> None:
        """The gallery's first portraits lie on the keys 1 to 9; ``stop`` ends the session."""
        self._pipeline = pipeline
        self._gallery = gallery
        self._number = 0
        self._stop = stop
        self._standby = False
        self._edit = pipeline.edit

    def key(self, key: str) -> None:
        """One key; others do nothing."""
        actions: dict[str, Callable[[], None]] = {
            "m": self.next_mode,
            "n": lambda: self.choose((self._number + 1) % len(self._gallery)),
            "c": self._pipeline.calibrate,
            "+": lambda: self.add_gain(GAIN_STEP),
            "=": lambda: self.add_gain(GAIN_STEP),
            "-": lambda: self.add_gain(-GAIN_STEP),
            " ": self.toggle_standby,
        }
        if key in _QUIT:
            self._stop()
        elif key.isdecimal() and 0 < int(key) <= len(self._gallery):
            self.choose(int(key) - 1)
        elif key in actions:
            actions[key]()

    def choose(self, number: int) -> None:
        """Another portrait of the gallery, counted from 0."""
        self._number = number
        self._gallery.show(number, self._pipeline.set_portrait)

    def next_mode(self) -> None:
        """exp, pose, both, and round again, as far as the model knows them."""
        modes = self._pipeline.modes
        after = modes[(modes.index(self._edit.mode) + 1) % len(modes)]
        self._change(replace(self._edit, mode=after))

    def add_gain(self, step: float) -> None:
        """Both gains up or down together, each within its limit."""
        edit = self._edit
        expression = min(max(edit.expression_gain + step, 0.0), EXPRESSION_GAIN_MAX)
        pose = min(max(edit.pose_gain + step, 0.0), POSE_GAIN_MAX)
        self._change(replace(edit, expression_gain=round(expression, 3), pose_gain=round(pose, 3)))

    def toggle_standby(self) -> None:
        """Hide the driver's motion, or show it again."""
        self._standby = not self._standby
        self._pipeline.set_standby(self._standby)

    def describe(self) -> str:
        """Mode and gains, for the overlay."""
        edit = self._edit
        return f"{edit.mode.value}  expression x{edit.expression_gain:.1f}  pose x{edit.pose_gain:.1f}"

    def _change(self, edit: EditSettings) -> None:
        # Kept here too: the pipeline takes changes at its next step, and keys may come faster.
        self._edit = edit
        self._pipeline.set_edit(edit)
