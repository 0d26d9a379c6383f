"""Several sessions on one GPU: how many of 30 frames a second it holds, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from mimicam.benchmarks.gpu_steps import (
    EDIT,
    FORMS,
    PERIOD_S,
    Networks,
    Scale,
    host_ms,
    open_variant,
    percentiles,
    portrait_of,
)
from mimicam.engine.backends.cuda.device import Gpu
from mimicam.engine.concurrency.batching import Gather, Ticket
from mimicam.engine.models.base import Features
from mimicam.engine.models.dpe.folded import FoldedDpe
from mimicam.engine.models.dpe.gpu.slots import SlotRequest, SlotStep
from mimicam.engine.types import Mode
from mimicam.export.networks import random_dpe


def measure_sessions(
    name: str, gpu: Gpu, scale: Scale, keep: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """Measure how many sessions of 30 frames a second one GPU holds, with batches of growing size.

    A size counts when the 99th percentile of frame age at the end of its batch, waiting included,
    is below the period. Arrivals are spread over the period. ``keep`` gets the results after each
    size.
    """
    folded = FoldedDpe(random_dpe(scale.preset))
    compiled = name in FORMS and FORMS[name].fused
    rows: list[dict[str, Any]] = []
    report: dict[str, Any] = {
        "variant": name, "preset": scale.preset, "holds_sessions_at_30_fps": 0, "batches": rows,
    }  # fmt: skip
    for batch in scale.compiled_batches if compiled else scale.batches:
        if compiled:
            # Otherwise the ninth size of one function would silently run uncompiled
            # (recompile_limit).
            torch._dynamo.reset()
        networks = open_variant(name, folded, gpu, scale, batch=batch)
        rows.append(_measure_batch(networks, gpu, batch, scale))
        # Larger batches only take longer.
        if rows[-1]["age_ms"]["p99"] >= 1e3 * PERIOD_S:
            break
        report["holds_sessions_at_30_fps"] = batch
        keep(report)
    return report


def _measure_batch(networks: Networks, gpu: Gpu, batch: int, scale: Scale) -> dict[str, Any]:
    step = SlotStep(networks, gpu, modes=(Mode.EXP,))
    features = _single(portrait_of(networks, gpu))
    crop = np.full((step.size, step.size, 3), 128, np.uint8)
    request = SlotRequest(crop=crop, features=features, mode=Mode.EXP, edit=EDIT)
    requests = dict.fromkeys(range(batch), request)
    full = host_ms(lambda: step(requests), scale.batch_frames, 3)
    return {"sessions": batch, "full_batch_ms": full, "age_ms": _paced_batches(step, requests, scale)}


def _single(features: Features) -> Features:
    # Networks opened for a batch encode as many portraits; a slot holds one.
    return Features(arrays={n: array[:1] for n, array in features.arrays.items()}, model=features.model)


def _paced_batches(step: SlotStep, requests: Mapping[int, SlotRequest], scale: Scale) -> dict[str, float]:
    """Ages of frames that sessions send at 30 a second each, batched as
    `engine.concurrency.batching` batches them."""
    gather: Gather[SlotRequest, None] = Gather(most=len(requests), wait_ns=5_000_000)
    start = time.perf_counter_ns()
    ages: list[float] = []
    for due_ns, slot in _arrivals(len(requests), scale.batch_s):
        # Polls without sleeping: a sleep may overshoot by a millisecond, which would count as age.
        while time.perf_counter_ns() - start < due_ns:
            _run_due(step, gather, start, ages)
        # Age counts from when the frame was due, not from when this loop came to it.
        gather.offer(slot, _Timed(requests[slot], start + due_ns), time.perf_counter_ns() - start)
    while gather.due_ns is not None:
        _run_due(step, gather, start, ages)
    return percentiles(ages)


class _Timed(Ticket[SlotRequest, None]):
    def __init__(self, request: SlotRequest, sent_ns: int) -> None:
        super().__init__(request)
        self.sent_ns = sent_ns


def _run_due(step: SlotStep, gather: Gather[SlotRequest, None], start: int, ages: list[float]) -> None:
    batch = gather.take(time.perf_counter_ns() - start)
    if not batch:
        return
    step({slot: ticket.item for slot, ticket in batch.items()})
    # One end for the whole batch: no session's frame is ready before the last.
    now = time.perf_counter_ns()
    ages.extend((now - ticket.sent_ns) / 1e6 for ticket in batch.values() if isinstance(ticket, _Timed))


def _arrivals(sessions: int, seconds: float) -> Iterator[tuple[int, int]]:
    """(time in ns, slot), in order; phases spread evenly."""
    period = round(1e9 * PERIOD_S)
    for index in range(int(seconds / PERIOD_S) * sessions):
        yield index * period // sessions, index % sessions
