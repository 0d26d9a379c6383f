"""Keys of the window, and the changes that they make to a running session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mimicam.engine.control_row import controls_of, with_values
from mimicam.engine.controls import EditSettings
from mimicam.engine.gallery import Gallery
from mimicam.engine.pipeline import LivePath
from mimicam.engine.presets.mix import PresetMixer

GAIN_STEP = 0.1
_QUIT = ("q", "\x1b")


class WindowKeys:
    """Translates keys to changes of a pipeline."""

    def __init__(
        self, pipeline: LivePath, gallery: Gallery, *, presets: PresetMixer, stop: Callable[[], None]
    ) -> None:
        """Connect the keys.

        Args:
            pipeline: receives the changes.
            gallery: its first portraits are on the keys 1 to 9.
            presets: each is on its own key.
            stop: ends the session.
        """
        self._presets = presets
        self._preset_keys = {one.key: one.name for one in presets.presets.values() if one.key}
        self._pipeline = pipeline
        self._gallery = gallery
        self._number = 0
        self._stop = stop
        self._standby = False
        self._edit = pipeline.edit

    def key(self, key: str) -> None:
        """Apply a key. Keys without a meaning are ignored."""
        actions: dict[str, Callable[[], None]] = {
            "m": self.next_mode,
            "n": self.next_portrait,
            "c": self._pipeline.calibrate,
            "t": self._pipeline.select_next_face,
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
        elif key in self._preset_keys:
            self._presets.press(self._preset_keys[key])

    def choose(self, number: int) -> None:
        """Show another portrait of the gallery, counted from 0."""
        self._number = number
        self._gallery.show(number, self._pipeline.set_portrait)

    def next_portrait(self) -> None:
        """Show the gallery's next portrait, if it has any."""
        if len(self._gallery):
            self.choose((self._number + 1) % len(self._gallery))

    def next_mode(self) -> None:
        """Switch to the next mode that the model supports."""
        modes = self._pipeline.modes
        after = modes[(modes.index(self._edit.mode) + 1) % len(modes)]
        self._change(replace(self._edit, mode=after))

    def add_gain(self, step: float) -> None:
        """Raise or lower both gains together, each within its range."""
        ranges = {row.name: (row.minimum, row.maximum) for row in controls_of(EditSettings)}

        def moved(name: str) -> float:
            # Rounded, or steps of 0.1 would add up to 0.30000000000000004.
            return round(float(np.clip(getattr(self._edit, name) + step, *ranges[name])), 3)

        gains = {"expression_gain": moved("expression_gain"), "pose_gain": moved("pose_gain")}
        self._change(with_values(self._edit, gains))

    def toggle_standby(self) -> None:
        """Hide the driver's motion, or show it again."""
        self._standby = not self._standby
        self._pipeline.set_standby(self._standby)

    def describe(self) -> str:
        """Mode, gains and presets, as a line for the overlay."""
        edit, presets = self._edit, " ".join(self._presets.active)
        line = f"{edit.mode.value}  expression x{edit.expression_gain:.1f}  pose x{edit.pose_gain:.1f}"
        return f"{line}  {presets}".rstrip()

    def _change(self, edit: EditSettings) -> None:
        # Kept here as well: the pipeline applies changes at its next frame, keys may be faster.
        self._edit = edit
        self._pipeline.set_edit(edit)
