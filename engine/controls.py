"""The table of controls: what a user can set about the motion, each in one row.

A row is a field of `EditSettings`, declared with `control`. The rows generate the options of the
command line (`engine.control_options`). They also generate the schema of the studio's messages
(`engine.web.protocol`) and the inputs of its page (`engine.web.page`). `engine.web.settings` adds
the rows that only a studio has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from mimicam.engine.control_row import check_all, control, controls_of


class Mode(Enum):
    """Part of the driver's motion that reaches the portrait (DPE, section 3.1)."""

    EXP = "exp"
    POSE = "pose"
    BOTH = "both"


class MotionReference(Enum):
    """The reference from which motion is measured."""

    ABSOLUTE = "absolute"
    """The driver's motion replaces the portrait's: a closed mouth closes the portrait's mouth."""
    RELATIVE = "relative"
    """The driver's difference from their neutral is added to the portrait's own motion."""


class Response(Enum):
    """Whether a portrait's own response to expressions is made up for."""

    MEASURED = "measured"
    """Expressions are asked for as strongly as this portrait needs to show the driver's."""
    NONE = "none"
    """The driver's values are asked for as they are."""


class Covered(Enum):
    """Behaviour of a mouth or an eye that a hand or a microphone covers."""

    KEEP = "keep"
    """It stays as it was seen last. In a face that is edited in place, it is left as it is."""
    IGNORE = "ignore"
    """It does what the tracker reads there, which is invented."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditSettings:
    """How much of the driver's motion is applied, and which part."""

    mode: Mode = control(
        Mode.BOTH,
        label="What is taken from you",
        section="motion",
        choices={Mode.BOTH: "Both", Mode.EXP: "Expression", Mode.POSE: "Head"},
        segments=True,
        help="Part of the driver's motion that reaches the portrait: expression, head pose, or both.",
    )
    expression_gain: float = control(
        1.0,
        label="Expression strength",
        section="motion",
        maximum=2.0,
        unit="%",
        help="Strength of expressions. 0 shows a face at rest, 1 the driver's expression.",
    )
    eyes_gain: float = control(
        1.0,
        label="Eye strength",
        section="regions",
        maximum=2.0,
        unit="%",
        help="Strength of the eyes (lids and gaze), times that of expressions.",
    )
    brows_gain: float = control(
        1.0,
        label="Brow strength",
        section="regions",
        maximum=2.0,
        unit="%",
        help="Strength of the brows, times that of expressions.",
    )
    mouth_gain: float = control(
        1.0,
        label="Mouth strength",
        section="regions",
        maximum=2.0,
        unit="%",
        help="Strength of the mouth (lips, cheeks and nose), times that of expressions.",
    )
    jaw_gain: float = control(
        1.0,
        label="Jaw strength",
        section="regions",
        maximum=2.0,
        unit="%",
        help="Strength of the jaw, times that of expressions.",
    )
    pose_gain: float = control(
        1.0,
        label="Head strength",
        section="motion",
        maximum=1.5,
        unit="%",
        help="Strength of head turns and moves. 0 leaves the head still, 1 moves it as the driver's.",
    )
    expression_motion: MotionReference = control(
        MotionReference.ABSOLUTE,
        label="Expression follows",
        section="motion",
        choices={MotionReference.ABSOLUTE: "What you show", MotionReference.RELATIVE: "Changes only"},
        help="absolute replaces the portrait's expression by the driver's. "
        "relative adds the driver's changes from their neutral to it.",
    )
    response: Response = control(
        Response.MEASURED,
        label="Amplitude",
        section="motion",
        choices={Response.MEASURED: "As yours", Response.NONE: "Uncorrected"},
        help="measured strengthens or softens each expression by how strongly this portrait shows it. "
        "none asks for the driver's values as they are.",
    )
    pose_motion: MotionReference = control(
        MotionReference.RELATIVE,
        label="Head follows",
        section="motion",
        choices={MotionReference.RELATIVE: "Turns only", MotionReference.ABSOLUTE: "Your exact pose"},
        help="absolute gives the head the driver's pose. "
        "relative adds the driver's turns from their neutral to the portrait's own pose.",
    )
    covered: Covered = control(
        Covered.KEEP,
        label="Behind a hand",
        section="motion",
        choices={Covered.KEEP: "Keep as before", Covered.IGNORE: "As it is read"},
        help="keep leaves a mouth or an eye as it was while a hand, a microphone or a cup covers it, "
        "and edits in place leave out the hand. ignore animates what the tracker reads there.",
    )
    mirror: bool = control(
        False,
        label="Mirror, as in a looking glass",
        section="motion",
        help="Move as the driver's mirror image.",
    )

    def __post_init__(self) -> None:
        rows = controls_of(EditSettings)
        check_all(rows, {row.name: getattr(self, row.name) for row in rows})
        for row in rows:
            # ``mode="exp"`` passes the check, and code compares with ``is``.
            object.__setattr__(self, row.name, row.typed(getattr(self, row.name)))


REGION_CONTROLS = ("eyes_gain", "brows_gain", "mouth_gain", "jaw_gain")
"""Gains of single regions of the face, see `engine.face.regions`."""
OFFLINE_EDIT = EditSettings(pose_motion=MotionReference.ABSOLUTE)
"""Defaults for recordings. Their head pose is taken as it is, since no one sits before a camera."""
VIDEO_EDIT = EditSettings(mode=Mode.EXP, pose_motion=MotionReference.ABSOLUTE)
"""Defaults for editing a person in a video: an edited face fits its frame only in its own pose."""
STUDIO_EDIT = EditSettings(mirror=True)
"""Defaults for a person in front of their own camera, who expects to see a mirror image."""


def refusal(settings: EditSettings, *, modes: Sequence[Mode], has_blendshapes: bool) -> str | None:
    """Return why a model cannot follow these settings, after its name; None if it can.

    Args:
        settings: what is asked for.
        modes: those that the model has.
        has_blendshapes: see `engine.models.base.LiveModel`.
    """
    if settings.mode not in modes:
        able = " or ".join(mode.value for mode in modes)
        return f"cannot be driven in mode {settings.mode.value}: use {able}"
    changed = [name.replace("_", "-") for name in REGION_CONTROLS if getattr(settings, name) != 1.0]
    if changed and not has_blendshapes:
        return f"moves the whole expression at once: leave {', '.join(changed)} at 1, and use expression-gain"
    return None
