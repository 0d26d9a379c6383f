"""The live path on a GPU, session and all, from drawn pictures: frame age and rate, paced and as fast as it goes.

No face tracker (it runs on the processor, and a bare GPU machine lacks what it runs on): pictures are face crops already.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable
from itertools import count
from types import ModuleType
from typing import Any

import numpy as np

if importlib.util.find_spec("openvino") is None:  # the pipeline's tracker wants it, and is not used here
    sys.modules["openvino"] = ModuleType("openvino")

from benchmarks.gpu_steps import FORMS, Scale
from engine.backends.cuda_gpu import Gpu
from engine.backends.gpu_networks import GpuNetworks, GpuPublishedModel, torch_networks
from engine.backends.published import ModelFacts
from engine.errors import EngineError
from engine.models.folded import FoldedDpe
from engine.pipeline import Pipeline
from engine.portrait import Portrait
from engine.runtime.clock import MonotonicClock
from engine.runtime.timings import Timings
from engine.session import Parts, Session
from engine.sinks.null import NullSink
from engine.types import CropBox, EditSettings, Frame, Image, Mode
from export.networks import random_dpe

_FPS = {"paced": 30.0, "burst": 1e6}
_PICTURES = 8


class Drawn:
    """Pictures in turn: at their time, or the next one when the last was taken into work."""

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
        if self._taken is None:
            if self._clock.wait_until(due_ns, stop):
                return None
        else:
            while not self._taken.acquire(timeout=0.05):
                if stop.is_set():
                    return None
            due_ns = self._clock.now_ns()
        image: Image = self._pictures[seq % _PICTURES]
        return Frame(image=image, seq=seq, captured_ns=due_ns)

    def close(self) -> None:
        """Nothing to let go of."""


class Releasing:
    """A pipeline that says when it takes a frame."""

    def __init__(self, pipeline: Pipeline, taken: threading.Semaphore) -> None:
        self._pipeline, self._taken = pipeline, taken

    def look(self, frame: Frame) -> Any:
        """See `engine.session.Stepper`."""
        self._taken.release()
        return self._pipeline.look(frame)

    def draw(self, seen: Any) -> Frame:
        """See `engine.session.Stepper`."""
        return self._pipeline.draw(seen)


def measure_live(variant: str, gpu: Gpu, scale: Scale) -> dict[str, Any]:
    """Both scenarios in all modes.

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
    facts = ModelFacts(name="random", sha256="random", size=folded.config.size, backend=variant)
    model = GpuPublishedModel(GpuNetworks(networks, gpu), facts)
    rows = {}
    for scenario in _FPS:
        for mode in Mode:
            rows[f"{scenario} {mode.value}"] = _session(model, mode, scenario, scale)
    return {
        "variant": variant,
        "preset": scale.preset,
        "not_included": "camera, tracking, sinks",
        "live": rows,
    }


def _session(model: GpuPublishedModel, mode: Mode, scenario: str, scale: Scale) -> dict[str, Any]:
    crop = np.random.default_rng(1).integers(0, 256, (model.size, model.size, 3), np.uint8)
    box = CropBox(x_px=0.0, y_px=0.0, size_px=float(model.size))
    portrait = Portrait(
        name="random", picture=crop, box=box, crop=crop, motion=None, features=model.encode(crop)
    )
    timings, size = Timings(), (scale.camera.width, scale.camera.height)
    pipeline = Pipeline(
        model=model, portrait=portrait, edit=EditSettings(mode=mode), size=size, timings=timings,
        aligned=True, track=_nobody(),
    )  # fmt: skip
    burst = threading.Semaphore(1) if scenario == "burst" else None
    source = Drawn((scale.camera.height, scale.camera.width), _FPS[scenario], burst)
    stepper: Any = pipeline if burst is None else Releasing(pipeline, burst)
    session = Session(Parts(source=source, stepper=stepper, sinks=[NullSink()], size=size), timings=timings)
    report = session.run(scale.paced_s, warm_up_s=min(scale.paced_s, 2.0))
    sink = report.sinks[0]
    return {
        "frames_in": report.frames_in,
        "frames_out": report.frames_out,
        "drops": dict(report.drops),
        "fps": report.delivered_fps,
        "frame_age_ms": None if sink.age_ms is None else sink.age_ms.as_dict(),
        "stages_ms": {name: row.as_dict() for name, row in report.stages.items()},
    }


def _nobody() -> Any:
    """A tracker that is never asked."""
    never: Callable[[], None] = lambda: None  # noqa: E731
    return never
