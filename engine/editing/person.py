"""Edit one person in the frames of a video."""

from __future__ import annotations

from mimicam.engine.editing.driver import Driver, fade_around_losses
from mimicam.engine.editing.editor import FrameEditor
from mimicam.engine.editing.expression import edit_expression
from mimicam.engine.editing.paste import Edited
from mimicam.engine.editing.plan import Plan
from mimicam.engine.editing.studied import StudiedFace, blend
from mimicam.engine.editing.track import FaceTrack, steady_boxes
from mimicam.engine.face.motion import read_motion
from mimicam.engine.models.base import Model
from mimicam.engine.stages.neutral import Expression
from mimicam.engine.types import EditSettings, Image

_FADE_S = 0.12
"""Seconds over which an edit fades before the face is lost, and after it is found."""


class PersonEdit:
    """Edits the frames of one person, in order."""

    def __init__(
        self, model: Model, track: FaceTrack, *, driver: Driver | None, settings: EditSettings, plan: Plan
    ) -> None:
        """Study the person.

        Args:
            model: see `engine.editing.editor.FrameEditor`.
            track: the person's face.
            driver: whose expression is taken over; None keeps the person's own.
            settings: gain, and what the driver's expression is counted from.
            plan: changes over time.
        """
        self._edit = FrameEditor(model)
        self._track, self._face, self._boxes = track, StudiedFace(track), steady_boxes(track)
        self._driver, self._settings, self._plan = driver, settings, plan
        self._shares = fade_around_losses(track, _FADE_S)

    @property
    def end_s(self) -> float:
        """Time at which the result ends; infinite for the source's own end."""
        return float("inf") if self._driver is None else self._driver.end_s

    def without_face(self, frames: int) -> int:
        """Return how many of the first frames do not show the person."""
        return sum(face is None for face in self._track.faces[:frames])

    def __call__(self, index: int, image: Image) -> Edited | None:
        """Return the edited frame, RGB; None: nothing changes in it."""
        time_s = float(self._track.times_s[index])
        share = float(self._shares[index]) * self._plan.share(time_s)
        face, box, own = self._track.faces[index], self._boxes[index], self._face.expression(index)
        if share == 0.0 or face is None or box is None or own is None:
            return None
        source = read_motion(box.from_image(face.landmarks), face.blendshapes)
        target = edit_expression(
            source,
            own,
            self._driven(own, time_s),
            resting=self._face.resting,
            settings=self._settings,
            changes=self._plan.at(time_s),
        )
        return self._edit(image, box, source, target, time_s=time_s, share=share)

    def _driven(self, own: Expression, time_s: float) -> Expression | None:
        """Return the driver's expression; where their face is not seen, the source's own."""
        if self._driver is None:
            return None
        moment = self._driver(time_s)
        return own if moment is None else blend(own, moment.expression, moment.share)
