"""The sinks that ``--sink`` can name. Adding one is a module beside this file and a row in `SINKS`.

A row opens its sink from the text behind the colon. Modules are imported when a sink is opened, so
that ``mimicam --help`` loads none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from mimicam.engine.errors import EngineError
from mimicam.engine.files import is_same
from mimicam.engine.provenance import ANIMATED, Provenance
from mimicam.engine.sinks import Sink


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkContext:
    """Callbacks that a session offers to the sinks that it opens."""

    on_key: Callable[[str], None]
    """Receives each key that a person presses in a window."""
    figures: Callable[[], list[str]]
    """Lines that a window shows over the picture."""
    banner: str = ""
    """Line that a window always shows."""
    marks: Callable[[], Provenance] = lambda: ANIMATED
    """Returns the marks of a file, once the session starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkKind:
    """One row of the registry."""

    usage: str
    """How ``--sink`` names it: ``null``, ``file:PATH``, ``webrtc[:PORT]``. Brackets mark what may
    be left out."""
    open: Callable[[str, SinkContext], Sink]
    """Takes the text behind the colon, empty where there is none."""
    size: tuple[int, int] | None = None
    """(width, height) to use where the user asks for none; None leaves it to the session."""
    writes_file: bool = False
    """The text behind the colon is the path of a file that this sink writes."""

    @property
    def word(self) -> str:
        """The name before the colon."""
        return self.usage.partition("[")[0].partition(":")[0]

    def accepts(self, spec: str) -> bool:
        """Whether ``spec`` names this sink, with a value exactly where the usage has one."""
        word, colon, value = spec.partition(":")
        if word != self.word:
            return False
        if self.usage == self.word:
            # ``null:FILE`` is an error: whoever writes it expects a file.
            return not colon
        return bool(value) or "[" in self.usage


WIDELY_ACCEPTED_SIZE = (640, 480)
"""Pixels (width, height). Every program that shows cameras accepts this size."""


def _virtual_camera(device: str, _context: SinkContext) -> Sink:
    from mimicam.engine.sinks.virtual_camera import VirtualCameraSink

    return VirtualCameraSink(device or None)


def _window(_value: str, context: SinkContext) -> Sink:
    from mimicam.engine.sinks.window import WindowSink

    return WindowSink(on_key=context.on_key, figures=context.figures, banner=context.banner)


def _file(path: str, context: SinkContext) -> Sink:
    from mimicam.engine.sinks.file import FileSink

    return FileSink(Path(path), marks=context.marks)


def _null(_value: str, _context: SinkContext) -> Sink:
    from mimicam.engine.sinks.null import NullSink

    return NullSink()


SINKS = (
    SinkKind(usage="virtual-camera[:DEVICE]", open=_virtual_camera, size=WIDELY_ACCEPTED_SIZE),
    SinkKind(usage="window", open=_window),
    SinkKind(usage="file:PATH", open=_file, writes_file=True),
    SinkKind(usage="null", open=_null),
)
"""In the order in which help and errors list them. `engine.web.sink_kind` has one more, which needs
the studio."""


def usages(kinds: Sequence[SinkKind]) -> str:
    """The choices, for help and errors."""
    return ", ".join(kind.usage for kind in kinds)


def find_kind(spec: str, kinds: Sequence[SinkKind]) -> SinkKind:
    """The kind that ``spec`` names.

    Raises:
        EngineError: there is none, or its value is missing.
    """
    for kind in kinds:
        if kind.accepts(spec):
            return kind
    raise EngineError(f"there is no sink {spec!r}; choose {usages(kinds)}")


def open_sinks(specs: Sequence[str], kinds: Sequence[SinkKind], context: SinkContext) -> list[Sink]:
    """Open the sinks that the user asked for, in order.

    Raises:
        EngineError: an unknown one, twice the same, or one that cannot work here.
    """
    if not specs or len(set(specs)) != len(specs):
        raise EngineError(f"--sink takes one or more different sinks: {usages(kinds)}")
    # By file, not by name: two paths may lead to one file.
    for first, second in combinations(output_files(specs, kinds), 2):
        if is_same(first, second):
            raise EngineError(
                f"--sink file:{first} and file:{second} are one file: give them different names"
            )
    return [find_kind(spec, kinds).open(spec.partition(":")[2], context) for spec in specs]


def output_files(specs: Sequence[str], kinds: Sequence[SinkKind]) -> list[Path]:
    """Files that the sinks will write.

    Raises:
        EngineError: a spec names no sink.
    """
    return [Path(spec.partition(":")[2]) for spec in specs if find_kind(spec, kinds).writes_file]


def preferred_size(specs: Sequence[str], kinds: Sequence[SinkKind]) -> tuple[int, int] | None:
    """The size that the first sink with a preference wants; None where none has one.

    Raises:
        EngineError: a spec names no sink.
    """
    sizes = (find_kind(spec, kinds).size for spec in specs)
    return next((size for size in sizes if size is not None), None)
