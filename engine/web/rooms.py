"""Where calls get their frame path from: the real pipeline, or one that only tests transport."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import cv2
import numpy as np

from mimicam.engine.concurrency.cores import usable_cores
from mimicam.engine.face.tracker import FaceDetector, Region
from mimicam.engine.models.base import Features, LiveModel, Model
from mimicam.engine.models.dpe.gpu.batch import SharedModel
from mimicam.engine.models.load import load_model
from mimicam.engine.pipeline import LivePath, Pipeline, PipelineStatus
from mimicam.engine.portrait import Portrait, enroll
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


class Room(Protocol):
    """Loads models once and lends them to calls. Thread-safe; every method may take seconds."""

    shows_driver: bool
    """Results are the driver's own picture: nobody but the driver may see them."""
    modes: tuple[Mode, ...]
    """What its model can be driven in."""

    def enroll(self, picture: Image, name: str) -> Portrait:
        """A portrait that `open` accepts.

        Raises:
            EngineError: no face, or several.
        """
        ...

    def find_face(self, picture: Image) -> Region | None:
        """Where the best face is; quick, for thumbnails."""
        ...

    def open(self, portrait: Portrait, edit: EditSettings, size: tuple[int, int]) -> LivePath:
        """A frame path of the caller's own.

        Raises:
            EngineError: the model does not load.
        """
        ...

    def close(self, path: LivePath) -> None:
        """The caller needs it no longer."""
        ...


class ModelRoom:
    """Pipelines over one set of weights. A model serves one thread, so each call borrows its own copy."""

    shows_driver = False

    def __init__(
        self,
        model: str,
        backend: str,
        *,
        threads: int | None = None,
        shared: SharedModel | None = None,
    ) -> None:
        """Load the first copy, so that mistakes show at the start.

        Args:
            model: as `load_model` takes it.
            backend: likewise.
            threads: of each copy; None leaves one core to connections and to the browser (see `spare_threads`).
            shared: the same model on a GPU for all calls, each of which borrows a slot of it instead of a copy.

        Raises:
            EngineError: unknown model or backend.
        """
        self._name, self._backend, self._threads = (
            model,
            backend,
            threads or spare_threads(usable_cores()),
        )
        self._lock = threading.Lock()
        self._enrolling = threading.Lock()
        self._shared = shared
        self._free: list[LiveModel] = [self._load()]
        first = self._free[0]
        self.modes = first.modes
        self._enroller = self._load_copy()
        self._detect = FaceDetector()
        self._lent: dict[int, LiveModel] = {}

    def enroll(self, picture: Image, name: str) -> Portrait:
        """See `Room`."""
        with self._enrolling:
            return enroll(picture, model=self._enroller, name=name)

    def find_face(self, picture: Image) -> Region | None:
        """See `Room`."""
        with self._enrolling:
            found = self._detect(picture)
        return found[0].region if found else None

    def open(self, portrait: Portrait, edit: EditSettings, size: tuple[int, int]) -> LivePath:
        """See `Room`."""
        with self._lock:
            model = self._free.pop() if self._free else None
        model = model or self._load()
        path = Pipeline(model=model, portrait=portrait, edit=edit, size=size)
        with self._lock:
            self._lent[id(path)] = model
            self._tell_shared()
        return path

    def close(self, path: LivePath) -> None:
        """See `Room`."""
        with self._lock:
            model = self._lent.pop(id(path), None)  # None: closed before, when the next one failed to open
            if model is not None:
                self._free.append(model)
            self._tell_shared()

    def _tell_shared(self) -> None:
        if self._shared is not None:
            self._shared.expect(len(self._lent))

    def _load(self) -> LiveModel:
        return self._load_copy() if self._shared is None else self._shared.session()

    def _load_copy(self) -> Model:
        return load_model(self._name, self._backend, threads=self._threads)


def spare_threads(cores: int) -> int:
    """Inference threads of a call: all cores but one, at most four.

    Decoding, encoding and the browser need the other one: on two cores, one thread instead of two took a loopback
    in Chromium from 22.8 to 24.7 pictures a second and its p95 from 113 to 108 ms (2026-11, 640x480, compact).
    """
    return max(1, min(cores - 1, 4))


class NullRoom:
    """Gives the driver's picture back: for measuring transport alone, and for tests of the server."""

    shows_driver = True
    modes = tuple(Mode)

    def enroll(self, picture: Image, name: str) -> Portrait:
        """Any picture will do; nothing of it is used but its thumbnail."""
        return _blank_portrait(picture, name)

    def find_face(self, picture: Image) -> Region | None:  # noqa: ARG002 - the room's contract
        """It knows no faces."""
        return None

    def open(self, portrait: Portrait, edit: EditSettings, size: tuple[int, int]) -> LivePath:
        """See `Room`."""
        return _NullPath(size, edit, portrait)

    def close(self, path: LivePath) -> None:
        """Nothing was borrowed."""


@dataclass(slots=True)
class _NullPath:
    modes: ClassVar[tuple[Mode, ...]] = tuple(Mode)
    size: tuple[int, int]
    edit: EditSettings
    portrait: Portrait
    standby: bool = False

    def observe(self, frame: Frame) -> Frame:
        return frame

    def draw(self, seen: Frame) -> Frame:
        if self.standby:
            return replace(seen, image=np.zeros((self.size[1], self.size[0], 3), np.uint8))
        image = cv2.resize(seen.image, self.size, interpolation=cv2.INTER_LINEAR)
        return replace(seen, image=image[:, ::-1].copy() if self.edit.mirror else image)

    def set_edit(self, edit: EditSettings) -> None:
        self.edit = edit

    def set_portrait(self, portrait: Portrait) -> None:
        self.portrait = portrait

    def calibrate(self) -> None:
        """There is no neutral."""

    def set_standby(self, on: bool) -> None:
        self.standby = on

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
