"""The Python examples of README.md and of the package's docstring are executed."""

from __future__ import annotations

import re
import shutil
import textwrap
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mimicam
from mimicam.engine.assets_manifest import demo_clip, portrait_path
from mimicam.engine.sources.video import VideoFile
from tests.videos import write_video

ROOT = Path(__file__).parents[1]
FRAMES = 6


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the examples read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    portrait = portrait_path(Path("astronaut"))
    shutil.copy(portrait, tmp_path / "me.jpg")
    (tmp_path / "photos").mkdir()
    shutil.copy(portrait, tmp_path / "photos" / "a.jpg")
    pictures = [timed.image for timed in islice(VideoFile(demo_clip()), FRAMES)]
    for name in ("talk.mp4", "driver.mp4"):
        write_video(tmp_path / name, pictures, fps=25)
    return tmp_path


def frames_of(path: Path) -> int:
    return sum(1 for _ in VideoFile(path))


def test_the_examples_of_the_readme_run(folder: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        (folder / "out.mp4").unlink(missing_ok=True)
        exec(compile(block, "README.md", "exec"), names)
        assert frames_of(folder / "out.mp4") == FRAMES


def test_the_examples_of_the_package_run(folder: Path) -> None:
    blocks = re.findall(r"::\n\n((?:    .*\n|\n)+)", mimicam.__doc__ or "")
    assert len(blocks) == 6
    names: dict[str, Any] = {"time": time, "frames": [np.zeros((48, 64, 3), np.uint8)]}
    for block in blocks:
        exec(compile(textwrap.dedent(block), "mimicam", "exec"), names)
    assert names["result"].shape == (480, 640, 3)
    assert frames_of(folder / "out.mp4") == FRAMES
