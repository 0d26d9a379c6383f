"""The path of a frame: driver's picture in, portrait's picture out.

source -> Frame -> track -> crop -> encode -> edit -> generate -> composite -> sinks
                  |-- observe ---|-------------------- draw --------------------|

The two halves may run on threads of their own, one frame apart (`engine.frame_loop`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from mimicam.engine.concurrency.timings import Timings
from mimicam.engine.controls import refusal
from mimicam.engine.errors import EngineError
from mimicam.engine.face.hands import HandFinder
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.models.base import LiveModel
from mimicam.engine.models.hot_swap import HotSwapModel
from mimicam.engine.models.reenactor import Reenactor
from mimicam.engine.portrait import Portrait
from mimicam.engine.portrait_stages import stages_for
from mimicam.engine.presets.mix import NO_MIX, PresetMixer
from mimicam.engine.stages.cover import CoveredFrames, CoverStage
from mimicam.engine.stages.crop import Crop, DriverBox, whole_box
from mimicam.engine.stages.lost import LostFace
from mimicam.engine.types import Covered, EditSettings, Face, Frame, Mode

FaceState = Literal["tracking", "holding", "easing", "standby"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineStatus:
    """State of a running pipeline, for display."""

    face: FaceState
    backend: str
    stages: dict[str, float]
    """Last duration of each stage, milliseconds."""


class FramePath(Protocol):
    """The two halves of a pipeline. Each is called by one thread, the same or another."""

    def observe(self, frame: Frame) -> Any:
        """Return what drawing needs of a driver's frame; later calls do not overwrite it."""
        ...

    def draw(self, observation: Any) -> Frame:
        """Return the result, with the frame's ``seq`` and ``captured_ns``.

        The caller may keep its picture.
        """
        ...


class LivePath(FramePath, Protocol):
    """A frame path that can be changed from any thread while it runs.

    Changes apply to the next result.
    """

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Modes in which the model can be driven."""
        ...

    @property
    def edit(self) -> EditSettings:
        """Mode and gains in use."""
        ...

    @property
    def status(self) -> PipelineStatus:
        """State of the pipeline, for display."""
        ...

    def set_edit(self, edit: EditSettings) -> None:
        """Change mode or gains."""
        ...

    def set_portrait(self, portrait: Portrait) -> None:
        """Switch to another portrait."""
        ...

    def calibrate(self) -> None:
        """Take the driver's next face as neutral."""
        ...

    def select_next_face(self) -> None:
        """Follow another face of the driver's picture."""
        ...

    def set_standby(self, on: bool) -> None:
        """Stop following the driver and show the standby card, or go on."""
        ...

    def use_presets(self, presets: PresetMixer) -> None:
        """Add the mixer's presets to each frame from now on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Result of `observe`: all that drawing needs of a driver's frame."""

    frame: Frame
    crop: Crop | None
    """The driver's face in its box. None: there is no face, or the pipeline is in standby."""
    person: int = 0
    """Number of the person in it, which changes with the person (`FaceTracker.person`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ObserveSettings:
    """Settings of the observing thread. The drawing thread replaces them as a whole."""

    standby: bool
    mirror: bool
    tracks: bool
    """Whether the tracker runs. It does not for aligned frames if no neutral is used."""
    keeps_covered: bool
    """Whether parts of the face that are covered stay as they were."""


class Pipeline:
    """Animates one portrait by one driver.

    One thread calls ``observe`` and one, the same or another, ``draw``; ``step`` does both.
    Everything else may be called from any thread and takes effect when the next frame is drawn.
    """

    def __init__(
        self,
        *,
        model: LiveModel,
        portrait: Portrait,
        edit: EditSettings,
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
        smooth: bool = True,
        aligned: bool = False,
        track: FaceTracker | None = None,
        covered: CoveredFrames | None = None,
    ) -> None:
        """Set up for one portrait.

        Args:
            model: encoder and generator; its family decides whether the tracker or an encoder reads
                motion.
            portrait: enrolled with the same model.
            edit: mode, gains, and what motion is counted from.
            size: (width, height) of the result; None gives the bare crop.
            timings: receives the durations of stages.
            smooth: filter the driver's motion; False for single pictures and tests.
            aligned: frames are square face crops already, so the driver's box is the whole frame.
            track: tracker for the observing thread alone; None loads one.
            covered: counts frames in which a part of the driver's face is covered.

        Raises:
            EngineError: the model cannot be driven in this mode or by region, or the portrait was
                enrolled with another model (a tracker-driven model checks that when it draws).
        """
        self._model, self._size, self._aligned, self._smooth = model, size, aligned, smooth
        self.timings = timings or Timings()
        # The tracker has one thread: meanwhile, the generator draws the previous frame on all
        # cores.
        self.track = track or FaceTracker()
        self.covered = covered or CoveredFrames()
        self._keep_covered = CoverStage(self.covered, HandFinder() if model.has_blendshapes else None)
        self._box = DriverBox()
        # Any: each family has its own types of motion and target, which are only passed on here.
        self._reenactor: Reenactor[Any, Any, Any] = model.reenactor(smooth=smooth)
        self._lost: LostFace[Any] = LostFace()
        self._lock = threading.Lock()
        self._person = self.track.person
        self._pending: list[Callable[[], None]] = []
        self._standby = False
        self._presets = PresetMixer()
        self._edit = self._allowed(edit)
        self._observing = self._observe_settings()
        self._use(portrait)
        # The event comes on another thread, so the switch happens before the next frame.
        if isinstance(model, HotSwapModel):
            model.on_ready(lambda ready: self._later(lambda: self._use_model(ready)))

    def step(self, frame: Frame) -> Frame:
        """Return the result for one driver's frame, with the same ``seq`` and ``captured_ns``."""
        self._apply_pending_changes()
        return self.draw(self.observe(frame))

    def observe(self, frame: Frame) -> Observation:
        """Find the driver's face: the half that does not depend on the portrait."""
        with self.timings.stage("track"):
            crop = self._find(frame, self._observing)
            return Observation(frame=frame, crop=crop, person=self.track.person)

    def draw(self, observation: Observation) -> Frame:
        """Return the result for an observation."""
        self._apply_pending_changes()
        frame = observation.frame
        if observation.crop is None or self._standby:
            return self._draw_without_face(frame)
        with self.timings.stage("encode"):
            motion = self._reenactor.encode(observation.crop)
        self._welcome(observation.person)
        with self.timings.stage("edit"):
            target = self._lost.follow(self._edited(motion, frame.captured_ns), frame.captured_ns)
        return self._generate(frame, target)

    def crop(self, frame: Frame, face: Face) -> Crop:
        """Return the driver's face in its box."""
        return self._crop(frame, face, self._observing)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Modes in which the model can be driven."""
        return self._model.modes

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the results."""
        return self._size or (self._model.size, self._model.size)

    @property
    def edit(self) -> EditSettings:
        """Mode and gains in use."""
        return self._edit

    @property
    def portrait(self) -> Portrait:
        """The portrait in use."""
        return self._portrait

    @property
    def status(self) -> PipelineStatus:
        """Face state, backend and durations of stages."""
        face: FaceState = "standby" if self._standby else self._lost.state
        return PipelineStatus(face=face, backend=self._model.backend, stages=self.timings.last_ms())

    def set_edit(self, edit: EditSettings) -> None:
        """Change mode or gains.

        Raises:
            EngineError: the model cannot be driven in this mode or by region.
        """
        # Checked here, so that the caller gets the error.
        allowed = self._allowed(edit)
        self._later(lambda: setattr(self, "_edit", allowed))

    def set_portrait(self, portrait: Portrait) -> None:
        """Switch to another portrait enrolled with the same model."""
        self._later(lambda: self._use(portrait))

    def calibrate(self) -> None:
        """Take the driver's next face as neutral."""
        self._later(lambda: self._reenactor.neutral.calibrate())

    def select_next_face(self) -> None:
        """Follow another face of the driver's picture, which starts a new neutral."""
        self.track.select_next()

    @property
    def needs_neutral(self) -> bool:
        """Whether the driver's neutral affects what is drawn."""
        return self._reenactor.needs_neutral(self._edit)

    def study(self, observation: Observation) -> None:
        """Learn the driver's neutral from a frame of a recording, before any frame is drawn."""
        # Only the person with whom the recording starts: others get a neutral of their own.
        if observation.crop is not None and observation.person == self._person:
            motion = self._reenactor.encode(observation.crop)
            self._reenactor.neutral.study(motion, observation.frame.captured_ns)

    def end_study(self) -> None:
        """Start drawing the recording, with the neutral that was learned."""
        # The recording starts again: filters and tracker must not remember its end.
        self._reenactor.encode.reset()
        self.track.reset()
        self._person = self.track.person
        self._keep_covered.reset()
        self.covered.clear()
        self._box.reset()
        self._reenactor.neutral.end_study()

    def use_presets(self, presets: PresetMixer) -> None:
        """Add the mixer's presets to each frame from now on.

        Raises:
            EngineError: the model takes none.
        """
        if presets.presets and not self._model.has_blendshapes:
            raise EngineError(f"{self._model.name} takes no expression presets: use --model compact")
        self._later(lambda: setattr(self, "_presets", presets))

    def set_standby(self, on: bool) -> None:
        """Stop following the driver and show the standby card, or go on."""
        self._later(lambda: setattr(self, "_standby", on))

    def _later(self, change: Callable[[], None]) -> None:
        with self._lock:
            self._pending.append(change)

    def _allowed(self, edit: EditSettings) -> EditSettings:
        if reason := refusal(edit, modes=self.modes, has_blendshapes=self._model.has_blendshapes):
            raise EngineError(f"{self._model.name} {reason}")
        return edit

    def _apply_pending_changes(self) -> None:
        # Unlocked: a change that comes right after this test is applied with the next frame.
        if not self._pending:
            return
        with self._lock:
            # Taken out under the lock, applied outside of it: a change may take a second.
            changes, self._pending = self._pending, []
        for change in changes:
            change()
        # One assignment, so that the observing thread reads either all old or all new settings.
        self._observing = self._observe_settings()

    def _observe_settings(self) -> _ObserveSettings:
        tracks = not self._aligned or self._reenactor.needs_neutral(self._edit)
        # An encoder that reads the picture sees the hand itself.
        keeps = self._edit.covered is Covered.KEEP and self._model.has_blendshapes
        return _ObserveSettings(
            standby=self._standby, mirror=self._edit.mirror, tracks=tracks, keeps_covered=keeps
        )

    def _use_model(self, model: LiveModel) -> None:
        """Go on with another backend of the same weights."""
        self._reenactor = model.reenactor(smooth=self._smooth, previous=self._reenactor)
        self._use(self._portrait)

    def _use(self, portrait: Portrait) -> None:
        self._stages = stages_for(portrait, self._reenactor, self._size)
        self._portrait = portrait
        self._lost.portrait_changed()

    def _find(self, frame: Frame, settings: _ObserveSettings) -> Crop | None:
        """Return the driver's face in its box, or None if there is none."""
        if settings.standby:
            return None
        if not settings.tracks:
            return self._crop(frame, None, settings)
        face = self.track(frame.image, frame.captured_ns)
        # Filters would keep a value that is not finite for ever, so such a face does not count.
        if face is None or not face.is_finite():
            return None
        if settings.keeps_covered:
            face = self._keep_covered(frame, face, self.track.person)
        return self._crop(frame, face, settings)

    def _crop(self, frame: Frame, face: Face | None, settings: _ObserveSettings) -> Crop:
        box = whole_box(frame.image) if self._aligned or face is None else self._box(face, frame.captured_ns)
        return Crop(
            image=frame.image, box=box, face=face, captured_ns=frame.captured_ns, mirror=settings.mirror
        )

    def _welcome(self, person: int) -> None:
        """Start a new neutral for another person."""
        if person == self._person:
            return
        self._person = person
        self._reenactor.encode.reset()
        self._reenactor.neutral.restart()

    def _edited(self, motion: Any, captured_ns: int) -> Any:
        neutral = None
        if self._reenactor.needs_neutral(self._edit):
            neutral = self._reenactor.neutral(motion, captured_ns)
            if neutral.jumped:
                self._lost.ease(captured_ns)
        mix, with_presets = self._presets.at(captured_ns), self._stages.with_presets
        if mix is NO_MIX or with_presets is None:
            return self._stages.edit(motion, neutral, self._edit)
        return with_presets(motion, neutral, self._edit, mix)

    def _generate(self, frame: Frame, target: Any) -> Frame:
        with self.timings.stage("generate"):
            face = self._stages.generate(target)
        with self.timings.stage("composite"):
            return replace(frame, image=self._stages.composite(face))

    def _draw_without_face(self, frame: Frame) -> Frame:
        """Hold, ease to rest, then show the standby card; never the driver's own picture."""
        self._reenactor.encode.reset()
        # The portrait's rest, so that nothing of the driver is left after the easing.
        rest = self._stages.edit.rest(self._edit)
        target = self._lost.missing(rest, frame.captured_ns, at_once=self._standby)
        result = self._generate(frame, target)
        if self._standby or self._lost.state == "standby":
            self._lost.draw_card(result.image)
        return result
