"""``mimicam bench``: frame age at the end of writing, rate and drops.

*paced*: frames arrive at a fixed rate, as from a camera. Age counts from the scheduled arrival, so
that a source that waits hides no stall. *burst*: each frame follows when the one before is taken.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from mimicam.benchmarks.machine import describe_machine, gpu_memory_mb, gpu_state, peak_mb, resident_mb
from mimicam.engine.backends.registry import BackendName
from mimicam.engine.control_options import edit_of, with_edit_options
from mimicam.engine.control_row import values_of
from mimicam.engine.controls import EditSettings
from mimicam.engine.files import refuse_to_overwrite_inputs, write_atomically
from mimicam.engine.types import Frame, Image

if TYPE_CHECKING:
    from mimicam.engine.concurrency.timings import Timings
    from mimicam.engine.pipeline import FramePath
    from mimicam.engine.report import Report
    from mimicam.engine.sources import Source
    from mimicam.engine.sources.video import Timed

Scenario = Literal["paced", "burst"]
NOT_INCLUDED = "the camera's exposure and transfer, decoding, a sink's encoding and the display"
_FRAMES_MAX = 150
"""Frames decoded before the start and played forwards and backwards: decoding is the camera's
work."""


@dataclass(frozen=True, kw_only=True)
@with_edit_options(EditSettings())
class Bench:
    """Measure frame age, rate, drops, stages and memory; print a table, and write JSON if asked
    to."""

    scenario: Scenario = "paced"
    """paced: at a fixed rate, as from a camera; burst: as fast as they are taken."""
    fps: Annotated[float, tyro.conf.arg(metavar="N")] = 30.0
    """Arrivals a second, when paced."""
    seconds: Annotated[float, tyro.conf.arg(metavar="N")] = 20.0
    """Seconds that are measured, after the warm-up."""
    warm_up: Annotated[float, tyro.conf.arg(metavar="N")] = 3.0
    """Seconds before it counts."""
    source: str = "demo"
    """demo (the bundled clip), pattern, or the path of a video."""
    input_size: Annotated[str, tyro.conf.arg(metavar="WxH")] = "640x480"
    """Driver's pictures are fitted into this."""
    size: Annotated[str, tyro.conf.arg(metavar="WxH")] = "640x480"
    """Size of the results; by default what a virtual camera gets."""
    portrait: Path | None = None
    """By default a bundled one."""
    model: str = "compact"
    """Name of a bundled model ('mimicam models list'), or the path of one."""
    backend: BackendName = "auto"
    """Backend to run. It runs or is an error; auto chooses by what the machine has."""
    late_ms: Annotated[float, tyro.conf.arg(metavar="N")] = 60.0
    """A frame that is older when it is written, or is dropped, counts as late."""
    json: Path | None = None
    """File for the figures."""

    def run(self) -> int:
        """Measure, print the report, and write the JSON file."""
        from rich.console import Console

        from mimicam.engine.report import render_report

        if self.json is not None:
            read = [Path(path) for path in (self.source, self.portrait, self.model) if path is not None]
            refuse_to_overwrite_inputs([self.json], read)
        report, facts = measure(self)
        console = Console()
        console.print(render_report(report, str(facts["backend"])), highlight=False)
        memory = facts["memory_mb"]
        console.print(f"late {facts['late_percent']:.2f} %  memory MB {memory}", highlight=False)
        start = ", ".join(f"{step.replace('_', ' ')} {s:.1f} s" for step, s in facts["cold_start_s"].items())
        console.print(f"start: {start}; not included: {NOT_INCLUDED}", highlight=False)
        if self.json is not None:
            write_json(self.json, facts)
        return 130 if report.interrupted else 0


class StartupTimer:
    """Times the steps of the start: the wait before the first picture."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def note(self, step: str) -> None:
        """Record that a step has ended."""
        now = time.perf_counter()
        self.seconds[step], self._last = round(now - self._last, 3), now


@dataclass(kw_only=True)
class Memory:
    """Resident memory when the counting began and at the end, MB."""

    start: float | None = None
    end: float | None = field(default=None)

    def begin(self) -> None:
        """Called when the warm-up is over."""
        self.start = resident_mb()

    def facts(self) -> dict[str, float | None]:
        """Return the figures for the report."""
        known = self.start is not None and self.end is not None
        growth = round(self.end - self.start, 2) if known else None  # type: ignore[operator]
        peak = peak_mb()
        return {"peak": None if peak is None else round(peak, 1), "growth": growth}


def measure(options: Bench) -> tuple[Report, dict[str, Any]]:
    """Run the scenario.

    Returns:
        The session's report, and everything as plain values.

    Raises:
        EngineError: source, portrait or model cannot be used.
    """
    from mimicam.engine.commands.live import check_rates, load_all, parse_size
    from mimicam.engine.concurrency.timings import Timings
    from mimicam.engine.pipeline import Pipeline

    check_rates(options.fps, options.seconds)
    size = parse_size(options.input_size)
    assert size is not None, "input_size has a default"
    images = load_images(options.source, size)
    machine, gpu_before = describe_machine(), gpu_state()
    started = StartupTimer()
    model, portraits = load_all(
        options.model, options.backend, [options.portrait] if options.portrait else _first_bundled()
    )
    started.note("model_and_portrait")
    timings = Timings()
    edit = edit_of(options)
    result = parse_size(options.size)
    pipeline = Pipeline(model=model, portrait=portraits[0], edit=edit, size=result, timings=timings)
    started.note("pipeline")
    # One frame before the session: it compiles and loads what the first picture needs, and is timed
    # as a step of the start.
    pipeline.step(Frame(image=images[0], seq=0, captured_ns=time.monotonic_ns()))
    started.note("first_frame")
    memory = Memory()
    scenario = paced if options.scenario == "paced" else burst
    what = Measurement(
        options=options,
        images=images,
        size=(model.size, model.size),
        timings=timings,
        on_counting=memory.begin,
    )
    report = scenario(what, pipeline)
    memory.end = resident_mb()
    setup = {
        "model": model.name,
        "model_size_px": model.size,
        "backend": model.backend,
        "backend_asked": options.backend,
        "weights_sha256": model.sha256,
        "cold_start_s": started.seconds,
        "not_included": NOT_INCLUDED,
        "machine": machine,
        "gpu_before": gpu_before,
        "gpu_after": gpu_state(),
        "gpu_memory_mb": gpu_memory_mb(),
    }
    return report, {**_facts(options, report), **setup, "memory_mb": memory.facts()}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Pictures, options and meters that both scenarios share."""

    options: Bench
    images: Sequence[Image]
    size: tuple[int, int]
    """(width, height) of the results."""
    timings: Timings
    on_counting: Callable[[], None]
    """Called when the warm-up is over."""

    def run(self, source: Source, path: FramePath) -> Report:
        """Run a whole session into a sink that keeps nothing."""
        from mimicam.engine.session import Session, SessionParts
        from mimicam.engine.sinks.null import NullSink

        parts = SessionParts(source=source, pipeline=path, sinks=[NullSink()], size=self.size)
        return Session(parts, timings=self.timings).run(
            self.options.seconds, warm_up_s=self.options.warm_up, on_counting=self.on_counting
        )


def paced(what: Measurement, pipeline: FramePath) -> Report:
    """Through a whole session, from a source that keeps its schedule whatever happens behind it."""
    from mimicam.engine.concurrency.clock import MonotonicClock
    from mimicam.engine.sources.file import PacedSource

    clock = MonotonicClock()
    # The source stamps a frame with its due time. A stall behind it therefore shows as age,
    # although nobody reads meanwhile (coordinated omission).
    fps = what.options.fps
    source = PacedSource(_schedule(what.images, fps), name="bench", fps=fps, clock=clock)
    return what.run(source, pipeline)


def burst(what: Measurement, pipeline: FramePath) -> Report:
    """The same session; the next frame arrives when the one before goes into work, so one always
    waits."""
    source = BackpressureSource(what.images, pipeline, time.monotonic_ns)
    return what.run(source, source)


class BackpressureSource:
    """A source that gives the next frame when the pipeline has taken the one before: never idle,
    nothing lost."""

    def __init__(self, images: Sequence[Image], pipeline: FramePath, now_ns: Callable[[], int]) -> None:
        self.name, self.fps, self.status = "bench", 1000.0, ""
        self._pipeline = pipeline
        self._images, self._seq, self._now_ns = cycle(_to_and_fro(images)), count(), now_ns
        # Released on the observing thread, acquired on the source's. One permit: the first frame
        # waits for none.
        self._room = threading.Semaphore(1)

    def observe(self, frame: Frame) -> Any:
        """The pipeline's look; the slot before it is empty now."""
        # Before the work, so that the next frame is read while this one is observed.
        self._room.release()
        return self._pipeline.observe(frame)

    def draw(self, seen: Any) -> Frame:
        """Draw with the wrapped pipeline."""
        return self._pipeline.draw(seen)

    def read(self, stop: threading.Event) -> Frame | None:
        # Wakes up now and then, or a session that stops would wait for a pipeline that has ended.
        while not self._room.acquire(timeout=0.05):
            if stop.is_set():
                return None
        if stop.is_set():
            return None
        return Frame(image=next(self._images), seq=next(self._seq), captured_ns=self._now_ns())

    def close(self) -> None:
        """Do nothing: there is no device."""


def load_images(source: str, size: tuple[int, int]) -> list[Image]:
    """The first pictures of the source, fitted into ``size`` on black.

    Raises:
        EngineError: it cannot be read.
    """
    from mimicam.engine.assets_manifest import demo_clip
    from mimicam.engine.sources.pattern import draw_face
    from mimicam.engine.sources.video import VideoFile

    if source == "pattern":
        import numpy as np

        drawn = [np.empty((size[1], size[0], 3), np.uint8) for _ in range(_FRAMES_MAX)]
        for index, image in enumerate(drawn):
            draw_face(image, index / 30)
        return drawn
    video = VideoFile(demo_clip() if source == "demo" else Path(source))
    try:
        # The range comes first: the other way round, zip would decode one picture too many.
        return [fit(timed.image, size) for _, timed in zip(range(_FRAMES_MAX), video, strict=False)]
    finally:
        video.close()


def fit(image: Image, size: tuple[int, int]) -> Image:
    """Scale into ``size`` (width, height) without distortion; the rest is black."""
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inner_w, inner_h = round(width * scale), round(height * scale)
    out = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - inner_w) // 2, (size[1] - inner_h) // 2
    # INTER_AREA averages where it shrinks; the other filters would alias.
    out[top : top + inner_h, left : left + inner_w] = cv2.resize(
        image, (inner_w, inner_h), interpolation=cv2.INTER_AREA
    )
    return out


def write_json(path: Path, facts: dict[str, Any]) -> None:
    """Write the figures.

    Raises:
        EngineError: the file cannot be written.
    """
    with write_atomically(path) as part:
        part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _schedule(images: Sequence[Image], fps: float) -> Iterator[Timed]:
    from mimicam.engine.sources.video import Timed

    return (Timed(image=image, time_s=i / fps) for i, image in enumerate(cycle(_to_and_fro(images))))


def _to_and_fro(images: Sequence[Image]) -> list[Image]:
    return [*images, *images[-2:0:-1]]  # without a jump at either end


def _first_bundled() -> list[Path]:
    from mimicam.engine.assets_manifest import bundled_portraits

    return bundled_portraits()[:1]


def _facts(options: Bench, report: Report) -> dict[str, Any]:
    sink = report.sinks[0]
    dropped = sum(report.drops.values())
    # A dropped frame is late too, or a pipeline that drops every other frame would look fast.
    late = sink.ages.share_above(options.late_ms) * sink.written + dropped
    return {
        "scenario": options.scenario,
        **values_of(edit_of(options)),
        "source": Path(options.source).name,  # never a person's folders
        "input_size": options.input_size,
        "size": options.size,
        "fps": options.fps if options.scenario == "paced" else None,
        "seconds": round(report.seconds, 3),
        "warm_up_s": options.warm_up,
        "frames_in": report.frames_in,
        "frames_out": report.frames_out,
        "drops": dict(report.drops),
        "delivered_fps": round(report.delivered_fps, 3),
        "late_ms": options.late_ms,
        "late_percent": round(100 * late / max(1, sink.written + dropped), 3),
        "frame_age_ms": sink.age_ms.as_dict() if sink.age_ms else None,
        "stages_ms": {name: row.as_dict() for name, row in report.stages.items()},
    }
