"""Make the parts of a session from options; shared by several commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from mimicam.engine.assets_manifest import bundled_portraits, portrait_path
from mimicam.engine.concurrency.clock import Clock
from mimicam.engine.concurrency.mailbox import Drops
from mimicam.engine.editing.channels import parse_assignments
from mimicam.engine.errors import EngineError
from mimicam.engine.files import hash_of_input
from mimicam.engine.gallery import Gallery
from mimicam.engine.models.base import Model
from mimicam.engine.models.load import load_model
from mimicam.engine.portrait import Portrait, load_portrait, read_picture
from mimicam.engine.presets.library import find_preset, load_presets
from mimicam.engine.presets.mix import PresetMixer
from mimicam.engine.provenance import ANIMATED, EDITED, Provenance
from mimicam.engine.report import Report
from mimicam.engine.sinks import Sink
from mimicam.engine.sinks.registry import (
    WIDELY_ACCEPTED_SIZE,
    SinkContext,
    open_sinks,
    output_files,
    preferred_size,
)
from mimicam.engine.sources import Source
from mimicam.engine.sources import registry as sources
from mimicam.engine.web.sink_kind import ALL_SINKS

OWN_FACE = "camera"
"""Value of ``--portrait`` that shows the camera's own picture."""
OWN_FACE_BANNER = "your own picture is shown"
OWN_SIDE = 512
"""Side of a result in a window or a file, pixels, where no size was asked for."""
_SIDE_MIN, _SIDE_MAX = 64, 4096
_FPS_MAX = 240.0


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Parse ``WxH`` in pixels.

    Raises:
        EngineError: the text is something else, or the size is not supported.
    """
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise EngineError(f"--size must be WxH in pixels, for example 640x480, not {text!r}")
    size = int(width), int(height)
    if not all(_SIDE_MIN <= side <= _SIDE_MAX and side % 2 == 0 for side in size):
        raise EngineError(f"--size must be even and {_SIDE_MIN} to {_SIDE_MAX} pixels a side, not {text}")
    return size


def check_rates(fps: float | None, seconds: float | None) -> None:
    """Check that both are positive, if given.

    Raises:
        EngineError: one is not, or is too large.
    """
    if fps is not None and not 0 < fps <= _FPS_MAX:
        raise EngineError(f"--fps must lie between 0 and {_FPS_MAX:g}, not {fps:g}")
    if seconds is not None and not seconds > 0:
        raise EngineError(f"--seconds must be positive, not {seconds:g}")


def open_source(spec: str, *, clock: Clock, drops: Drops, fps: float | None, loop: bool = False) -> Source:
    """Open one of `engine.sources.registry.SOURCES`.

    Raises:
        EngineError: it cannot be opened.
    """
    context = sources.SourceContext(clock=clock, drops=drops, fps=fps, loop=loop, read_picture=read_picture)
    return sources.open_source(spec, context)


def make_sinks(
    specs: Sequence[str],
    *,
    on_key: Callable[[str], None],
    figures: Callable[[], list[str]],
    banner: str = "",
    marks: Callable[[], Provenance],
) -> list[Sink]:
    """Open some of `engine.web.sink_kind.ALL_SINKS`.

    Raises:
        EngineError: a sink is unknown, given twice, or cannot work here.
    """
    context = SinkContext(on_key=on_key, figures=figures, banner=banner, marks=marks)
    return open_sinks(specs, ALL_SINKS, context)


def recording_marks(source: str, model: Model, portrait: Portrait | None) -> Provenance:
    """Return the marks of a recording. A file that drives is hashed; a camera is named as live.

    Args:
        source: option's text.
        model: loaded.
        portrait: shown at the start; None where the driver's own picture is edited.

    Raises:
        EngineError: the file cannot be read.
    """
    kind = sources.find_kind(source)
    driving = hash_of_input(Path(source)) if kind.reads_file else ""
    if portrait is None:
        return replace(EDITED, source=driving, model=model.sha256, live="source" if kind.live else "")
    return replace(
        ANIMATED,
        source=portrait.source_sha256,
        drivers=(driving,) if driving else (),
        model=model.sha256,
        live="driver" if kind.live else "",
    )


def file_outputs(specs: Sequence[str]) -> list[Path]:
    """List the files that the sinks write."""
    return output_files(specs, ALL_SINKS)


def inputs_of(source: str, portraits: Sequence[Path], model: str) -> list[Path]:
    """List the files and folders that a session reads, as far as these options name them."""
    given = [
        Path(source),
        Path(model),
        *(map(portrait_path, portraits) if portraits else bundled_portraits()),
    ]
    return [path for path in given if path.exists()]


def tell_lost(reason: str) -> None:
    """Print at once that a sink broke: the report comes only at the end."""
    print(f"error: {reason} (the other sinks go on)", file=sys.stderr, flush=True)


def tell_slow(names: str) -> None:
    """Print at once that sinks still write at the end, because the user is waiting."""
    print(f"{names} still writes; Ctrl-C gives it up", file=sys.stderr, flush=True)


def exit_code(report: Report) -> int:
    """Return 0, or 130 after Ctrl-C, if every sink received all that it should; otherwise 1."""
    if report.lost or report.stuck:
        return 1
    return 130 if report.interrupted else 0


def is_own_face(portraits: Sequence[Path]) -> bool:
    """Return whether ``--portrait`` asks for the camera's own picture. A file of that name comes
    first.

    Raises:
        EngineError: other portraits are named too.
    """
    asked = [path for path in portraits if str(path) == OWN_FACE and not path.exists()]
    if asked and len(portraits) > 1:
        raise EngineError(
            f"--portrait {OWN_FACE} shows your own picture and takes no other portrait beside it"
        )
    return bool(asked)


def own_face_size(size: tuple[int, int] | None, sinks: Sequence[str]) -> tuple[int, int]:
    """Choose the result's size where the camera's own picture is shown."""
    return size or preferred_size(sinks, ALL_SINKS) or WIDELY_ACCEPTED_SIZE


def result_size(size: tuple[int, int] | None, sinks: Sequence[str], model: Model) -> tuple[int, int] | None:
    """Choose the result's size: the given one, or one that fits the sinks. None is the model's own.

    A tracker-driven model has no size of its own: it draws at any size.
    """
    if size is not None:
        return size
    preferred = preferred_size(sinks, ALL_SINKS)
    if preferred is not None:
        return preferred
    return None if model.native_size else (OWN_SIDE, OWN_SIDE)


def load_all(model: str, backend: str, portraits: Sequence[Path]) -> tuple[Model, list[Portrait]]:
    """Load the model, and enroll the portraits (files, folders, or names of bundled ones) with it.

    Raises:
        EngineError: one of them cannot be used.
    """
    loaded = load_model(model, backend)
    enrolled = [load_portrait(portrait_path(path), model=loaded) for path in portraits]
    for portrait in enrolled:
        print_notes(portrait)
    return loaded, enrolled


def load_gallery(model: str, backend: str, portraits: Sequence[Path]) -> tuple[Model, Gallery]:
    """Load the model and the gallery: the given portraits, otherwise the bundled ones.

    Given portraits are all enrolled here, so that mistakes show at the start. Of the bundled ones
    only the first is.

    Raises:
        EngineError: one of them cannot be used.
    """
    if portraits:
        loaded, enrolled = load_all(model, backend, portraits)
        return loaded, Gallery(enrolled)
    first, *others = bundled_portraits()
    loaded, enrolled = load_all(model, backend, [first])
    own_copy = cache(partial(load_model, model, backend))  # a model serves one thread
    later = [lambda path=path: load_portrait(path, model=own_copy()) for path in others]
    return loaded, Gallery(enrolled, later, on_error=tell_not_shown)


def parse_presets(words: Sequence[str]) -> dict[str, float]:
    """Parse presets to start with, such as ``smile=0.4``.

    Raises:
        EngineError: a word has another form, or there is no such preset.
    """
    amounts = parse_assignments(words)
    for name in amounts:
        find_preset(name)
    return amounts


def make_presets(amounts: Mapping[str, float], model: Model, *, own_face: bool = False) -> PresetMixer:
    """Offer the library's presets to a model that takes them, and start some.

    Args:
        amounts: those that start.
        model: loaded.
        own_face: also offer presets that turn the driver's own eyes.

    Raises:
        EngineError: one shall start that cannot be used here.
    """
    if amounts and not model.has_blendshapes:
        raise EngineError(
            f"{model.name} takes no expression presets: leave --preset out, or use --model compact"
        )
    known = load_presets(tell_note) if model.has_blendshapes else ()
    mixer = PresetMixer(preset for preset in known if own_face or not preset.eye_contact)
    if needing := [name for name in amounts if name not in mixer.presets]:
        raise EngineError(f"{needing[0]} turns your own eyes: use it with --portrait {OWN_FACE}")
    for name, amount in amounts.items():
        mixer.set(name, amount)
    return mixer


def tell_note(reason: str) -> None:
    """Print at once what cannot be used, while all else goes on."""
    print(f"note: {reason}", file=sys.stderr, flush=True)


def print_notes(portrait: Portrait) -> None:
    """Print what a person should know of a portrait: it was turned, is a profile, is cropped
    tightly."""
    for note in portrait.notes:
        print(f"note: {note}", file=sys.stderr, flush=True)


def tell_not_shown(reason: str) -> None:
    """Print at once that a portrait cannot be used."""
    print(f"error: {reason} (the portrait in use stays)", file=sys.stderr, flush=True)
