"""What a session did, in figures; for people as a table, for machines as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from mimicam.engine.concurrency.timings import Histogram, Percentiles


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkReport:
    """One sink."""

    name: str
    written: int
    """Frames."""
    fps: float
    """Delivered, between the first and the last frame."""
    age_ms: Percentiles | None
    """Frame age, capture to written. None: nothing was written."""
    ages: Histogram
    """The same, to ask for other shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One session."""

    seconds: float
    """From the first count to the end."""
    frames_in: int
    """Given by the source."""
    frames_out: int
    """Computed."""
    drops: Mapping[str, int]
    """Reason to frames: ``inference`` (a newer frame came first), a sink's name, ``stopped``, ``camera``."""
    sinks: tuple[SinkReport, ...]
    stages: Mapping[str, Percentiles]
    """Stage to its duration, milliseconds."""
    interrupted: bool
    """Ctrl-C."""
    stuck: tuple[str, ...]
    """Threads that did not end within the limit; a driver hangs."""
    lost: tuple[str, ...] = ()
    """Why sinks broke that the others went on without."""

    @property
    def delivered_fps(self) -> float:
        """Of the slowest sink."""
        return min((sink.fps for sink in self.sinks), default=0.0)


def render_report(report: Report, backend: str = "") -> RenderableType:
    """The report as people read it on the screen."""
    drops = ", ".join(f"{reason} {count}" for reason, count in report.drops.items()) or "none"
    head = f"{report.seconds:.1f} s  frames in {report.frames_in}, out {report.frames_out}  dropped: {drops}"
    lines: list[RenderableType] = [Text(f"{backend}  {head}" if backend else head), _sinks(report)]
    if report.stages:
        lines.append(_stages(report))
    lines += [Text(f"{name} did not stop in time", style="red") for name in report.stuck]
    lines += [Text(f"lost: {reason}", style="red") for reason in report.lost]
    return Group(*lines)


def _sinks(report: Report) -> Table:
    table = Table("sink", *_numbers("frames", "fps", "age p50", "p95", "p99", "max ms"), box=None)
    for sink in report.sinks:
        age = sink.age_ms
        ages = [f"{v:.1f}" for v in (age.p50, age.p95, age.p99, age.max)] if age else ["-"] * 4
        table.add_row(sink.name, str(sink.written), f"{sink.fps:.1f}", *ages)
    return table


def _stages(report: Report) -> Table:
    table = Table("stage", *_numbers("p50", "p90", "p95", "p99", "max ms"), box=None)
    for name, row in report.stages.items():
        table.add_row(name, *(f"{v:.2f}" for v in (row.p50, row.p90, row.p95, row.p99, row.max)))
    return table


def _numbers(*names: str) -> list[Column]:
    return [Column(name, justify="right") for name in names]
