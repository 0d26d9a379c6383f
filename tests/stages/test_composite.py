"""Canvas around the generated face."""

import numpy as np
import pytest

from mimicam.engine.stages.composite import Composite
from mimicam.engine.types import CropBox, Image

PICTURE = np.zeros((200, 200, 3), np.uint8)
PICTURE[..., 1] = np.arange(200, dtype=np.uint8)[None]  # green grows to the right
PICTURE[..., 2] = np.arange(200, dtype=np.uint8)[:, None]  # blue grows downwards
BOX = CropBox(x_px=50.0, y_px=40.0, size_px=100.0)


def _face(colour: tuple[int, int, int], side: int = 64) -> Image:
    return np.broadcast_to(np.array(colour, np.uint8), (side, side, 3)).copy()


@pytest.mark.parametrize(
    "size", [(640, 480), (480, 640), (1280, 720), (64, 64), (321, 243), (16, 9)], ids=str
)
def test_every_canvas_has_the_size_asked_for(size: tuple[int, int]) -> None:
    out = Composite(PICTURE, BOX, size)(_face((255, 0, 0)))
    assert out.shape == (size[1], size[0], 3)
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous


def test_without_a_size_the_crop_comes_as_it_is() -> None:
    face = _face((1, 2, 3))
    assert (Composite(PICTURE, BOX, None)(face) == face).all()


def test_the_canvas_shows_the_face_between_the_portraits_sides() -> None:
    out = Composite(PICTURE, BOX, (320, 240))(_face((255, 0, 0)))
    assert (out[120, 160] == [255, 0, 0]).all()
    assert (out[40:200, 60:260, 0] == 255).all()
    assert not out[:, :40, 0].any(), "no face beside its square"
    # Canvas column 10 is (10.5 - 40) * 100 / 240 pixels left of the box.
    assert out[120, 10, 1] == pytest.approx(50 + (10.5 - 40) * 100 / 240 - 0.5, abs=1)
    assert out[120, 10, 2] == pytest.approx(40 + 120.5 * 100 / 240 - 0.5, abs=1)


def test_the_faces_border_is_soft() -> None:
    out = Composite(PICTURE, BOX, (320, 240))(_face((255, 0, 0)))
    ramp = out[120, 40:60, 0].astype(int)
    assert (np.diff(ramp) >= 0).all()
    assert ramp[0] < 30
    assert np.diff(ramp).max() < 60, "a seam would be seen"


def test_the_unchanged_crop_leaves_no_seam() -> None:
    composite = Composite(PICTURE, BOX, (256, 256))
    face = composite._under  # what the picture shows inside the box, at the canvas's scale
    out = composite(face.copy())
    assert np.abs(out.astype(int) - face).max() <= 1


def test_beyond_the_picture_its_edge_runs_on() -> None:
    edge = CropBox(x_px=0.0, y_px=0.0, size_px=200.0)
    out = Composite(PICTURE, edge, (800, 200))(_face((255, 0, 0)))
    assert out[100, 5, 1] == pytest.approx(0, abs=12)
    assert out[100, -5, 1] == pytest.approx(199, abs=12)


def test_results_share_no_memory() -> None:
    for size in (None, (96, 64)):
        composite = Composite(PICTURE, BOX, size)
        face = _face((255, 0, 0))
        first = composite(face)
        kept = first.copy()
        face[:] = 7  # the generator uses its buffer again
        second = composite(face)
        second[:] = 99
        third = composite(_face((255, 0, 0)))
        assert (first == kept).all()
        assert (third == kept).all()
        assert not np.shares_memory(first, third)


def test_a_released_canvas_is_reused() -> None:
    for size in (None, (96, 64)):
        composite = Composite(PICTURE, BOX, size)
        addresses = {composite(_face((1, 2, 3))).ctypes.data for _ in range(50)}
        assert len(addresses) <= 6, "a canvas was allocated for a frame"


def test_the_portraits_picture_is_not_written_to() -> None:
    before = PICTURE.copy()
    Composite(PICTURE, BOX, (320, 240))(_face((255, 0, 0)))[:] = 0
    assert (before == PICTURE).all()
