"""The page's scripts: every import exists, none is unused, and lines are short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mimicam.engine.web.protocol import STATIC

_IMPORT = re.compile(r"^(?:import|export)\b[^;]*? from '\./([\w.]+)';", re.M)
_ENTRY = re.compile(r'<script type="module" src="/static/([\w.]+)"')
SCRIPTS = sorted(STATIC.glob("*.js"))


def test_every_script_is_reached_from_a_page() -> None:
    waiting = [name for page in STATIC.glob("*.html") for name in _ENTRY.findall(page.read_text("utf-8"))]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += _IMPORT.findall((STATIC / name).read_text("utf-8"))
    assert reached == {path.name for path in SCRIPTS}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_short_and_so_are_its_lines(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= 400
    assert [number for number, line in enumerate(lines, start=1) if len(line) > 100] == []
