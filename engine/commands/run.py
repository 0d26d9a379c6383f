"""``mimicam run``: drive a portrait live."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mimicam.engine.backends.registry import BackendName
from mimicam.engine.control_options import edit_of, with_edit_options
from mimicam.engine.controls import EditSettings
from mimicam.engine.sinks.registry import usages
from mimicam.engine.sources.registry import source_usages
from mimicam.engine.web.sink_kind import ALL_SINKS


@dataclass(frozen=True, kw_only=True)
@with_edit_options(EditSettings())
class Run:
    """Drive a portrait with a camera and show it as a virtual camera, in a window or in a file."""

    source: Annotated[str, tyro.conf.arg(help=f"{source_usages()}.")] = "camera"
    portrait: tuple[Path, ...] = ()
    """Pictures, videos, folders written by enroll, or names of bundled portraits, on the keys 1 to 9.
    Of a video, the calmest frame is shown. By default all bundled ones."""
    sink: Annotated[tuple[str, ...], tyro.conf.arg(help=f"One or more of {usages(ALL_SINKS)}.")] = (
        "virtual-camera",
    )
    backend: BackendName = "auto"
    """Backend that runs the model; auto chooses by what the machine has, and prints its choice."""
    model: str = "compact"
    """compact, or the path of a model."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="N")] = None
    """Frame rate: by default 30 for a camera, and a file's own."""
    seconds: Annotated[float | None, tyro.conf.arg(metavar="N")] = None
    """Stop after this many seconds; by default at the end of the source, at q or Ctrl-C."""
    size: Annotated[str | None, tyro.conf.arg(metavar="WxH")] = None
    """Size of the result. By default the model's own; 640x480 for a virtual camera."""
    loop: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Restart a video at its end."""

    def run(self) -> int:
        """Run until the end, then print a report."""
        from rich.console import Console

        from mimicam.engine.commands.live import check_rates, exit_code, parse_size
        from mimicam.engine.report import render_report

        check_rates(self.fps, self.seconds)
        live = _Live(self, parse_size(self.size))
        console = Console()
        console.print(live.describe(), highlight=False)
        report = live.session.run(self.seconds)
        console.print(render_report(report, live.backend), highlight=False)
        return exit_code(report)


class _Live:
    """The connected parts of one run.

    Sinks and source are opened first, so that their errors come at once.
    """

    def __init__(self, options: Run, size: tuple[int, int] | None) -> None:
        from mimicam.engine.commands.live import (
            file_outputs,
            inputs_of,
            load_gallery,
            make_sinks,
            open_source,
            result_size,
            tell_lost,
            tell_slow,
        )
        from mimicam.engine.concurrency.clock import MonotonicClock
        from mimicam.engine.concurrency.mailbox import Drops
        from mimicam.engine.concurrency.timings import Timings
        from mimicam.engine.files import refuse_to_overwrite_inputs
        from mimicam.engine.pipeline import Pipeline
        from mimicam.engine.session import Session, SessionParts
        from mimicam.engine.window_keys import WindowKeys

        sinks = make_sinks(options.sink, on_key=self._key, figures=self._figures)
        refuse_to_overwrite_inputs(
            file_outputs(options.sink), inputs_of(options.source, options.portrait, options.model)
        )
        edit = edit_of(options)
        clock, drops, timings = MonotonicClock(), Drops(), Timings()
        source = open_source(options.source, clock=clock, drops=drops, fps=options.fps, loop=options.loop)
        model, gallery = load_gallery(options.model, options.backend, options.portrait)
        size = result_size(size, options.sink, model)
        self._pipeline = Pipeline(model=model, portrait=gallery.first, edit=edit, size=size, timings=timings)
        self._model = model
        parts = SessionParts(source=source, pipeline=self._pipeline, sinks=sinks, size=self._pipeline.size)
        self._parts = parts
        self.session = Session(
            parts, clock=clock, timings=timings, drops=drops, on_lost=tell_lost, on_slow=tell_slow
        )
        self._keys = WindowKeys(self._pipeline, gallery, stop=self.session.stop)

    @property
    def backend(self) -> str:
        """Backend that draws now. It changes when a plan has been built."""
        return self._model.backend

    def describe(self) -> str:
        """Describe the run in one line."""
        sinks = ", ".join(sink.name for sink in self._parts.sinks)
        width, height = self._parts.size
        return f"{self._parts.source.name} -> {self.backend} -> {sinks} {width}x{height}"

    def _key(self, key: str) -> None:
        self._keys.key(key)

    def _figures(self) -> list[str]:
        status = self._pipeline.status
        return [f"{status.backend}  {status.face}", *self.session.stats(), self._keys.describe()]
