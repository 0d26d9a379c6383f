"""Work of a worker process: it loads the model once, then runs one unit after another."""

from __future__ import annotations

import multiprocessing
import platform
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path

from mimicam.engine.batch.units import Segment, follow, job_key, write_segment
from mimicam.engine.editing.face_generator import require_editor
from mimicam.engine.errors import EngineError
from mimicam.engine.models.base import Model
from mimicam.engine.models.load import load_model

_THREADS = 1
"""Inference threads of a worker. The same for any number of workers, so that results are identical."""


class _Worker:
    """State of this process."""

    model: Model | None = None
    load: Callable[[], Model] | None = None
    stop: Event | None = None


def open_pool(model: str, backend: str, workers: int, stop: Event) -> ProcessPoolExecutor:
    """Start worker processes.

    Args:
        model: name or path, as in `load_model`.
        backend: name of the backend.
        workers: number of processes.
        stop: once set, they give up after their present frame.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
    return ProcessPoolExecutor(workers, context, initializer=_begin_in_pool, initargs=(model, backend, stop))


def _begin_in_pool(model: str, backend: str, stop: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and sets ``stop``
    begin(model, backend, stop)


def begin(model: str, backend: str, stop: Event | None = None) -> None:
    """Set this process up. The model is loaded with the first unit that needs it."""
    _Worker.stop, _Worker.model = stop, None
    _Worker.load = lambda: require_editor(load_model(model, backend, threads=_THREADS))


def model_in_worker() -> str:
    """Return what distinguishes the model: weights and backend."""
    model = _model()
    return f"{model.sha256} {model.backend}"


def follow_in_worker(source: Path, folder: Path) -> float:
    """Follow the people of a video; return the seconds that it took."""
    start_s = time.monotonic()
    follow(source, folder, _beat)
    return time.monotonic() - start_s


def write_in_worker(segment: Segment) -> float:
    """Write a segment; return the seconds that it took.

    Raises:
        EngineError: see `write_segment`; or this machine would write it differently from the one that named it.
    """
    start_s = time.monotonic()
    # Hashed again here: another machine may hold other weights or presets under the same names, and
    # its segments would differ from their neighbours.
    if job_key(segment.job, model_in_worker()) != segment.key:
        raise EngineError(
            f"{platform.node()} has another model, backend, preset or version of mimicam than the machine"
            " that started the batch: make them alike, and name the --backend"
        )
    write_segment(segment, _model(), _beat)
    return time.monotonic() - start_s


def deaths(count: int) -> EngineError:
    """Return the error of a unit at which workers died."""
    return EngineError(f"workers died {count} times while they were at it: try it with --workers 1")


def _model() -> Model:
    if _Worker.model is None:
        assert _Worker.load is not None, "a worker is set up before its first unit"
        _Worker.model = _Worker.load()
    return _Worker.model


def _beat() -> None:
    if _Worker.stop is not None and _Worker.stop.is_set():
        raise EngineError("the batch was interrupted: run it again to go on")
