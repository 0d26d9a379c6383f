"""Lends frame paths to calls: pipelines with a model, or an echo to test the connection."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import cv2
import numpy as np

from mimicam.engine.concurrency.cores import usable_cores
from mimicam.engine.errors import EngineError
from mimicam.engine.face.tracker import FaceDetector, Region
from mimicam.engine.models.base import Features, LiveModel, Model, is_tracker_driven
from mimicam.engine.models.dpe.gpu.batch import SharedModel
from mimicam.engine.models.load import load_model
from mimicam.engine.own_face import OwnFacePath
from mimicam.engine.pipeline import LivePath, Pipeline, PipelineStatus
from mimicam.engine.portrait import Portrait, enroll
from mimicam.engine.presets.library import load_presets
from mimicam.engine.presets.mix import PresetMixer
from mimicam.engine.presets.preset import Preset
from mimicam.engine.types import (
    BLENDSHAPES,
    LANDMARKS,
    CropBox,
    EditSettings,
    Frame,
    HeadPose,
    Image,
    Mode,
    MotionCode,
)

_log = logging.getLogger(__name__)


class FramePathPool(Protocol):
    """Loads models and lends frame paths with them. Thread-safe. Every method may take seconds."""

    shows_driver: bool
    """Whether results are the driver's own picture, which only the driver may see."""
    modes: tuple[Mode, ...]
    """Modes of its model."""
    has_blendshapes: bool
    """See `engine.models.base.LiveModel`."""
    presets: tuple[Preset, ...]
    """Presets that its frame paths take."""
    edits_own_face: bool
    """Whether it has `open_own_face`."""

    def enroll(self, picture: Image, name: str) -> Portrait:
        """Enrol a picture as a portrait for `open`.

        Raises:
            EngineError: no face, or several.
        """
        ...

    def find_face(self, picture: Image) -> Region | None:
        """Region of the best face. None: no face was found."""
        ...

    def open(self, portrait: Portrait, edit: EditSettings, size: tuple[int, int]) -> LivePath:
        """Lend a frame path to one caller.

        Raises:
            EngineError: the model does not load.
        """
        ...

    def open_own_face(self, edit: EditSettings, size: tuple[int, int]) -> LivePath:
        """Lend a frame path whose result is the driver's own picture, edited.

        Raises:
            EngineError: the model does not load, or cannot do that.
        """
        ...

    def close(self, path: LivePath) -> None:
        """Take a frame path back."""
        ...


class PipelinePool:
    """Lends pipelines with one set of weights.

    A model is not thread-safe, so each call has a copy.
    """

    shows_driver = False

    def __init__(
        self,
        model: str,
        backend: str,
        *,
        threads: int | None = None,
        shared: SharedModel | None = None,
    ) -> None:
        """Load the first copy, so that errors appear at the start.

        Args:
            model: name or path, as in `load_model`.
            backend: name of the backend, as in `load_model`.
            threads: of each copy. None: `spare_threads` decides.
            shared: one model on a GPU for all calls, which borrow a slot of it instead of a copy.

        Raises:
            EngineError: unknown model or backend.
        """
        self._name, self._backend = model, backend
        self._threads = threads or spare_threads(usable_cores())
        # Two locks: enrolling takes a second and must not delay opening.
        self._lock = threading.Lock()
        self._enrolling = threading.Lock()
        self._shared = shared
        # Models are kept for the next call: loading one takes seconds.
        self._free: list[LiveModel] = [self._load()]
        first = self._free[0]
        self.modes, self.has_blendshapes = first.modes, first.has_blendshapes
        self.presets = load_presets(_log.warning) if first.has_blendshapes else ()
        self.edits_own_face = is_tracker_driven(first)
        self._enroller = self._load_copy()
        self._detect = FaceDetector()
        # By id, which is unique while the path is lent.
        self._lent: dict[int, LiveModel] = {}

    def enroll(self, picture: Image, name: str) -> Portrait:
        """See `FramePathPool`."""
        with self._enrolling:
            return enroll(picture, model=self._enroller, name=name)

    def find_face(self, picture: Image) -> Region | None:
        """See `FramePathPool`."""
        with self._enrolling:
            found = self._detect(picture)
        return found[0].region if found else None

    def open(self, portrait: Portrait, edit: EditSettings, size: tuple[int, int]) -> LivePath:
        """See `FramePathPool`."""
        model = self._take()
        return self._lend(Pipeline(model=model, portrait=portrait, edit=edit, size=size), model)

    def open_own_face(self, edit: EditSettings, size: tuple[int, int]) -> LivePath:
        """See `FramePathPool`."""
        model = self._take()
        if not is_tracker_driven(model):
            raise EngineError(f"{model.name} cannot edit your own face: use --model compact")
        return self._lend(OwnFacePath(model=model, edit=edit, size=size), model)

    def _take(self) -> LiveModel:
        with self._lock:
            model = self._free.pop() if self._free else None
        # Outside of the lock: loading takes seconds, and other calls must not wait for it.
        return model or self._load()

    def _lend(self, path: LivePath, model: LiveModel) -> LivePath:
        with self._lock:
            self._lent[id(path)] = model
            self._tell_shared()
        return path

    def close(self, path: LivePath) -> None:
        """See `FramePathPool`."""
        with self._lock:
            # None: it was closed before, and the path after it failed to open.
            model = self._lent.pop(id(path), None)
            if model is not None:
                self._free.append(model)
            self._tell_shared()

    def _tell_shared(self) -> None:
        if self._shared is not None:
            # A batch then starts without waiting for slots that no call uses.
            self._shared.expect(len(self._lent))

    def _load(self) -> LiveModel:
        return self._load_copy() if self._shared is None else self._shared.session()

    def _load_copy(self) -> Model:
        return load_model(self._name, self._backend, threads=self._threads)


def spare_threads(cores: int) -> int:
    """Inference threads of a call: all cores but one, at most four.

    Decoding, encoding and the browser need the other core. On two cores, one thread instead of
    two took a loopback in Chromium from 22.8 to 24.7 results a second. Its p95 frame age fell from
    113 to 108 ms (2026-11, 640x480, compact).
    """
    return max(1, min(cores - 1, 4))


class EchoPool:
    """Lends paths that return the driver's picture, to measure the connection alone."""

    shows_driver = has_blendshapes = True
    modes = tuple(Mode)
    presets: tuple[Preset, ...] = ()
    edits_own_face = False

    def enroll(self, picture: Image, name: str) -> Portrait:
        """Accept any picture, since only its thumbnail is used."""
        return _blank_portrait(picture, name)

    def find_face(self, picture: Image) -> Region | None:  # noqa: ARG002 - the pool's contract
        """Find none: the thumbnail is the upper middle."""
        return None

    def open(self, portrait: Portrait, edit: EditSettings, size: tuple[int, int]) -> LivePath:
        """See `FramePathPool`."""
        return EchoPath(size, edit, portrait)

    def open_own_face(self, edit: EditSettings, size: tuple[int, int]) -> LivePath:  # noqa: ARG002 - the pool's contract
        """Refuse: there is no model that edits."""
        raise EngineError("without a model no face is edited: start the server with --model compact")

    def close(self, path: LivePath) -> None:
        """Do nothing, since nothing was lent."""


@dataclass(slots=True)
class EchoPath:
    """Frame path that returns the driver's picture."""

    modes: ClassVar[tuple[Mode, ...]] = tuple(Mode)
    size: tuple[int, int]
    edit: EditSettings
    portrait: Portrait
    standby: bool = False

    def observe(self, frame: Frame) -> Frame:
        return frame

    def draw(self, observation: Frame) -> Frame:
        if self.standby:
            return replace(observation, image=np.zeros((self.size[1], self.size[0], 3), np.uint8))
        image = cv2.resize(observation.image, self.size, interpolation=cv2.INTER_LINEAR)
        return replace(observation, image=image[:, ::-1].copy() if self.edit.mirror else image)

    def set_edit(self, edit: EditSettings) -> None:
        self.edit = edit

    def set_portrait(self, portrait: Portrait) -> None:
        self.portrait = portrait

    def calibrate(self) -> None:
        """Do nothing, since there is no neutral."""

    def select_next_face(self) -> None:
        """Do nothing, since no face is tracked."""

    def set_standby(self, on: bool) -> None:
        self.standby = on

    def use_presets(self, presets: PresetMixer) -> None:
        """Do nothing, since no expression is changed."""

    @property
    def status(self) -> PipelineStatus:
        return PipelineStatus(face="standby" if self.standby else "tracking", backend="null", stages={})


def _blank_portrait(picture: Image, name: str) -> Portrait:
    side = float(min(picture.shape[:2]))
    pose = HeadPose(rotation=np.eye(3, dtype=np.float32), translation=np.zeros(2, np.float32), scale=1.0)
    motion = MotionCode(
        expression=np.zeros(BLENDSHAPES, np.float32), pose=pose, shape=np.zeros((LANDMARKS, 3), np.float32)
    )
    return Portrait(
        name=name, picture=picture, box=CropBox(x_px=0.0, y_px=0.0, size_px=side), crop=picture,
        motion=motion, features=Features(arrays={}, model="null"),
    )  # fmt: skip
