"""``mimicam run``: drive a portrait live."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mimicam.engine.backends.registry import BackendName
from mimicam.engine.control_options import edit_of, with_edit_options
from mimicam.engine.controls import EditSettings
from mimicam.engine.sinks.registry import usages
from mimicam.engine.sources.registry import source_usages
from mimicam.engine.web.sink_kind import ALL_SINKS

if TYPE_CHECKING:
    from mimicam.engine.concurrency.timings import Timings
    from mimicam.engine.gallery import Gallery
    from mimicam.engine.models.base import Model
    from mimicam.engine.osc import OscControl
    from mimicam.engine.own_face import OwnFacePath
    from mimicam.engine.pipeline import Pipeline
    from mimicam.engine.stages.cover import CoveredFrames

    _Opened = tuple[Model, Pipeline | OwnFacePath, Gallery]
    """Model, frame path, and portraits to choose from."""


@dataclass(frozen=True, kw_only=True)
@with_edit_options(EditSettings())
class Run:
    """Drive a portrait with a camera and show it as a virtual camera, in a window or in a file."""

    source: Annotated[str, tyro.conf.arg(help=f"{source_usages()}.")] = "camera"
    portrait: tuple[Path, ...] = ()
    """Pictures, videos, folders written by enroll, or names of bundled portraits, on the keys 1 to
    9. A video is shown by its calmest frame. By default all bundled ones. The word camera shows
       your
    own picture, edited by presets."""
    sink: Annotated[tuple[str, ...], tyro.conf.arg(help=f"One or more of {usages(ALL_SINKS)}.")] = (
        "virtual-camera",
    )
    backend: BackendName = "auto"
    """Backend that runs the model; auto chooses by what the machine has, and prints its choice."""
    model: str = "compact"
    """Name of a bundled model ('mimicam models list'), or the path of one."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="N")] = None
    """Frame rate: by default 30 for a camera, and a file's own."""
    seconds: Annotated[float | None, tyro.conf.arg(metavar="N")] = None
    """Stop after this many seconds; by default at the end of the source, at q or Ctrl-C."""
    size: Annotated[str | None, tyro.conf.arg(metavar="WxH")] = None
    """Size of the result. By default the model's own; 640x480 for a virtual camera."""
    preset: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")] = ()
    """Expressions to start with, such as smile=0.4. Their hotkeys are in 'mimicam preset list'."""
    osc: Annotated[str | None, tyro.conf.arg(metavar="[HOST:]PORT")] = None
    """Listen for OSC messages that control presets: /mimicam/preset/smile 0.5,
    /mimicam/press/wink."""
    loop: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Restart a video at its end."""

    def run(self) -> int:
        """Run until the end, then print a report."""
        from rich.console import Console

        from mimicam.engine.commands.live import check_rates, exit_code, parse_size
        from mimicam.engine.osc import parse_address
        from mimicam.engine.report import render_report

        check_rates(self.fps, self.seconds)
        address = None if self.osc is None else parse_address(self.osc)
        live = _Live(self, parse_size(self.size))
        console = Console()
        console.print(live.describe(), highlight=False)
        with nullcontext() if address is None else live.listen(address):
            report = live.session.run(self.seconds)
        console.print(render_report(report, live.backend), highlight=False)
        return exit_code(report)


class _Live:
    """The connected parts of one run.

    Sinks and source are opened first, so that their errors come at once.
    """

    def __init__(self, options: Run, size: tuple[int, int] | None) -> None:
        from mimicam.engine.commands.live import (
            OWN_FACE_BANNER,
            file_outputs,
            inputs_of,
            is_own_face,
            make_presets,
            make_sinks,
            open_source,
            parse_presets,
            recording_marks,
            tell_lost,
            tell_slow,
        )
        from mimicam.engine.concurrency.clock import MonotonicClock
        from mimicam.engine.concurrency.mailbox import Drops
        from mimicam.engine.concurrency.timings import Timings
        from mimicam.engine.files import refuse_to_overwrite_inputs
        from mimicam.engine.session import Session, SessionParts
        from mimicam.engine.stages.cover import CoveredFrames
        from mimicam.engine.window_keys import WindowKeys

        own_face, edit, amounts = (
            is_own_face(options.portrait), edit_of(options), parse_presets(options.preset)
        )  # fmt: skip
        self._banner = OWN_FACE_BANNER if own_face else ""
        sinks = make_sinks(
            options.sink,
            on_key=self._key,
            figures=self._figures,
            banner=self._banner,
            marks=lambda: self._marks,
        )
        refuse_to_overwrite_inputs(
            file_outputs(options.sink), inputs_of(options.source, options.portrait, options.model)
        )
        clock, drops, timings = MonotonicClock(), Drops(), Timings()
        source = open_source(options.source, clock=clock, drops=drops, fps=options.fps, loop=options.loop)
        covered = CoveredFrames()
        open_path = _open_own_face if own_face else _open_portrait
        self._model, self._pipeline, gallery = open_path(options, edit, size, timings, covered)
        if file_outputs(options.sink):
            portrait = None if own_face else gallery.first
            self._marks = recording_marks(options.source, self._model, portrait)
        self._presets = presets = make_presets(amounts, self._model, own_face=own_face)
        self._pipeline.use_presets(presets)
        parts = SessionParts(source=source, pipeline=self._pipeline, sinks=sinks, size=self._pipeline.size)
        self._parts = parts
        self.session = Session(
            parts,
            clock=clock,
            timings=timings,
            drops=drops,
            covered=covered,
            on_lost=tell_lost,
            on_slow=tell_slow,
        )
        self._keys = WindowKeys(self._pipeline, gallery, presets=presets, stop=self.session.stop)

    @property
    def backend(self) -> str:
        """Backend that draws now. It changes when a plan has been built."""
        return self._model.backend

    def describe(self) -> str:
        """Describe the run in one line, and say whose picture is shown if it is the user's own."""
        sinks = ", ".join(sink.name for sink in self._parts.sinks)
        width, height = self._parts.size
        line = f"{self._parts.source.name} -> {self.backend} -> {sinks} {width}x{height}"
        return f"{line}\n{self._banner}".rstrip()

    def listen(self, address: tuple[str, int]) -> OscControl:
        """Return a listener to OSC messages, to be entered.

        Raises:
            EngineError: the port cannot be used.
        """
        from mimicam.engine.commands.live import tell_note
        from mimicam.engine.osc import OscControl

        presets = self._presets
        return OscControl(address, set_amount=presets.set, press=presets.press, tell=tell_note)

    def _key(self, key: str) -> None:
        self._keys.key(key)

    def _figures(self) -> list[str]:
        status = self._pipeline.status
        return [f"{status.backend}  {status.face}", *self.session.stats(), self._keys.describe()]


def _open_portrait(
    options: Run,
    edit: EditSettings,
    size: tuple[int, int] | None,
    timings: Timings,
    covered: CoveredFrames,
) -> _Opened:
    from mimicam.engine.commands.live import load_gallery, result_size
    from mimicam.engine.pipeline import Pipeline

    model, gallery = load_gallery(options.model, options.backend, options.portrait)
    size = result_size(size, options.sink, model)
    path = Pipeline(
        model=model, portrait=gallery.first, edit=edit, size=size, timings=timings, covered=covered
    )
    return model, path, gallery


def _open_own_face(
    options: Run,
    edit: EditSettings,
    size: tuple[int, int] | None,
    timings: Timings,
    covered: CoveredFrames,
) -> _Opened:
    """Make the path on which the driver's own picture leaves: only where `is_own_face`."""
    from mimicam.engine.commands.live import own_face_size
    from mimicam.engine.gallery import Gallery
    from mimicam.engine.models.load import load_model
    from mimicam.engine.own_face import OwnFacePath

    model = load_model(options.model, options.backend)
    size = own_face_size(size, options.sink)
    path = OwnFacePath(model=model, size=size, edit=edit, timings=timings, covered=covered)
    return model, path, Gallery([])
