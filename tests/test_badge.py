"""Visible badges: where they are, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest

from mimicam.engine.badge import Badge, Corner, corner_badge
from mimicam.engine.errors import EngineError
from tests.videos import grey

CORNERS = [corner for corner in get_args(Corner) if corner != "off"]


@pytest.fixture
def icon(tmp_path: Path) -> Path:
    """A red disc on a transparent ground."""
    picture = np.zeros((64, 64, 4), np.uint8)
    cv2.circle(picture, (32, 32), 30, (0, 0, 255, 255), -1)
    cv2.imwrite(str(tmp_path / "icon.png"), picture)
    return tmp_path / "icon.png"


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("size", [(640, 360), (201, 355)])
def test_a_badge_changes_its_corner_alone(corner: Corner, size: tuple[int, int], icon: Path) -> None:
    for picture in (None, icon):
        image = grey(120, size)
        badge = corner_badge(corner, picture)
        assert badge is not None
        badge(image)
        rows, columns = badge.window(image)
        assert (image[rows, columns] != 120).any()
        image[rows, columns] = 120
        assert (image == 120).all()
        assert (rows.start < size[1] // 2) == corner.startswith("top")
        assert (columns.start < size[0] // 2) == corner.endswith("left")


def test_a_picture_has_its_colour_and_its_transparency(icon: Path) -> None:
    image = grey(120, (640, 360))
    badge = corner_badge("top-left", icon)
    assert badge is not None
    badge(image)
    shown = image[badge.window(image)]
    middle = len(shown) // 2
    assert shown[middle, middle].tolist() == [255, 0, 0]
    assert shown[0, 0].tolist() == [120, 120, 120], "transparent corners show the result"
    assert len(shown) == 36, "a tenth of the shorter side"


def test_a_wide_picture_stays_inside(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.full((8, 400), 255, np.uint8))
    image = grey(0, (64, 300))
    badge = corner_badge("bottom-right", tmp_path / "wide.png")
    assert badge is not None
    badge(image)
    _, columns = badge.window(image)
    assert columns.start >= 0


def test_off_draws_nothing() -> None:
    image = grey(120)
    Badge()(image, "off")
    assert (image == 120).all()
    assert corner_badge("off") is None


def test_one_badge_fits_itself_to_each_size() -> None:
    badge = Badge()
    heights = []
    for size in ((320, 240), (1280, 960)):
        rows, _ = badge.window(grey(0, size), "top-left")
        heights.append(rows.stop - rows.start)
    assert heights[1] > 2 * heights[0]


@pytest.mark.parametrize("content", [None, b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_bad_picture_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "icon.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError, match=r"icon\.png .*: give a PNG or WebP"):
        corner_badge("top-left", path)


def test_a_picture_without_a_corner_is_refused(icon: Path) -> None:
    with pytest.raises(EngineError, match="needs a corner"):
        corner_badge("off", icon)
