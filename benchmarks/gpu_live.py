"""The live path on a GPU with its session, from drawn pictures: frame age and rate, paced and
unpaced.

There is no face tracker: it runs on the processor, and a bare GPU machine lacks what it needs. The
pictures are face crops already.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Mapping
from itertools import count
from types import ModuleType
from typing import Any

import numpy as np

if importlib.util.find_spec("openvino") is None:  # the pipeline's tracker wants it, and is not used here
    sys.modules["openvino"] = ModuleType("openvino")

from mimicam.benchmarks.gpu_steps import FORMS, Scale, percentiles
from mimicam.engine.backends.cuda.device import Gpu
from mimicam.engine.backends.cuda.networks import BoundNetwork, GpuNetworks
from mimicam.engine.backends.networks import ModelInfo
from mimicam.engine.concurrency.clock import MonotonicClock
from mimicam.engine.concurrency.timings import Timings
from mimicam.engine.errors import EngineError
from mimicam.engine.models.dpe.folded import FoldedDpe
from mimicam.engine.models.dpe.gpu.networks import GpuDpeModel, torch_networks
from mimicam.engine.pipeline import FramePath, Pipeline
from mimicam.engine.portrait import Portrait
from mimicam.engine.session import Session, SessionParts
from mimicam.engine.sinks import STOP_LIMIT_S
from mimicam.engine.types import CropBox, EditSettings, Frame, Image, Mode, MotionReference
from mimicam.export.networks import random_dpe

_FPS = {"paced": 30.0, "burst": 1e6}
_PICTURES = 8
_SETTLE_S = 0.5
_LIMIT_S = 60.0
"""Time limit of one session, whose first frame may take long."""


class Drawn:
    """Gives pictures in turn: at their time, or the next one when the last was taken."""

    status = ""

    def __init__(self, shape: tuple[int, int], fps: float, taken: threading.Semaphore | None) -> None:
        rng = np.random.default_rng(0)
        self.name, self.fps, self._taken = "drawn", fps, taken
        self._pictures = [rng.integers(0, 256, (*shape, 3), np.uint8) for _ in range(_PICTURES)]
        self._clock, self._count = MonotonicClock(), count()
        self._start_ns = self._clock.now_ns()

    def read(self, stop: threading.Event) -> Frame | None:
        """See `engine.sources.Source`."""
        seq = next(self._count)
        due_ns = self._start_ns + round(seq * 1e9 / self.fps)
        # Paced: age counts from when the frame was due, so a late source cannot hide a stall.
        if self._taken is None:
            if self._clock.wait_until(due_ns, stop):
                return None
        else:
            while not self._taken.acquire(timeout=0.05):
                if stop.is_set():
                    return None
            # Burst: there is no schedule, so age counts from the moment at which there was room.
            due_ns = self._clock.now_ns()
        image: Image = self._pictures[seq % _PICTURES]
        return Frame(image=image, seq=seq, captured_ns=due_ns)

    def close(self) -> None:
        """Do nothing: there is no device."""


class Releasing:
    """Releases the source's semaphore when the pipeline takes a frame."""

    def __init__(self, pipeline: Pipeline, taken: threading.Semaphore) -> None:
        self._pipeline, self._taken = pipeline, taken

    def observe(self, frame: Frame) -> Any:
        """See `FramePath`."""
        # Before the work: the source fetches its next frame meanwhile, and one always waits.
        self._taken.release()
        return self._pipeline.observe(frame)

    def draw(self, seen: Any) -> Frame:
        """See `FramePath`."""
        return self._pipeline.draw(seen)


class CountingSink:
    """Counts frames from the first one on. The time before is capture and cuDNN's search."""

    name, main_thread, stop_limit_s = "counting", False, STOP_LIMIT_S

    def __init__(self, *, settle_s: float, count_s: float) -> None:
        """``settle_s`` after the first frame the counting starts; ``count_s`` later it is done."""
        self._settle_ns, self._end_ns = round(1e9 * settle_s), round(1e9 * (settle_s + count_s))
        self._clock = MonotonicClock()
        self._opened_ns = self._first_ns = self._last_ns = 0
        self._ages_ms: list[float] = []
        self.on_counted: Callable[[], None] = lambda: None
        """Called when the time is over."""

    def open(self, size: tuple[int, int], fps: float) -> None:  # noqa: ARG002
        """See `engine.sinks.Sink`."""
        self._opened_ns = self._clock.now_ns()

    def write(self, frame: Frame) -> None:
        """See `engine.sinks.Sink`."""
        now_ns = self._clock.now_ns()
        # On the sink's own thread, as is all that follows; `figures` is read after the session.
        self._first_ns = self._first_ns or now_ns
        passed_ns = now_ns - self._first_ns
        if passed_ns > self._end_ns:
            # The session stops itself here, however long its start took.
            self.on_counted()
        elif passed_ns >= self._settle_ns:
            self._ages_ms.append((now_ns - frame.captured_ns) / 1e6)
            self._last_ns = now_ns

    def poll(self) -> None:
        """Nothing to do between frames."""

    def close(self) -> None:
        """Do nothing: there is no device."""

    def figures(self) -> dict[str, Any]:
        """Frames counted, their rate and age, and how long the first one took."""
        span_s = (self._last_ns - self._first_ns - self._settle_ns) / 1e9
        count = len(self._ages_ms)
        return {
            "first_frame_s": (self._first_ns - self._opened_ns) / 1e9,
            "frames_counted": count,
            "fps": count / span_s if count > 1 and span_s > 0 else 0.0,
            "frame_age_ms": percentiles(self._ages_ms) if count > 1 else None,
        }


def measure_live(
    variant: str, gpu: Gpu, scale: Scale, keep: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """Both scenarios in all modes; ``keep`` gets what there is after each.

    Raises:
        EngineError: a variant that is no form of PyTorch's.
    """
    if variant not in FORMS:
        raise EngineError(f"{variant} is not available in the live part: choose one of {', '.join(FORMS)}")
    form = FORMS[variant]
    folded = FoldedDpe(random_dpe(scale.preset))
    networks = torch_networks(
        folded, form, gpu, engine="compile" if form.fused else "eager", compiler=scale.compiler
    )
    model = open_model(networks, gpu, folded.config.size, variant)
    rows: dict[str, Any] = {}
    report = {
        "variant": variant, "preset": scale.preset, "not_included": "camera, tracking, sinks", "live": rows,
    }  # fmt: skip
    for scenario in _FPS:
        for mode in Mode:
            rows[f"{scenario} {mode.value}"] = measure_session(model, mode, scenario, scale)
            keep(report)
    return report


def open_model(networks: Mapping[str, BoundNetwork], gpu: Gpu, size: int, variant: str) -> GpuDpeModel:
    """Make a model that a session can run of networks with random weights."""
    info = ModelInfo(name="random", sha256="random", size=size, backend=variant)
    return GpuDpeModel(GpuNetworks(networks, gpu), info)


def measure_session(model: GpuDpeModel, mode: Mode, scenario: str, scale: Scale) -> dict[str, Any]:
    """Run one session of drawn pictures; return its figures."""
    crop = np.random.default_rng(1).integers(0, 256, (model.size, model.size, 3), np.uint8)
    box = CropBox(x_px=0.0, y_px=0.0, size_px=float(model.size))
    portrait = Portrait(
        name="random", picture=crop, box=box, crop=crop, motion=None, features=model.encode(crop)
    )
    timings, size = Timings(), (scale.camera.width, scale.camera.height)
    edit = EditSettings(mode=mode, pose_motion=MotionReference.ABSOLUTE)  # relative motion asks the tracker
    pipeline = Pipeline(
        model=model, portrait=portrait, edit=edit, size=size, timings=timings, aligned=True, track=_nobody()
    )  # fmt: skip
    # One permit: the first frame needs no frame before it.
    burst = threading.Semaphore(1) if scenario == "burst" else None
    source = Drawn((scale.camera.height, scale.camera.width), _FPS[scenario], burst)
    path: FramePath = pipeline if burst is None else Releasing(pipeline, burst)
    sink = CountingSink(settle_s=min(scale.paced_s, _SETTLE_S), count_s=scale.paced_s)
    session = Session(SessionParts(source=source, pipeline=path, sinks=[sink], size=size), timings=timings)
    sink.on_counted = session.stop
    report = session.run(_LIMIT_S)
    return {
        **sink.figures(),
        "frames_in_since_start": report.frames_in,
        "drops_since_start": dict(report.drops),
        "stages_ms": {name: row.as_dict() for name, row in report.stages.items()},
    }


class _NeverAsked:
    """A tracker of which only the person's number is read: frames are face crops already."""

    person = 0


def _nobody() -> Any:
    return _NeverAsked()
