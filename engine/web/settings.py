"""Settings of a call and of the page: the rows of the table of controls that only a studio has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mimicam.engine.badge import Corner
from mimicam.engine.control_row import Control, Value, control, controls_of, values_of, with_values
from mimicam.engine.controls import STUDIO_EDIT, EditSettings, Mode, refusal
from mimicam.engine.web.backdrop import Background

Framing = Literal["wide", "square", "tall"]


class MessageError(ValueError):
    """A message or setting that does not fit. Its text goes back to the sender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a person may change during a call."""

    portrait: str
    """Id of the portrait."""
    edit: EditSettings = STUDIO_EDIT
    framing: Framing = control(
        "wide",
        label="Shape",
        section="shape",
        choices={"wide": "Wide", "square": "Square", "tall": "Tall"},
        segments=True,
        help="Shape of the result.",
    )
    height: int = control(
        480,
        label="Resolution",
        section="picture",
        choices={lines: f"{lines} lines" for lines in (256, 360, 480, 720)},
        help="Pixels of the result's shorter side.",
    )
    background: Background = control(
        "kept",
        label="Background",
        section="picture",
        choices={"kept": "Original", "plain": "Plain", "green": "Green screen"},
        help="Background of the portrait: its own, a plain grey, or green for a chroma key.",
    )
    badge: Corner = control(
        "bottom-right",
        label="“synthetic” label",
        section="picture",
        choices={
            "bottom-right": "Bottom right",
            "bottom-left": "Bottom left",
            "top-left": "Top left",
            "top-right": "Top right",
            "off": "Off",
        },
        help="Corner of the result that holds the word “synthetic”.",
    )
    own_face: bool = control(
        False,
        label="Show my own face, edited",
        section="own",
        help="Show the camera's own picture, edited by expressions and eye contact, instead of a portrait.",
    )
    standby: bool = control(False, help="Show the standby card instead of the driver's motion.")
    measure: bool = control(
        False, help="Copy the number painted into the driver's picture to the result, to measure frame age."
    )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the result, both even."""
        long = round(self.height * 4 / 6) * 2
        shapes = {"wide": (long, self.height), "square": (self.height,) * 2, "tall": (self.height, long)}
        return shapes[self.framing]

    def with_values(self, values: Mapping[str, Any]) -> Settings:
        """Replace values by name. They were checked against the schema."""
        settings = replace(self, portrait=values.get("portrait", self.portrait))
        return with_values(replace(settings, edit=with_values(self.edit, values)), values)

    def values(self) -> dict[str, Value]:
        """All values by name, as messages have them."""
        return {"portrait": self.portrait, **values_of(self.edit), **values_of(self)}

    def require(self, modes: Sequence[Mode], *, has_blendshapes: bool, own_face: bool) -> Settings:
        """Return these settings if the model can follow them.

        Args:
            modes: those that it has.
            has_blendshapes: see `engine.models.base.LiveModel`.
            own_face: whether it can edit the camera's own picture.

        Raises:
            MessageError: it cannot.
        """
        if self.own_face and not own_face:
            raise MessageError("this model cannot edit your own face: start the server with --model compact")
        if reason := refusal(self.edit, modes=modes, has_blendshapes=has_blendshapes):
            raise MessageError(f"this model {reason}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserSettings:
    """Settings that the browser keeps and never sends to the server."""

    voice: bool = control(
        False,
        label="Record my voice, in step with the picture",
        section="browser",
        help="Recordings contain the microphone's sound, delayed by the frame age.",
    )
    transparent: bool = control(
        False,
        label="OBS link without background",
        section="browser",
        help="The copied OBS link shows the result on a transparent page.",
    )


def call_controls() -> tuple[Control, ...]:
    """The rows that a call has: those of every command, and those of a studio."""
    return (*controls_of(EditSettings), *controls_of(Settings))
