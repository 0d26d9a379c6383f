"""The pictures of the documentation, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.pictures import FADE_FRAMES, without_seam, write_moving
from tests.videos import grey

README = Path(__file__).parents[2] / "README.md"
MOVING = Path(__file__).parents[2] / "docs" / "mimicam.webp"


def _animation(data: bytes) -> tuple[int, list[int]]:
    """Repetitions (0: for ever) and durations of a WebP's frames, milliseconds."""
    repeats, durations, at = -1, [], 12
    while at < len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"ANIM":
            repeats = int.from_bytes(data[at + 12 : at + 14], "little")
        if kind == b"ANMF":
            durations.append(int.from_bytes(data[at + 20 : at + 23], "little"))
        at += 8 + size + size % 2
    return repeats, durations


def test_the_end_goes_over_into_the_beginning() -> None:
    levels = [int(image[0, 0, 0]) for image in without_seam([grey(10 * n) for n in range(24)])]
    assert len(levels) == 24 - FADE_FRAMES
    assert levels[0] == 10 * FADE_FRAMES, "it starts after what is faded into"
    assert abs(levels[-1] - levels[0]) < 50, "24 pictures of a ramp: 150 without the fade"


def test_a_moving_picture_repeats_for_ever(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_moving(tmp_path / "a.webp", [rng.integers(0, 255, (32, 48, 3), np.uint8) for _ in range(6)], 10)
    repeats, durations = _animation((tmp_path / "a.webp").read_bytes())
    assert repeats == 0
    assert durations == pytest.approx([100] * 6)


def test_the_readme_opens_with_a_small_moving_picture() -> None:
    assert (
        "(docs/mimicam.webp)" in README.read_text(encoding="utf-8").partition("\n\n")[2].partition("\n\n")[0]
    )
    repeats, durations = _animation(MOVING.read_bytes())
    assert repeats == 0
    assert 4000 <= sum(durations) <= 6000
    assert MOVING.stat().st_size < 3_000_000
