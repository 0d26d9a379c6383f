"""What ``--source`` accepts, from the registry's rows alone."""

from __future__ import annotations

import pytest

from mimicam.engine.concurrency.clock import MonotonicClock
from mimicam.engine.concurrency.mailbox import Drops
from mimicam.engine.sources.registry import SOURCES, SourceContext, open_source
from mimicam.engine.types import Image

NAMES = ("camera", "pattern", "path")


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("camera", "camera"), ("camera:2", "camera"), ("camera:USB Cam", "camera"), ("pattern", "pattern"),
        ("camera.mp4", "path"), ("cameras:1", "path"), ("pattern.png", "path"), ("clips/pattern", "path"),
    ],
)  # fmt: skip
def test_each_text_selects_one_kind(spec: str, name: str) -> None:
    first = next(kind for kind in SOURCES if kind.accepts(spec))
    assert NAMES[SOURCES.index(first)] == name


def _no_picture(_path: object) -> Image:
    raise AssertionError("a pattern reads no file")


@pytest.mark.parametrize(("asked", "given"), [(None, 30.0), (12.0, 12.0)])
def test_a_pattern_runs_at_30_or_as_asked(asked: float | None, given: float) -> None:
    context = SourceContext(
        clock=MonotonicClock(), drops=Drops(), fps=asked, loop=False, read_picture=_no_picture
    )
    assert open_source("pattern", context).fps == given
