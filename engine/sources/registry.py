"""The sources that ``--source`` can name. Adding one is a module beside this file and a row in
`SOURCES`.

Modules are imported when a source is opened, so that ``mimicam --help`` loads none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mimicam.engine.concurrency.clock import Clock
from mimicam.engine.concurrency.mailbox import Drops
from mimicam.engine.sources import Source
from mimicam.engine.types import Image

LIVE_FPS = 30.0
"""Frames a second of a camera or pattern, where the user asks for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContext:
    """Services that a session offers to the source that it opens."""

    clock: Clock
    drops: Drops
    fps: float | None
    """Frames a second that the user asked for."""
    loop: bool
    """Start a video again at its end."""
    read_picture: Callable[[Path], Image]
    """Decodes a still picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """One row of the registry."""

    usage: str
    """How ``--source`` names it, for help."""
    accepts: Callable[[str], bool]
    """Whether an option's text names this source."""
    open: Callable[[str, SourceContext], Source]
    """Takes the option's text."""
    live: bool = False
    """It shows what happens now."""
    reads_file: bool = False
    """The option's text is a path."""


def _camera(spec: str, context: SourceContext) -> Source:
    from mimicam.engine.sources.camera import CameraSource

    selector = spec.partition(":")[2] or "0"
    return CameraSource(selector, clock=context.clock, drops=context.drops, fps=context.fps or LIVE_FPS)


def _pattern(_spec: str, context: SourceContext) -> Source:
    from mimicam.engine.sources.pattern import PatternSource

    return PatternSource(clock=context.clock, fps=context.fps or LIVE_FPS)


def _file(spec: str, context: SourceContext) -> Source:
    from mimicam.engine.sources.file import play

    return play(
        Path(spec),
        clock=context.clock,
        read_picture=context.read_picture,
        fps=context.fps,
        loop=context.loop,
    )


SOURCES = (
    SourceKind(
        usage="camera, camera:N or camera:NAME",
        accepts=lambda spec: spec == "camera" or spec.startswith("camera:"),
        open=_camera,
        live=True,
    ),
    SourceKind(usage="pattern (a drawn face)", accepts=lambda spec: spec == "pattern", open=_pattern),
    SourceKind(
        usage="the path of a video or picture", accepts=lambda _spec: True, open=_file, reads_file=True
    ),
)
"""Asked in order. The last one accepts every text, as a path."""


def open_source(spec: str, context: SourceContext) -> Source:
    """Open the source that ``spec`` names.

    Raises:
        EngineError: it cannot be opened.
    """
    return find_kind(spec).open(spec, context)


def find_kind(spec: str) -> SourceKind:
    """Return the kind of source that ``spec`` names."""
    return next(kind for kind in SOURCES if kind.accepts(spec))


def source_usages() -> str:
    """The choices, for help."""
    return "; ".join(kind.usage for kind in SOURCES)
