"""Compositing of warp fields from the portrait's own pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.warp_composite import WarpComposite
from mimicam.engine.types import CropBox, Image, WarpFields

S = 64
SIZES = [None, (96, 72), (72, 96), (64, 64), (130, 67), (321, 243)]


def _picture() -> Image:
    """Return soft blobs, where a small sampling error makes a small difference."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 36, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(noise, (360, 300), interpolation=cv2.INTER_CUBIC))


PICTURE = _picture()
BOX = CropBox(x_px=90.0, y_px=80.0, size_px=140.0)


def _layers(*, mask: float = 1.0, paint: int = 255, flow: tuple[float, float] = (0.0, 0.0)) -> WarpFields:
    return WarpFields(
        inpaint=np.full((S, S, 3), paint, np.uint8),
        visibility=np.full((S, S), mask, np.float32),
        flow=np.broadcast_to(np.array(flow, np.float32), (S // 2, S // 2, 2)).copy(),
    )


def _wild(seed: int = 1) -> WarpFields:
    """Return a flow that leaves the crop, with a mask that shows inpainting."""
    rng = np.random.default_rng(seed)
    small = rng.normal(0, 0.15, (6, 6, 2)).astype(np.float32)
    return WarpFields(
        inpaint=cv2.resize(rng.integers(0, 256, (7, 7, 3)).astype(np.uint8), (S, S)),
        visibility=cv2.resize(rng.random((7, 7)).astype(np.float32), (S, S)),
        flow=cv2.resize(small, (S // 2, S // 2)),
    )


def _composite(
    size: tuple[int, int] | None, *, picture: Image = PICTURE, box: CropBox = BOX
) -> WarpComposite:
    return WarpComposite(Composite(picture, box, size).texture(S), S)


def _still(size: tuple[int, int] | None) -> Image:
    return _composite(size)(_layers())


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_at_rest_the_canvas_is_the_portraits_picture(size: tuple[int, int] | None) -> None:
    out = _still(size)
    width, height = size or (S, S)
    assert out.shape == (height, width, 3)
    assert out.flags.c_contiguous
    scale = BOX.size_px / min(width, height)
    left, top = (width - min(width, height)) // 2, (height - min(width, height)) // 2
    for x, y in ((left, top), (left + 20, top + 30), (width // 2, height // 2)):
        place = (BOX.x_px + (x + 0.5 - left) * scale - 0.5, BOX.y_px + (y + 0.5 - top) * scale - 0.5)
        want = cv2.getRectSubPix(cv2.GaussianBlur(PICTURE, (0, 0), 0.4 * scale), (1, 1), place)
        assert np.abs(out[y, x].astype(int) - want[0, 0]).max() <= 4


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_moving_pixels_are_the_portraits_own(size: tuple[int, int] | None) -> None:
    rest = _still(size)
    side = min(size or (S, S))
    by = 2 * 4 / side  # four pixels of the canvas
    out = _composite(size)(_layers(flow=(by, -by)))
    inner = (slice(side // 4, 3 * side // 4),) * 2
    top, left = ((n - side) // 2 for n in rest.shape[:2])
    got = out[top:, left:][inner]
    want = np.roll(rest, (4, -4), axis=(0, 1))[top:, left:][inner]
    assert np.abs(got.astype(int) - want).max() <= 1


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_paint_covers_what_the_mask_opens(size: tuple[int, int] | None) -> None:
    layers = _layers(paint=255)
    layers.visibility[20:40, 24:48] = 0.0
    out, rest = _composite(size)(layers), _still(size)
    side = min(size or (S, S))
    top, left = ((n - side) // 2 for n in rest.shape[:2])
    cell = side / S
    rows, columns = (slice(int(a * cell) + 3, int(b * cell) - 3) for a, b in ((20, 40), (24, 48)))
    assert (out[top:, left:][rows, columns] == 255).all()
    far = rest.copy()
    far[top + int(18 * cell) : top + int(43 * cell), left + int(22 * cell) : left + int(51 * cell)] = 0
    shown = far.any(axis=2)
    assert (out[shown] == rest[shown]).all(), "and nothing else"


def test_pixels_from_outside_the_crop_are_not_inpainted() -> None:
    painted = _layers(mask=0.0, paint=255, flow=(0.0, -0.5))
    out = _composite((64, 64))(painted)
    above = _composite((64, 64), box=CropBox(x_px=90.0, y_px=80.0 - 35.0, size_px=140.0))(_layers())
    assert np.abs(out[:12].astype(int) - above[:12]).max() <= 1, "a quarter of the crop's side further up"
    assert (out[20:] == 255).all()
    cut_off = PICTURE[80:220, 90:230].copy()  # the same crop, of a picture that ends with it
    out = _composite((64, 64), picture=cut_off, box=CropBox(x_px=0.0, y_px=0.0, size_px=140.0))(painted)
    assert (out == 255).all()


@pytest.mark.parametrize("size", [(96, 64), (64, 96)], ids=str)
def test_beside_the_crop_motion_fades_without_inpainting(size: tuple[int, int]) -> None:
    rest, out = _still(size), _composite(size)(_layers(mask=0.0, paint=255, flow=(0.1, 0.1)))
    if size[0] < size[1]:
        rest, out = (a.transpose(1, 0, 2) for a in (rest, out))
    assert (out[30, 40:56] == 255).all()
    beside = out[30, :16].astype(int)
    assert (beside != 255).any()
    moved = np.abs(out.astype(int) - rest).max(axis=(0, 2))
    assert moved[8:14].max() > 8, "the crop's surroundings move with it"
    assert moved[:1].max() <= 4, "and ends"
    steps = np.abs(np.diff(out[20:44].astype(int), axis=1)).mean(axis=(0, 2))
    assert steps[14:18].max() < 90, "a seam would be seen"


@pytest.mark.parametrize("matte", [False, True], ids=["whole", "person"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_kernel_draws_the_same(size: tuple[int, int] | None, matte: bool) -> None:
    torch = pytest.importorskip("torch", reason="the kernel's reference needs torch")
    from mimicam.kernels.warp_composite import warp_composite

    opacity = cv2.GaussianBlur(
        cv2.circle(np.zeros((300, 360), np.float32), (160, 150), 55, 1.0, -1), (0, 0), 3
    )
    around = Composite(PICTURE, BOX, size, matte=lambda: opacity if matte else None)
    scene, wild = around.texture(S), _wild()
    maps = (wild.inpaint / np.float32(127.5) - 1, wild.visibility[..., None], wild.flow)
    tensors = [torch.from_numpy(np.ascontiguousarray(m.transpose(2, 0, 1)[None], np.float32)) for m in maps]
    texture, numbers = torch.from_numpy(scene.texture)[None], torch.from_numpy(scene.numbers())[None]
    behind = torch.from_numpy(scene.canvas if scene.background is None else scene.background)[None]
    width, height = scene.size
    want = warp_composite(
        texture, behind, *tensors, numbers, out=torch.zeros(1, height, width, 3, dtype=torch.uint8)
    )[0].numpy()
    got = WarpComposite(scene, S)(wild)
    apart = np.abs(got.astype(int) - want)
    # OpenCV samples to a 32nd of a pixel. Pixels from outside the crop are decided by cells.
    assert apart.mean() < 1.5
    assert np.quantile(apart, 0.95) <= 6
    assert np.abs(np.roll(got, 2, axis=1).astype(int) - want).mean() > 4, "the measure sees two pixels"


def test_each_frame_is_drawn_anew() -> None:
    for size in SIZES:
        composite = _composite(size)
        first = composite(_wild(1))
        kept = first.copy()
        assert (composite(_layers()) == _still(size)).all(), "nothing of the frame before is left"
        assert (composite(_wild(1)) == kept).all()
        assert (first == kept).all()


def test_results_share_no_memory_and_are_reused_once_released() -> None:
    composite = _composite((96, 72))
    first, second = composite(_wild(1)), composite(_wild(2))
    assert not np.shares_memory(first, second)
    addresses = {composite(_wild(n)).ctypes.data for n in range(20)}
    assert len(addresses) <= 6
