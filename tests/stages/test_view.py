"""What of a portrait a result shows."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.view import ShowView, View, choose_view, seen_size
from mimicam.engine.types import CropBox, Image

CUT = CropBox(x_px=300.0, y_px=-55.0, size_px=470.0)
"""Crop of a head that the upper and the lower edge of a 1000 x 360 picture cut off."""
SIZES = [(512, 512), (640, 480), (1280, 720), (480, 640), (321, 243)]


def _shown(view: View, box: CropBox) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what a view shows, picture pixels."""
    scale = box.size_px / view.side
    width, height = view.canvas
    left = box.x_px + scale * (view.left - (width - view.side) // 2)
    top = box.y_px + scale * (view.top - (height - view.side) // 2)
    return left, top, left + scale * view.size[0], top + scale * view.size[1]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_crop_inside_a_large_picture_is_shown_in_the_middle(size: tuple[int, int]) -> None:
    view = choose_view((2000, 2000), CropBox(x_px=900.0, y_px=900.0, size_px=200.0), size)
    assert view == View(canvas=size, side=min(size), left=0, top=0, size=size)
    assert view.whole


@pytest.mark.parametrize("size", [(512, 512), (640, 480), (1280, 720)], ids=str)
def test_a_head_that_the_edges_cut_off_is_shown_without_what_is_beyond(size: tuple[int, int]) -> None:
    view = choose_view((1000, 360), CUT, size)
    left, top, right, bottom = _shown(view, CUT)
    pixel = CUT.size_px / view.side
    assert (top, bottom) == (pytest.approx(0, abs=pixel), pytest.approx(360, abs=2 * pixel))
    assert left >= 0
    assert right <= 1000


def test_the_view_moves_into_the_picture() -> None:
    # The picture goes on below and to the right, so nothing is lost by moving there.
    view = choose_view((2000, 2000), CropBox(x_px=-20.0, y_px=-40.0, size_px=400.0), (640, 480))
    left, top, right, bottom = _shown(view, CropBox(x_px=-20.0, y_px=-40.0, size_px=400.0))
    assert (left, top) == (pytest.approx(0, abs=1), pytest.approx(0, abs=1))
    assert (right - left, bottom - top) == (pytest.approx(533, abs=1), pytest.approx(400, abs=1))


def test_what_the_picture_does_not_have_is_not_gained_by_cutting_faces() -> None:
    # A tall result of a wide picture: the whole crop is seen already, so the view stays as large.
    view = choose_view((360, 360), CropBox(x_px=0.0, y_px=0.0, size_px=360.0), (360, 640))
    assert view == View(canvas=(360, 640), side=360, left=0, top=0, size=(360, 640))
    # Hardly anything of this crop is in the picture: the face stays in the view all the same.
    narrow = CropBox(x_px=-300.0, y_px=0.0, size_px=400.0)
    left, top, right, bottom = _shown(choose_view((100, 400), narrow, (400, 400)), narrow)
    assert min(right - left, bottom - top) == pytest.approx(0.7 * 400, abs=1)
    assert seen_size((100, 400), narrow) == (0.7 * 400, 400)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_view_is_a_part_of_its_canvas(size: tuple[int, int]) -> None:
    for x, y, side, picture in product(
        (-90.0, 3.3, 150.0), (-60.0, 0.0, 170.7), (60.0, 251.3), ((300, 200), (200, 301))
    ):
        view = choose_view(picture, CropBox(x_px=x, y_px=y, size_px=side), size)
        assert view.size == size
        for start, n, whole in zip((view.left, view.top), view.size, view.canvas, strict=True):
            assert 0 <= start <= start + n <= whole
            assert view.side <= whole, "the canvas has the whole crop"
        assert view.side <= Fraction(10, 7) * min(size) + 1


def test_the_view_shows_the_picture_itself_to_its_edges() -> None:
    picture: Image = np.zeros((360, 1000, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 255, 360, dtype=np.uint8)[:, None]
    picture[..., 1] = np.linspace(0, 255, 1000, dtype=np.uint8)[None]
    view = choose_view((1000, 360), CUT, (470, 360))
    canvas = Composite(picture, CUT, view.canvas, side=view.side).texture(64).canvas
    shown = ShowView(lambda content: content, view)(canvas)
    assert (shown == picture[:, 300:770]).all()
    assert shown.flags.c_contiguous


def test_results_share_no_memory() -> None:
    view = choose_view((1000, 360), CUT, (64, 64))
    canvas = np.zeros((view.canvas[1], view.canvas[0], 3), np.uint8)
    show = ShowView(lambda content: content, view)
    first = show(canvas)
    canvas[:] = 9
    second = show(canvas)
    assert not first.any()
    assert (second == 9).all()
    assert not np.shares_memory(first, second)
