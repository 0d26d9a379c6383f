"""A person that moves over a background that stays still."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.still_background import split
from mimicam.engine.stages.warp_composite import WarpComposite
from mimicam.engine.types import CropBox, Float, Image, WarpFields

S = 64
BOX = CropBox(x_px=100.0, y_px=60.0, size_px=240.0)
SKIN = (190, 140, 110)


def _tiles() -> Image:
    y, x = np.mgrid[:360, :440]
    wall = np.full((360, 440, 3), (200, 195, 180), np.uint8)
    wall[((x // 24 + y // 24) % 2) == 1] = (140, 160, 190)
    return cv2.GaussianBlur(wall, (0, 0), 1.0)


def _matte() -> Float:
    """Return a head above shoulders, ``[360, 440]``, with a soft edge."""
    person = np.zeros((360, 440), np.float32)
    cv2.ellipse(person, (220, 170), (50, 70), 0, 0, 360, 1.0, -1)
    cv2.ellipse(person, (220, 360), (120, 110), 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(person, (0, 0), 1.5)


def _portrait() -> Image:
    opacity = _matte()[..., None]
    return (opacity * np.array(SKIN) + (1 - opacity) * _tiles()).round().astype(np.uint8)


def _fields(flow: tuple[float, float], *, visibility: float = 1.0) -> WarpFields:
    """Return a motion of the whole crop, and white inpainting."""
    return WarpFields(
        inpaint=np.full((S, S, 3), 255, np.uint8),
        visibility=np.full((S, S), visibility, np.float32),
        flow=np.broadcast_to(np.array(flow, np.float32), (S // 2, S // 2, 2)).copy(),
    )


def _composite(size: tuple[int, int], *, matte: bool = True) -> WarpComposite:
    opacity = _matte() if matte else None
    return WarpComposite(Composite(_portrait(), BOX, size, matte=lambda: opacity).texture(S), S)


def _beside(picture: Image) -> Image:
    """Cut the wall at the crop's upper left, which the person never reaches."""
    height, width = picture.shape[:2]
    left = (width - height) // 2
    return picture[height // 20 : height // 3, left + height // 20 : left + height // 5]


def _shift_px(a: Image, b: Image) -> float:
    one, other = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (a, b))
    return float(np.hypot(*cv2.phaseCorrelate(one, other)[0]))


@pytest.mark.parametrize("size", [(240, 240), (320, 240), (641, 480)], ids=str)
def test_tiles_stay_where_they_are_behind_a_moving_head(size: tuple[int, int]) -> None:
    moved = _fields((6 / 120, 4 / 120))
    rest = _beside(_composite(size)(_fields((0.0, 0.0))))
    swims = _beside(_composite(size, matte=False)(moved))
    assert _shift_px(rest, swims) > 3.0, "the measure sees today's motion"
    still = _beside(_composite(size)(moved))
    assert _shift_px(rest, still) < 0.01
    assert (still == rest).all()


def test_where_the_head_was_the_wall_shows_and_where_it_goes_the_head() -> None:
    composite = _composite((240, 240))
    out = composite(_fields((0.5, 0.0))).astype(int)  # the head goes left by 60 of 240 pixels
    assert np.abs(out[110, 60] - SKIN).max() <= 2, "the head's middle, 220 - 100 - 60"
    was = out[90:130, 140:160].reshape(-1, 3)
    assert (np.abs(was - SKIN).max(axis=1) > 20).all(), "no skin is left behind"
    assert was.min() > 120, "colours of the wall"
    assert was.max() < 215, "not the inpainting's"


def test_inpainting_covers_the_person_alone() -> None:
    composite = _composite((240, 240))
    out = composite(_fields((0.0, 0.0), visibility=0.0))
    assert (out[110, 110:130] == 255).all()
    assert (_beside(out) == _beside(composite(_fields((0.0, 0.0))))).all()


def test_at_rest_nothing_changes() -> None:
    with_matte, without = (_composite((320, 240), matte=m)(_fields((0.0, 0.0))) for m in (True, False))
    assert (with_matte == without).all()


@pytest.mark.parametrize("seed", range(3))
def test_person_over_background_is_the_picture_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (60, 80, 3), np.uint8)
    matte = cv2.resize(rng.integers(0, 256, (5, 6), np.uint8), (80, 60))
    matte[:20] = 0
    same, person, background = split(picture, matte, top=0, side=60)
    hidden = cv2.cvtColor(255 - person[..., 3], cv2.COLOR_GRAY2RGB)
    again = cv2.add(person[..., :3], cv2.multiply(background, hidden, scale=1 / 255))
    assert (same == picture).all()
    assert (again == picture).all()
    assert (background[:8] == picture[:8]).all(), "the known background"


def test_a_head_that_the_picture_cuts_off_ends_in_a_cap() -> None:
    picture, matte = np.full((120, 160, 3), 230, np.uint8), np.zeros((120, 160), np.uint8)
    picture[:, 50:110], matte[:, 50:110] = 30, 255  # to the top, and on above it: 40 rows
    shown, person, background = split(picture, matte, top=40, side=120)
    opacity = person[..., 3]
    assert opacity[0].max() == 0
    assert (opacity[38, 75:85] == 255).all()
    assert (np.diff((opacity[:40] > 127).sum(axis=1).astype(int)) >= 0).all(), "wider towards the picture"
    assert shown[2, 80].min() > 200, "no streak above the cap"
    assert (shown[40:] == picture[40:]).all()
    assert background[60, 80].min() > 200, "and none behind the head"


@pytest.mark.parametrize("cut", [0.1, 0.3, 0.5])
def test_a_cap_continues_a_round_head(cut: float) -> None:
    """Up to a share of the radius is missing above the picture's top."""
    radius, top, (height, width) = 50, 40, (200, 160)
    y, x = np.mgrid[:height, :width]
    centre = top + radius * (1 - cut)
    head = np.where(np.hypot(x - 80, y - centre) < radius, 255, 0).astype(np.uint8)
    seen = head.copy()
    seen[:top] = head[top]  # a portrait's edge continues
    picture = np.where(head[..., None] > 0, 30, 230).astype(np.uint8).repeat(3, axis=2)
    capped = split(picture, seen, top=top, side=160)[1][..., 3] > 127
    found, whole = np.argmax(capped[:, 80]), np.argmax(head[:, 80] > 0)
    assert found == pytest.approx(whole, abs=4), "its crown"
    assert np.abs(capped.sum(axis=1)[top - 3 : top] - (head > 0).sum(axis=1)[top - 3 : top]).max() <= 12


def test_a_cap_has_the_hair_s_own_texture_and_no_bleed_beside_it() -> None:
    picture, matte = np.full((120, 160, 3), 230, np.uint8), np.zeros((120, 160), np.uint8)
    matte[:, 50:110] = 255
    picture[40:, 50:110] = np.where(np.arange(60) % 20 < 10, 20, 60)[None, :, None]  # strands
    picture[:40, 45:115] = 120  # a blurred edge, wider than the head
    shown, _, _ = split(picture, matte, top=40, side=120)
    assert (shown[36:40, 75:85] == shown[40, 75:85]).all()
    assert shown[30, 47].min() > 215, "the wall beside the cap"


def test_what_is_made_up_has_no_seam() -> None:
    """A wall that grows brighter to the right stays one behind a person."""
    picture = np.broadcast_to(np.linspace(40, 220, 160).astype(np.uint8)[None, :, None], (120, 160, 3)).copy()
    matte = np.zeros((120, 160), np.uint8)
    matte[30:, 50:110] = 255
    picture[30:, 50:110] = 0
    row = split(picture, matte, top=0, side=120)[2][80, :, 0].astype(int)
    assert np.diff(row).min() >= -6, "it turns back no further than its ends are blended"
    assert np.diff(row).max() <= 6, "and has no step"


def test_a_person_without_background_is_no_error() -> None:
    picture = np.full((20, 30, 3), 90, np.uint8)
    for value in (0, 255):
        same, person, _ = split(picture, np.full((20, 30), value, np.uint8), top=0, side=20)
        assert (same == picture).all()
        assert (person[..., 3] == value).all()
