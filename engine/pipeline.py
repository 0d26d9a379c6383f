"""The way of a frame: driver's picture in, portrait's picture out.

source -> Frame -> track -> crop -> encode -> edit -> generate -> composite -> sinks
                  |---- look ----|-------------------- draw --------------------|

The two halves may run on threads of their own, one frame apart (`engine.frame_loop`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from mimicam.engine.concurrency.timings import Timings
from mimicam.engine.errors import EngineError
from mimicam.engine.models.base import LiveModel
from mimicam.engine.portrait import Portrait
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.crop import DriverBox, whole_box
from mimicam.engine.stages.encode import Crop
from mimicam.engine.stages.lost import LostFace
from mimicam.engine.stages.reenact import Reenactor, reenactor
from mimicam.engine.stages.track import FaceTracker
from mimicam.engine.types import CropBox, EditSettings, Face, Frame, Mode

FaceState = Literal["tracking", "holding", "easing", "standby"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineStatus:
    """What a person wants to see while it runs."""

    face: FaceState
    backend: str
    stages: dict[str, float]
    """Last duration of each stage, milliseconds."""


class FramePath(Protocol):
    """The two halves of a pipeline. Each belongs to one thread, the same or another."""

    def look(self, frame: Frame) -> Any:
        """What drawing needs of a driver frame; nothing in it is used again by the next call."""
        ...

    def draw(self, seen: Any) -> Frame:
        """The result, with the frame's ``seq`` and ``captured_ns``; its picture is the caller's own."""
        ...


class LivePath(FramePath, Protocol):
    """A frame path that is changed while it runs, from any thread; changes apply to the next result."""

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
        """Figures for the person in front of it."""
        ...

    def set_edit(self, edit: EditSettings) -> None:
        """Change mode or gains."""
        ...

    def set_portrait(self, portrait: Portrait) -> None:
        """Switch the portrait."""
        ...

    def calibrate(self) -> None:
        """Take the driver's next face as neutral."""
        ...

    def set_standby(self, on: bool) -> None:
        """Stop following the driver and show the standby card, or go on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen in a driver's frame: all that drawing needs of it."""

    frame: Frame
    crop: Crop | None
    """The driver's face in its box. None: there is none, or nobody looked."""


class Pipeline:
    """Animates one portrait by one driver.

    ``look`` belongs to one thread and ``draw`` to one, the same or another; ``step`` is both. Everything else may be
    called from any thread, and takes effect when the next frame is drawn.
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
    ) -> None:
        """Set up for one portrait.

        Args:
            model: encoder and generator; it decides whether motion is read by the tracker or off the picture.
            portrait: enrolled with the same model.
            edit: mode, gains, and what motion is counted from.
            size: (width, height) of the result; None gives the bare crop.
            timings: where stage durations go.
            smooth: filter what is read; False for pictures and tests.
            aligned: frames are square face crops already: their whole is the driver's box.
            track: whose thread is the one of ``look``; None loads one.

        Raises:
            EngineError: the model cannot be driven in this mode, or the portrait was enrolled with another model (a
                tracker-driven one says so when it draws).
        """
        self._model, self._size, self._aligned = model, size, aligned
        self.timings = timings or Timings()
        # One thread: while it looks at a frame, the generator draws the one before on all cores.
        self.track = track or FaceTracker()
        self._box = DriverBox()
        # Any: a motion goes from encode to edit, a drive from edit to generate; nobody here looks inside.
        self._follow(reenactor(model, smooth=smooth))
        self._lost: LostFace[Any] = LostFace()
        self._lock = threading.Lock()
        self._pending: list[Callable[[], None]] = []
        self._standby = False
        self._edit = self._allowed(edit)
        self._use(portrait)

    def step(self, frame: Frame) -> Frame:
        """The result for one driver frame; same ``seq`` and ``captured_ns``."""
        self._take_changes()
        return self.draw(self.look(frame))

    def look(self, frame: Frame) -> Seen:
        """Find the driver's face: the half that knows nothing of the portrait."""
        with self.timings.stage("track"):
            return Seen(frame=frame, crop=None if self._standby else self._find(frame))

    def draw(self, seen: Seen) -> Frame:
        """The result for what was seen."""
        self._take_changes()
        frame = seen.frame
        if seen.crop is None or self._standby:
            return self._without_face(frame)
        with self.timings.stage("encode"):
            motion = self.encode(seen.crop)
        with self.timings.stage("edit"):
            drive = self._lost.seen(self._drive(motion, frame.captured_ns), frame.captured_ns)
        return self._show(frame, drive)

    def crop(self, frame: Frame, face: Face) -> Crop:
        """The driver's face in its box."""
        box = whole_box(frame.image) if self._aligned else self._box(face, frame.captured_ns)
        return self._crop(frame, box, face)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What the model can be driven in."""
        return self._reenactor.modes

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
        """How it goes."""
        face: FaceState = "standby" if self._standby else self._lost.state
        return PipelineStatus(face=face, backend=self._model.backend, stages=self.timings.last_ms())

    def set_edit(self, edit: EditSettings) -> None:
        """Change mode or gains.

        Raises:
            EngineError: the model cannot be driven in this mode.
        """
        allowed = self._allowed(edit)
        self._later(lambda: setattr(self, "_edit", allowed))

    def set_portrait(self, portrait: Portrait) -> None:
        """Switch to another portrait enrolled with the same model."""
        self._later(lambda: self._use(portrait))

    def calibrate(self) -> None:
        """Take the driver's next face as neutral."""
        self._later(lambda: self._anchor.calibrate())

    @property
    def needs_neutral(self) -> bool:
        """Whether the driver's neutral plays a part in what is drawn."""
        return self._reenactor.needs_neutral(self._edit)

    def study(self, seen: Seen) -> None:
        """Learn the driver's neutral from a frame of a recording, before any frame is drawn."""
        if seen.crop is not None:
            self._reenactor.study(self.encode(seen.crop), seen.frame.captured_ns)

    def end_study(self) -> None:
        """Start drawing the recording, with the neutral that was learnt."""
        self.encode.reset()
        self.track.reset()
        self._box.reset()
        self._reenactor.end_study()

    def set_standby(self, on: bool) -> None:
        """Stop following the driver and show the standby card, or go on."""
        self._later(lambda: setattr(self, "_standby", on))

    def _later(self, change: Callable[[], None]) -> None:
        with self._lock:
            self._pending.append(change)

    def _allowed(self, edit: EditSettings) -> EditSettings:
        if edit.mode in self.modes:
            return edit
        able = " or ".join(mode.value for mode in self.modes)
        raise EngineError(
            f"{self._model.name} moves expression and pose together, not {edit.mode.value} alone: use mode {able}"
        )

    def _take_changes(self) -> None:
        if (successor := self._reenactor.successor()) is not None:  # a plan is built: from now on by the GPU
            self._follow(successor)
            self._use(self._portrait)
        if not self._pending:
            return
        with self._lock:
            changes, self._pending = self._pending, []
        for change in changes:
            change()

    def _follow(self, reenactor: Reenactor[Any, Any, Any]) -> None:
        self._reenactor = reenactor
        self.encode, self._anchor = reenactor.encode, reenactor.anchor

    def _use(self, portrait: Portrait) -> None:
        around = Composite(portrait.picture, portrait.box, self._size)
        self._role = self._reenactor.role(portrait.motion, portrait.features, around)
        self._portrait = portrait
        self._lost.portrait_changed()

    def _find(self, frame: Frame) -> Crop | None:
        """The driver's face in its box, or None where there is none."""
        if self._aligned and not self._reenactor.needs_neutral(self._edit):
            return self._crop(frame, whole_box(frame.image), None)
        face = self.track(frame.image)
        # A value that is not finite would stay in every filter that remembers: such a face was not seen.
        return self.crop(frame, face) if face is not None and face.is_finite() else None

    def _crop(self, frame: Frame, box: CropBox, face: Face | None) -> Crop:
        return Crop(
            image=frame.image, box=box, face=face, captured_ns=frame.captured_ns, mirror=self._edit.mirror
        )

    def _drive(self, motion: Any, captured_ns: int) -> Any:
        if not self._reenactor.needs_neutral(self._edit):
            return self._role.edit(motion, None, self._edit)
        neutral = self._anchor(motion, captured_ns)
        if self._anchor.jumped:
            self._lost.ease(captured_ns)
        return self._role.edit(motion, neutral, self._edit)

    def _show(self, frame: Frame, drive: Any) -> Frame:
        with self.timings.stage("generate"):
            face = self._role.generate(drive)
        with self.timings.stage("composite"):
            return replace(frame, image=self._role.composite(face))

    def _without_face(self, frame: Frame) -> Frame:
        """Hold, ease to neutral, then the standby card; never the driver's own picture."""
        self.encode.reset()
        rest = self._role.edit.rest(self._edit)
        drive = self._lost.missing(rest, frame.captured_ns, at_once=self._standby)
        shown = self._show(frame, drive)
        if self._standby or self._lost.state == "standby":
            self._lost.draw_card(shown.image)
        return shown
