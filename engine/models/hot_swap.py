"""Draw with one backend while another one's plans are built, then switch to that one.

Both must have the same weights, so that portraits enrolled with one work with the other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from mimicam.engine.errors import EngineError, KernelBuildError
from mimicam.engine.models.base import CalibratedModel, Features, Model, ReadFace
from mimicam.engine.models.reenactor import Reenactor
from mimicam.engine.network_spec import Shapes
from mimicam.engine.types import Float, Image, MotionCode

_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Receives the phase, the steps done and the number of steps."""
OnReady = Callable[[Model], None]
"""Receives the built model. Called once, on the thread that built it or that registers the
callback."""


class HotSwapModel:
    """Draws with the first model until the second one is built; see `engine.models.base.Model`.

    A session that registers with `on_ready` switches over between two frames.
    """

    def __init__(self, now: Model, build: Callable[[Progress], Model]) -> None:
        """Start building on a thread of its own.

        Args:
            now: model that draws until then.
            build: takes seconds to minutes, and reports its progress.
        """
        self._model = self._first = now
        self._lock = threading.Lock()
        # Taken once: both models have the same weights, so the change alters none of these.
        self.name, self.sha256, self.size, self.modes = now.name, now.sha256, now.size, now.modes
        self.native_size, self.smooth_recordings = now.native_size, now.smooth_recordings
        self.needs_face, self.has_blendshapes = now.needs_face, now.has_blendshapes
        self._note = "; a TensorRT plan is being built"
        self._waiting: list[OnReady] = []
        self.finished = threading.Event()
        """Set when building is over, successful or not."""
        # A daemon: building cannot be interrupted, and must not hold up the program's end.
        threading.Thread(target=self._build, args=(build,), name="plan", daemon=True).start()

    @property
    def backend(self) -> str:
        """Backend in use, and the progress or the failure of the other one."""
        with self._lock:
            return self._model.backend + self._note

    def feature_shapes(self) -> Shapes:
        """See `engine.models.base.Model.feature_shapes`."""
        return self._current().feature_shapes()

    def encode(self, crop: Image) -> Features:
        """See `engine.models.base.Model.encode`."""
        return self._current().encode(crop)

    def reenactor(self, *, smooth: bool, previous: Any = None) -> Reenactor[Any, Any, Any]:
        """See `engine.models.base.LiveModel.reenactor`.

        It stays with the present backend; see `on_ready`.
        """
        return self._current().reenactor(smooth=smooth, previous=previous)

    def measure_response(
        self, crop: Image, motion: MotionCode, features: Features, read: ReadFace
    ) -> Float | None:
        """See `engine.models.base.CalibratedModel.measure_response`; None: the model measures
        none."""
        model = self._current()
        if not isinstance(model, CalibratedModel):
            return None
        return model.measure_response(crop, motion, features, read)

    def on_ready(self, use: OnReady) -> None:
        """Call ``use`` once the other backend is ready, now if it is; never if building fails."""
        with self._lock:
            if self._model is self._first:
                if not self.finished.is_set():
                    self._waiting.append(use)
                return
            ready = self._model
        use(ready)

    def _current(self) -> Model:
        with self._lock:
            return self._model

    def _build(self, build: Callable[[Progress], Model]) -> None:
        try:
            self._change_over(build(self._progress))
        except (EngineError, KernelBuildError) as error:
            # Keep the first backend; `backend` shows why the faster one is missing.
            self._report(f"; TensorRT failed: {str(error).splitlines()[0]}")
            _log.warning("no TensorRT: %s", error)
        except BaseException as error:  # the thread's top
            self._report(f"; TensorRT failed: {type(error).__name__}")
            raise
        finally:
            with self._lock:
                self.finished.set()
                self._waiting.clear()

    def _change_over(self, built: Model) -> None:
        if built.sha256 != self.sha256:
            raise EngineError("the export is of other weights: export the model again")
        with self._lock:
            # Together, under the lock: a session that registers later finds the built model.
            self._model, self._note = built, ""
            waiting, self._waiting = self._waiting, []
        _log.info("frames now come from %s", built.backend)
        # Outside the lock, since a callback may read `backend`.
        for use in waiting:
            use(built)

    def _progress(self, phase: str, done: int, total: int) -> None:
        self._report(f"; a TensorRT plan is being built: {phase} {100 * done // max(total, 1)} %")

    def _report(self, note: str) -> None:
        """Set the note until the switch; TensorRT's own threads report even after it."""
        with self._lock:
            if self._model is self._first:
                self._note = note
