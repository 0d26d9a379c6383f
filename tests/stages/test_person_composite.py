"""Generated pictures of a person over the portrait's still background."""

import numpy as np
import pytest

from mimicam.engine.stages import person_composite
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.person_composite import PersonComposite, Steady, composite_person
from mimicam.engine.types import CropBox, Float, Image

S = 64
PICTURE = np.zeros((200, 300, 3), np.uint8)
PICTURE[..., 1] = 200  # a green wall
PICTURE[60:, 120:180] = (200, 0, 0)  # a red person
BOX = CropBox(x_px=100.0, y_px=50.0, size_px=100.0)
MATTE = (PICTURE[..., 0] > 0).astype(np.float32)
FACE = np.zeros((S, S, 3), np.uint8)
FACE[..., 2] = 255  # generated: a bent background in blue
FACE[16:, 20:44] = (255, 255, 0)  # and a person in yellow


class _Finder:
    """Takes what is yellow for the person."""

    def __call__(self, picture: Image) -> Float:
        return np.repeat(np.repeat((picture[..., 0] > 128).astype(np.float32), 4, 0), 4, 1)


@pytest.fixture(autouse=True)
def finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person_composite, "PersonFinder", _Finder)


def _composite(size: tuple[int, int] | None) -> PersonComposite:
    composite = composite_person(Composite(PICTURE, BOX, size, matte=lambda: MATTE), S)
    assert isinstance(composite, PersonComposite)
    return composite


@pytest.mark.parametrize("size", [None, (S, S), (128, 128), (256, 128), (128, 200)], ids=str)
def test_the_person_is_the_generated_one_and_the_background_the_portraits(
    size: tuple[int, int] | None,
) -> None:
    out = _composite(size)(FACE)
    width, height = size or (S, S)
    assert out.shape == (height, width, 3)
    side, middle = min(width, height), width // 2
    top = (height - side) // 2
    # The person's chest, in the middle of the crop.
    assert np.abs(out[top + side // 2, middle].astype(int) - (255, 255, 0)).max() <= 4
    # Right of it, in the crop: the wall, and nothing of the generated background.
    assert np.abs(out[top + side // 2, middle + int(0.35 * side)].astype(int) - (0, 200, 0)).max() <= 4
    assert (out[..., 2] > 4).mean() < 0.05, "only along the soft outline"


def test_what_the_person_hid_in_the_portrait_is_background() -> None:
    # Nobody is generated at all.
    out = _composite(None)(np.zeros((S, S, 3), np.uint8))
    assert np.abs(out.astype(int) - (0, 200, 0)).max() <= 40
    assert np.abs(out.astype(int) - (0, 200, 0)).mean() < 5


def test_the_border_is_soft_only_where_the_canvas_goes_on() -> None:
    out = _composite((256, 128))(np.full((S, S, 3), (255, 255, 0), np.uint8))
    rows = out[:, 128].astype(int)
    assert np.abs(rows - (255, 255, 0)).max() <= 4, "above and below, the canvas ends with the crop"
    ramp = out[64, 64:84, 0].astype(int)
    assert ramp[0] < 60
    assert (np.diff(ramp) >= -2).all()
    assert ramp[-1] > 250


def test_results_share_no_memory() -> None:
    composite = _composite((128, 128))
    first = composite(FACE)
    kept = first.copy()
    second = composite(np.zeros((S, S, 3), np.uint8))
    assert (first == kept).all()
    assert not np.shares_memory(first, second)


def test_without_a_matte_everything_moves() -> None:
    around = Composite(PICTURE, BOX, (128, 128))
    assert composite_person(around, S) is around


def test_outlines_do_not_shimmer_but_follow_a_moving_head() -> None:
    steady = Steady()
    still = [float(steady(np.full((2, 2), value, np.float32))[0, 0]) for value in (0.5, 0.6, 0.4, 0.6, 0.4)]
    assert max(still) - min(still) < 0.1
    assert steady(np.ones((2, 2), np.float32)).min() == 1.0, "a large change is taken at once"
