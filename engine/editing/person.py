"""Source and target motion of one person in each frame of a video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mimicam.engine.editing.channels import preset_mix
from mimicam.engine.editing.covered import NO_PARTS, count_parts, find_covers
from mimicam.engine.editing.driver import Driver, fade_around_losses
from mimicam.engine.editing.expression import edit_expression
from mimicam.engine.editing.occlusion import Occlusion, RecordedOcclusion, without_occluded
from mimicam.engine.editing.plan import Plan
from mimicam.engine.editing.studied import StudiedFace, blend
from mimicam.engine.editing.track import FaceTrack, steady_boxes
from mimicam.engine.face.covered_parts import Part
from mimicam.engine.face.motion import read_motion
from mimicam.engine.models.compact.edit import edit_pose
from mimicam.engine.stages.neutral import Expression
from mimicam.engine.types import (
    Covered,
    CropBox,
    EditSettings,
    Face,
    Float,
    Mode,
    MotionCode,
    MotionReference,
)

_FADE_S = 0.12
"""Seconds over which an edit fades before the face is lost, and after it is found."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moment:
    """One frame of an edit."""

    time_s: float
    box: CropBox
    """The face's crop, on whole pixels."""
    source: MotionCode
    """Motion of the face in the box."""
    target: MotionCode
    """Motion to draw."""
    share: float
    """1 applies the edit, 0 keeps the frame."""
    others: tuple[Float, ...] = ()
    """Landmarks of the other people's faces in the box."""
    eye_contact: float = 0.0
    """Share by which the gaze is turned to the camera, 0..1."""
    occlusion: Occlusion | None = None
    """What lies in front of the face and stays as it is."""

    @property
    def seen_eyes(self) -> tuple[float, float]:
        """How far the person's right and left eye may be turned, 0..1."""
        return (1.0, 1.0) if self.occlusion is None else self.occlusion.seen_eyes()


class PersonMotion:
    """Computes the moments of one person, in order."""

    def __init__(
        self,
        track: FaceTrack,
        *,
        driver: Driver | None,
        settings: EditSettings,
        plan: Plan,
        others: Sequence[FaceTrack] = (),
    ) -> None:
        """Study the person.

        Args:
            track: the person's face.
            driver: whose motion is taken over; None keeps the person's own.
            settings: mode, gains, what the driver's motion is counted from, and whether what covers
                the face is left out of the edit.
            plan: changes over time.
            others: the other people, whose faces stay untouched.
        """
        self._covers = find_covers(track) if settings.covered is Covered.KEEP else {}
        self._occlusion = RecordedOcclusion(self._covers, track.times_s)
        self._track, self._boxes = track, steady_boxes(track)
        self._face = StudiedFace(track, covered=self._covers)
        self._driver, self._settings, self._plan = driver, settings, plan
        self._others = others
        self._shares = fade_around_losses(track, _FADE_S)

    @property
    def end_s(self) -> float:
        """Time at which the result ends; infinite for the source's own end."""
        return float("inf") if self._driver is None else self._driver.end_s

    def without_face(self, frames: int) -> int:
        """Return how many of the first frames do not show the person."""
        return sum(face is None for face in self._track.faces[:frames])

    def time_s(self, index: int) -> float:
        """Return the time of a frame."""
        return float(self._track.times_s[index])

    def is_seen(self, index: int) -> bool:
        """Return whether a frame shows the person."""
        return self._track.faces[index] is not None

    def covered(self, index: int) -> frozenset[Part]:
        """Return the parts of the face that are covered in a frame."""
        return self._covers[index].parts if index in self._covers else NO_PARTS

    def driver_covered(self, index: int) -> frozenset[Part]:
        """Return the parts of the driver's face that are covered in a frame of the person."""
        return NO_PARTS if self._driver is None else self._driver.covered(self.time_s(index))

    def nearest_box(self, index: int) -> CropBox:
        """Return the box in the nearest frame that shows the face."""
        seen = np.array(self._track.seen)
        box = self._boxes[int(seen[np.abs(seen - index).argmin()])]
        assert box is not None, "a frame that shows the face has a box"
        return box

    def __call__(self, index: int) -> Moment | None:
        """Return the moment of a frame; None: the face is not seen in it."""
        time_s = float(self._track.times_s[index])
        # All three are None in the same frames.
        face, box, own = self._track.faces[index], self._boxes[index], self._face.expression(index)
        if face is None or box is None or own is None:
            return None
        source = read_motion(box.from_image(face.landmarks), face.blendshapes)
        occlusion = self._occlusion(index)
        return Moment(
            time_s=time_s,
            box=box,
            source=source,
            target=without_occluded(source, self._target(source, own, time_s), occlusion),
            occlusion=occlusion,
            share=float(self._shares[index]) * self._plan.share(time_s),
            eye_contact=preset_mix(self._plan.at(time_s)).eye_contact,
            others=tuple(box.from_image(other.landmarks) for other in self._beside(index)),
        )

    def _beside(self, index: int) -> list[Face]:
        return [face for other in self._others if (face := other.faces[index]) is not None]

    def _target(self, source: MotionCode, own: Expression, time_s: float) -> MotionCode:
        settings, target = self._settings, source
        if settings.mode is not Mode.POSE:
            target = edit_expression(
                source,
                own,
                self._driven(own, time_s),
                resting=self._face.resting,
                settings=settings,
                changes=self._plan.at(time_s),
            )
        # Without a driver there is no pose to follow, whatever the mode.
        if settings.mode is Mode.EXP or self._driver is None:
            return target
        relative = settings.pose_motion is MotionReference.RELATIVE
        rest = self._driver.neutral_pose if relative else None
        # From the source's own pose, so that a gain of 0 keeps it.
        pose = edit_pose(source.pose, self._driver.pose(time_s), rest, settings.pose_gain)
        return replace(target, pose=pose)

    def _driven(self, own: Expression, time_s: float) -> Expression | None:
        """Return the driver's expression; where their face is not seen, the source's own."""
        if self._driver is None:
            return None
        moment = self._driver(time_s)
        return own if moment is None else blend(own, moment.expression, moment.share)


def count_covered(
    motions: Sequence[PersonMotion], frames: Iterable[int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return in how many frames each part of a face is covered, and each part of a driver's face.

    A frame counts once, however many people there are.
    """
    people, drivers = [], []
    for index in frames:
        people.append(NO_PARTS.union(*(motion.covered(index) for motion in motions)))
        drivers.append(NO_PARTS.union(*(motion.driver_covered(index) for motion in motions)))
    return count_parts(people), count_parts(drivers)
