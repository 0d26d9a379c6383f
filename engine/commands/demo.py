"""``mimicam demo``: animate the bundled portraits by the bundled clip, without a camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mimicam.engine.control_options import edit_of, with_edit_options
from mimicam.engine.controls import EditSettings
from mimicam.engine.sinks import Sink

if TYPE_CHECKING:
    from mimicam.engine.provenance import Provenance


@dataclass(frozen=True, kw_only=True)
@with_edit_options(EditSettings(), without=("mode",))
class Demo:
    """Let the bundled clip of a real person drive the bundled portraits, in real time, into a
    video.

    Driver, expression, pose and both stand side by side. A window shows it too where there is a
    display.
    """

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("demo.mp4")
    """The video file to write."""

    def run(self) -> int:
        """Play the clip once; print what happened."""
        from rich.console import Console

        from mimicam.engine.assets_manifest import bundled_portraits, demo_clip
        from mimicam.engine.commands.live import exit_code, load_all, open_source, tell_lost, tell_slow
        from mimicam.engine.concurrency.clock import MonotonicClock
        from mimicam.engine.concurrency.mailbox import Drops
        from mimicam.engine.concurrency.timings import Timings
        from mimicam.engine.demo import PORTRAITS_SHOWN, SIZE, Wall
        from mimicam.engine.files import hash_of_input, refuse_to_overwrite_inputs
        from mimicam.engine.provenance import ANIMATED
        from mimicam.engine.report import render_report
        from mimicam.engine.session import Session, SessionParts
        from mimicam.engine.sources.video import VideoFile

        clip, console, edit = demo_clip(), Console(), edit_of(self)
        refuse_to_overwrite_inputs([self.out], [clip, *bundled_portraits()])
        model, portraits = load_all("compact", "auto", bundled_portraits()[:PORTRAITS_SHOWN])
        clock, drops, timings = MonotonicClock(), Drops(), Timings()
        wall = Wall(model, portraits, seconds=VideoFile(clip).duration_s, edit=edit, timings=timings)
        source = open_source(str(clip), clock=clock, drops=drops, fps=None)
        ends: list[Session] = []
        marks = replace(ANIMATED, drivers=(hash_of_input(clip),), model=model.sha256)
        sinks = _sinks(self.out, marks, lambda key: ends[0].stop() if key == "q" else None)
        console.print(
            f"{source.name} -> {model.backend} -> {', '.join(s.name for s in sinks)}", highlight=False
        )
        parts = SessionParts(source=source, pipeline=wall, sinks=sinks, size=SIZE)
        ends.append(
            Session(parts, clock=clock, timings=timings, drops=drops, on_lost=tell_lost, on_slow=tell_slow)
        )
        report = ends[0].run()
        console.print(render_report(report, model.backend), highlight=False)
        if not exit_code(report):
            console.print(f"wrote {self.out}", highlight=False)
        return exit_code(report)


def _sinks(out: Path, marks: Provenance, on_key: Callable[[str], None]) -> list[Sink]:
    from mimicam.engine.sinks.file import FileSink
    from mimicam.engine.sinks.window import WindowSink, has_display

    sinks: list[Sink] = [FileSink(out, marks=lambda: marks)]
    if has_display():
        sinks.append(WindowSink(on_key=on_key, figures=list))
    return sinks
