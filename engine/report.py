"""Results of a session: a table for people, plain values for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from mimicam.engine.concurrency.timings import Histogram, Percentiles
from mimicam.engine.stages.cover import describe_covered


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkReport:
    """Counts and frame age of one sink."""

    name: str
    written: int
    """Number of frames."""
    fps: float
    """Rate of delivery, between the first and the last frame."""
    age_ms: Percentiles | None
    """Frame age, capture to written. None: nothing was written."""
    ages: Histogram
    """Histogram of the frame age, for other quantiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Counts and durations of one session."""

    seconds: float
    """Duration from the start of counting to the end."""
    frames_in: int
    """Number of frames that the source delivered."""
    frames_out: int
    """Number of results."""
    drops: Mapping[str, int]
    """Number of dropped frames by reason: ``inference`` (a newer frame came first), a sink's name,
    ``stopped``, ``camera``."""
    sinks: tuple[SinkReport, ...]
    stages: Mapping[str, Percentiles]
    """Duration by stage, milliseconds."""
    interrupted: bool
    """Whether Ctrl-C ended the session."""
    stuck: tuple[str, ...]
    """Names of threads that did not end within the limit, as when a driver hangs."""
    covered: Mapping[str, int] = field(default_factory=dict)
    """Number of frames in which something covered a part of the driver's face, by part."""
    lost: tuple[str, ...] = ()
    """Reasons of sinks that broke while the others went on."""

    @property
    def delivered_fps(self) -> float:
        """Delivered rate of the slowest sink."""
        return min((sink.fps for sink in self.sinks), default=0.0)


def render_report(report: Report, backend: str = "") -> RenderableType:
    """Return the report as a table for the terminal."""
    drops = ", ".join(f"{reason} {count}" for reason, count in report.drops.items()) or "none"
    head = f"{report.seconds:.1f} s  frames in {report.frames_in}, out {report.frames_out}  dropped: {drops}"
    lines: list[RenderableType] = [Text(f"{backend}  {head}" if backend else head), _sinks(report)]
    if report.stages:
        lines.append(_stages(report))
    if covered := describe_covered(report.covered, report.frames_in):
        lines.append(Text(covered))
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
