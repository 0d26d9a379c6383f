"""Frames from one backend while another one's plans are being built; then from that one. Which of them draws is shown.

Both must be of the same weights, so that portraits enrolled with one serve the other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from mimicam.engine.errors import EngineError, KernelBuildError
from mimicam.engine.models.base import Features, LatentCodes, Model, PictureModel, TrackerModel
from mimicam.engine.models.frame_graph import CanvasDrawer, CanvasModel, FrameDrawer, FrameModel
from mimicam.engine.types import Float, Image, Layers, Mode

_log = logging.getLogger(__name__)

M = TypeVar("M", bound=Model)
Progress = Callable[[str, int, int], None]
"""Phase, steps done, steps in all."""


class Meanwhile(Generic[M]):
    """See `engine.models.base.Model`. It changes over between two frames, never within one."""

    def __init__(self, now: M, build: Callable[[Progress], M]) -> None:
        """Start building in a thread of its own.

        Args:
            now: what draws until then.
            build: takes seconds to minutes; tells how far it is.
        """
        self._model = self._first = now
        self._lock = threading.Lock()
        self.name, self.sha256, self.size = now.name, now.sha256, now.size
        self._note = "; a TensorRT plan is being built"
        self._next: M | None = None
        self.finished = threading.Event()
        """Set once building is over, well or not."""
        threading.Thread(target=self._build, args=(build,), name="plan", daemon=True).start()

    @property
    def backend(self) -> str:
        """What draws now, and what is on its way or why it is not."""
        with self._lock:
            return self._model.backend + self._note

    def encode(self, crop: Image) -> Features:
        """See `engine.models.base.Model.encode`."""
        return self._current().encode(crop)

    def _current(self) -> M:
        with self._lock:
            if self._next is not None:
                self._model, self._next, self._note = self._next, None, ""
                _log.info("frames now come from %s", self._model.backend)
            return self._model

    def _build(self, build: Callable[[Progress], M]) -> None:
        try:
            built = build(self._progress)
            if built.sha256 != self.sha256:
                raise EngineError("the export is of other weights: export the model again")
            with self._lock:
                self._next = built
        except (EngineError, KernelBuildError) as error:
            # Stays on what runs, and says so: a person who asked for speed shall see why there is none.
            self._say(f"; TensorRT failed: {str(error).splitlines()[0]}")
            _log.warning("no TensorRT: %s", error)
        except BaseException as error:  # the thread's top
            self._say(f"; TensorRT failed: {type(error).__name__}")
            raise
        finally:
            self.finished.set()

    def _progress(self, phase: str, done: int, total: int) -> None:
        self._say(f"; a TensorRT plan is being built: {phase} {100 * done // max(total, 1)} %")

    def _say(self, note: str) -> None:
        """TensorRT reports from threads of its own, also once it is done: that must not outlive the change."""
        with self._lock:
            if self._next is None and self._model is self._first:
                self._note = note


class CanvasMeanwhile(Meanwhile[TrackerModel]):
    """See `engine.models.base.TrackerModel`, and `engine.models.frame_graph.CanvasModel` once the plans are there."""

    def generate(self, features: Features, conditioning: Mapping[str, Float]) -> Layers:
        """See `engine.models.base.TrackerModel.generate`."""
        return self._current().generate(features, conditioning)

    def open_canvas(self) -> CanvasDrawer | None:
        """See `engine.models.frame_graph.CanvasModel`."""
        model = self._current()
        return model.open_canvas() if isinstance(model, CanvasModel) else None


class PictureMeanwhile(Meanwhile[PictureModel]):
    """See `engine.models.base.PictureModel`, and `engine.models.frame_graph.FrameModel` once the plans are there."""

    def open_frames(self) -> FrameDrawer | None:
        """See `engine.models.frame_graph.FrameModel`."""
        model = self._current()
        return model.open_frames() if isinstance(model, FrameModel) else None

    @property
    def modes(self) -> tuple[Mode, ...]:
        """See `engine.models.base.PictureModel.modes`."""
        return self._model.modes

    def read_motion(self, crop: Image) -> LatentCodes:
        """See `engine.models.base.PictureModel.read_motion`."""
        return self._current().read_motion(crop)

    def own_codes(self, features: Features) -> LatentCodes:
        """See `engine.models.base.PictureModel.own_codes`."""
        return self._current().own_codes(features)

    def generate(self, features: Features, drive: tuple[Float | None, ...]) -> Image:
        """See `engine.models.base.PictureModel.generate`."""
        return self._current().generate(features, drive)
