"""What ``--sink`` accepts, from the registry's rows alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.sinks.null import NullSink
from mimicam.engine.sinks.registry import (
    SINKS,
    SinkContext,
    SinkKind,
    find_kind,
    open_sinks,
    output_files,
    preferred_size,
    usages,
)

CONTEXT = SinkContext(on_key=lambda _: None, figures=list)


class NamedSink(NullSink):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


TOY = SinkKind(usage="toy[:NAME]", open=lambda value, _: NamedSink(value or "unnamed"), size=(320, 240))
KINDS = (*SINKS, TOY)


def test_a_new_row_is_opened_with_its_value() -> None:
    opened = open_sinks(["toy", "toy:red", "null"], KINDS, CONTEXT)
    assert [sink.name for sink in opened] == ["unnamed", "red", "null"]


@pytest.mark.parametrize("spec", ["toyland", "window:x", "null:", "file", "file:", ""])
def test_other_words_and_missing_values_are_refused(spec: str) -> None:
    with pytest.raises(EngineError, match=r"there is no sink .*; choose virtual-camera.*toy\[:NAME\]"):
        find_kind(spec, KINDS)


def test_only_a_file_sink_names_an_output_file() -> None:
    specs = ["window", "file:a:b.mp4", "toy:c.mp4"]
    assert output_files(specs, KINDS) == [Path("a:b.mp4")]


def test_the_first_sink_with_a_size_decides_it() -> None:
    assert preferred_size(["null", "window"], KINDS) is None
    assert preferred_size(["null", "toy", "virtual-camera"], KINDS) == (320, 240)
    assert preferred_size(["virtual-camera:/dev/video9", "toy"], KINDS) == (640, 480)


def test_usages_list_every_row_once() -> None:
    assert usages(KINDS) == "virtual-camera[:DEVICE], window, file:PATH, null, toy[:NAME]"
    words = [kind.word for kind in KINDS]
    assert len(set(words)) == len(words)
