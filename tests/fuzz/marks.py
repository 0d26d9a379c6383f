"""Marks of results: they are read, absent, or the file is refused in one line."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from mimicam.engine.errors import EngineError
from mimicam.engine.verify import read_marks
from tests.fuzz.mutate import changed_bytes, check_line, seeds

Example = tuple[str, bytes]
"""Suffix of a seed, and its changed content."""


def changed_results() -> st.SearchStrategy[Example]:
    """Return suffixes and contents of changed results."""
    files = [(path.suffix, path.read_bytes()) for path in seeds("marks")]
    return st.sampled_from(files).flatmap(lambda file: st.tuples(st.just(file[0]), changed_bytes(file[1])))


def check_marks(folder: Path, example: Example) -> None:
    """Read the marks of a changed result."""
    suffix, content = example
    path = folder / f"result{suffix}"
    path.write_bytes(content)
    try:
        marks = read_marks(path)
    except EngineError as error:
        check_line(error)
        return
    if marks is not None:
        assert all(len(one) == 64 for one in (marks.source, marks.model, *marks.drivers) if one)
        assert (marks.note + marks.tool + marks.source_type).isprintable()
