"""The path of a frame whose portrait is the camera's own picture, edited in place.

source -> Frame -> track -> edit -> generate -> paste -> turn the eyes -> sinks
                  |-- observe --|------------------- draw --------------------|

Here the driver's picture leaves on purpose: the user chose it (`engine.commands.run`, the studio's
switch). Every other path keeps it inside (`engine.pipeline`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import cv2
import numpy as np

from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.concurrency.timings import Timings
from mimicam.engine.editing.channels import NO_CHANGES
from mimicam.engine.editing.expression import edit_expression
from mimicam.engine.editing.face_generator import FaceGenerator, SteadyAppearance
from mimicam.engine.editing.occlusion import LiveOcclusion, without_occluded
from mimicam.engine.editing.paste import paste_face, window_of
from mimicam.engine.editing.person import Moment
from mimicam.engine.face.covers import NOTHING, Covers
from mimicam.engine.face.hands import HandFinder
from mimicam.engine.face.motion import read_motion, with_added
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.maths import smoothstep
from mimicam.engine.models.base import Model
from mimicam.engine.models.compact.eye_contact import EyeContact
from mimicam.engine.pipeline import FaceState, PipelineStatus
from mimicam.engine.portrait import Portrait
from mimicam.engine.presets.mix import PresetMix, PresetMixer
from mimicam.engine.stages.cover import CoveredFrames, CoverSearch
from mimicam.engine.stages.crop import DriverBox
from mimicam.engine.stages.eye_warp import EyeWarp
from mimicam.engine.stages.lost import LostFace
from mimicam.engine.stages.neutral import Expression, IdentityFilter
from mimicam.engine.types import Covered, CropBox, EditSettings, Face, Frame, Image, Mode, MotionCode

_FADE_S = 0.15
"""Seconds over which an edit fades in after a face is found."""
_LEAST = 1e-4
"""Change of a blendshape below which no face is generated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OwnObservation:
    """A frame in the result's size, and the face in it."""

    frame: Frame
    face: Face | None
    """None: no face is seen, or the path is in standby."""
    person: int
    """Number of the person, see `FaceTracker.person`."""
    covers: Covers = NOTHING
    """What lies in front of the face."""


class OwnFacePath:
    """Edits the person in the camera's own picture; see `engine.pipeline.LivePath`.

    Without presets, and with an expression gain of 1, the frame passes unchanged. So it does where
    no face is seen.
    """

    modes: tuple[Mode, ...] = (Mode.EXP,)

    def __init__(
        self,
        *,
        model: Model,
        size: tuple[int, int],
        edit: EditSettings,
        timings: Timings | None = None,
        track: FaceTracker | None = None,
        covered: CoveredFrames | None = None,
    ) -> None:
        """Set up for one person.

        Args:
            model: driven by the tracker.
            size: (width, height) of the results; frames of another shape lose their margins.
            edit: its expression gain, mirror and treatment of covered parts are used; the pose is
                always the person's own.
            timings: receives the durations of stages.
            track: tracker for the observing thread alone; None loads one.
            covered: counts frames in which a part of the face is covered.

        Raises:
            EngineError: the model is not driven by the tracker.
        """
        self._model, self.size, self.timings = model, size, timings or Timings()
        self.track = track or FaceTracker()
        self._search = CoverSearch(covered or CoveredFrames(), HandFinder())
        self._appearance = SteadyAppearance(model)
        self._generate = FaceGenerator(model, self._appearance)
        self._edit, self._presets = edit, PresetMixer()
        self._standby = False
        shape = (size[1], size[0], 3)
        # One for each thread: a pool has one writer.
        self._fitted, self._results = BufferPool(shape, np.uint8), BufferPool(shape, np.uint8)
        self._calibrates = threading.Event()
        self._person = self.track.person
        self._warp = EyeWarp(left=0, top=0, side=0)
        self._since_ns: int | None = None
        self._begin()

    @property
    def edit(self) -> EditSettings:
        """Gain and mirror in use."""
        return replace(self._edit, mode=Mode.EXP)

    @property
    def status(self) -> PipelineStatus:
        """State of the path, for display."""
        face: FaceState = (
            "standby" if self._standby else "tracking" if self._since_ns is not None else "holding"
        )
        return PipelineStatus(face=face, backend=self._model.backend, stages=self.timings.last_ms())

    def set_edit(self, edit: EditSettings) -> None:
        """Change gain or mirror."""
        self._edit = edit

    def set_portrait(self, portrait: Portrait) -> None:
        """Do nothing: the portrait is the camera's own picture."""

    def calibrate(self) -> None:
        """Take the next gaze as one into the camera."""
        self._calibrates.set()

    def select_next_face(self) -> None:
        """Edit another face of the picture."""
        self.track.select_next()

    def set_standby(self, on: bool) -> None:
        """Show the standby card without the picture, or go on."""
        self._standby = on

    def use_presets(self, presets: PresetMixer) -> None:
        """Add the mixer's presets to each frame from now on."""
        self._presets = presets

    def step(self, frame: Frame) -> Frame:
        """Return the result for one frame, with the same ``seq`` and ``captured_ns``."""
        return self.draw(self.observe(frame))

    def observe(self, frame: Frame) -> OwnObservation:
        """Fit the frame to the result's size, and find the face in it."""
        with self.timings.stage("track"):
            image = fit(frame.image, self._fitted)
            face = None if self._standby else self.track(image, frame.captured_ns)
            # A face that is not finite counts as none: filters would keep its values for ever.
            seen = face if face is not None and face.is_finite() else None
            frame, person = replace(frame, image=image), self.track.person
            covers = NOTHING
            if seen is not None and self._edit.covered is Covered.KEEP:
                covers = self._search(frame, seen, person)
            return OwnObservation(frame=frame, face=seen, person=person, covers=covers)

    def draw(self, observation: OwnObservation) -> Frame:
        """Return the edited frame."""
        frame = observation.frame
        if self._standby:
            # From the pool, as every result: an output may still hold the one before.
            card = self._results.take()
            card[:] = 0
            LostFace.draw_card(card)
            return replace(frame, image=card)
        mix = self._presets.at(frame.captured_ns)
        if observation.person != self._person:
            self._person = observation.person
            self._begin()
        elif observation.face is None:
            self._lose()
        image = frame.image
        if observation.face is not None:
            image = self._edited(image, observation.face, frame.captured_ns, mix, observation.covers)
        if self._edit.mirror:
            image = cv2.flip(image, 1, dst=self._results.take())
        return replace(frame, image=image)

    def _begin(self) -> None:
        """Start with a face of which nothing is known."""
        self._box, self._identity, self._contact = DriverBox(), IdentityFilter(), EyeContact()
        self._occlusion = LiveOcclusion()
        self._lose()

    def _lose(self) -> None:
        """Begin again when the face is back; what was learned of the person stays."""
        self._since_ns = None
        self._box.reset()
        self._contact.reset()
        self._appearance.reset()

    def _edited(self, image: Image, face: Face, captured_ns: int, mix: PresetMix, covers: Covers) -> Image:
        if self._since_ns is None:
            self._since_ns = captured_ns
        # Eased in: the first frames after a loss have no filter history.
        share = smoothstep((captured_ns - self._since_ns) * 1e-9 / _FADE_S)
        with self.timings.stage("edit"):
            box = whole_pixels(self._box(face, captured_ns))
            source = read_motion(box.from_image(face.landmarks), face.blendshapes)
            own = self._identity.uncounted(source) if covers.parts else self._identity(source, captured_ns)
            occlusion = self._occlusion(covers, captured_ns)
            target = without_occluded(source, self._target(source, own, mix), occlusion)
        moment = Moment(
            time_s=captured_ns * 1e-9,
            box=box,
            source=source,
            target=target,
            share=share,
            occlusion=occlusion,
        )
        out = self._pasted(image, moment)
        return self._with_eye_contact(out, image, moment, captured_ns, mix.eye_contact)

    def _target(self, source: MotionCode, own: Expression, mix: PresetMix) -> MotionCode:
        # Without a driver the gain scales the person's own expression; `calm` takes it back to
        # rest.
        settings = replace(self._edit, expression_gain=self._edit.expression_gain * (1 - mix.calm))
        resting = self._identity.resting
        target = edit_expression(source, own, None, resting=resting, settings=settings, changes=NO_CHANGES)
        return with_added(target, mix.added)

    def _pasted(self, image: Image, moment: Moment) -> Image:
        """Return the frame with the edited face, or the frame itself where nothing changes."""
        if np.abs(moment.target.expression - moment.source.expression).max() < _LEAST:
            return image
        with self.timings.stage("generate"):
            window = window_of(moment)
            if not window.opacity.any():
                return image
            fields = self._generate(image, moment)
        with self.timings.stage("composite"):
            edited = paste_face(image, fields, window, self._results.take())
            return image if edited is None else edited.image

    def _with_eye_contact(
        self, image: Image, own: Image, moment: Moment, captured_ns: int, amount: float
    ) -> Image:
        """Turn the eyes; ``own`` is the camera's frame, which stays as it is."""
        # On the drawing thread, which owns the contact's filter.
        if self._calibrates.is_set():
            self._calibrates.clear()
            self._contact.calibrate()
        with self.timings.stage("eyes"):
            eyes = self._contact(moment.target, captured_ns, amount * moment.share, moment.seen_eyes)
            if not eyes:
                return image
            out = image
            if image is own:
                out = self._results.take()
                np.copyto(out, own)
            box = moment.box
            self._warp.move_to(left=round(box.x_px), top=round(box.y_px), side=round(box.size_px))
            self._warp(out, eyes)
            return out


def fit(image: Image, pool: BufferPool[np.uint8]) -> Image:
    """Return a picture that fills those of a pool and loses its margins; itself if it fits."""
    height, width = pool.shape[:2]
    if image.shape[:2] == (height, width):
        return image
    scale = max(width / image.shape[1], height / image.shape[0])
    rows, columns = (
        slice((side - kept) // 2, (side - kept) // 2 + kept)
        for side, kept in zip(image.shape[:2], (round(height / scale), round(width / scale)), strict=True)
    )
    # Averaging when it shrinks, since bilinear sampling would flicker on fine patterns.
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image[rows, columns], (width, height), dst=pool.take(), interpolation=how)


def whole_pixels(box: CropBox) -> CropBox:
    """Return the box on whole pixels, so that what does not move stays identical."""
    # Even, so that the middle stays on whole pixels as well.
    side = 2 * max(round(box.size_px / 2), 8)
    x_px, y_px = (round(corner + (box.size_px - side) / 2) for corner in (box.x_px, box.y_px))
    return CropBox(x_px=float(x_px), y_px=float(y_px), size_px=float(side))
