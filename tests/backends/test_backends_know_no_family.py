"""A backend runs named networks; what they are networks of, it cannot tell."""

from pathlib import Path

import pytest

import mimicam.engine.backends

FILES = sorted(Path(mimicam.engine.backends.__file__).parent.rglob("*.py"))
FAMILIES = ("compact", "dpe", "daegan", "dae-gan")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_backend_names_a_model_family(path: Path) -> None:
    text = path.read_text(encoding="utf-8").lower()
    assert [family for family in FAMILIES if family in text] == []


def test_backends_stay_small() -> None:
    assert len(FILES) <= 15
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES) <= 2500
