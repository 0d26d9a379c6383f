"""Steady-state frames allocate no image-sized arrays, and results share no memory."""

import gc
import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.assets_manifest import ASSETS
from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.controls import Covered
from mimicam.engine.models.base import Features, Model
from mimicam.engine.models.load import load_model
from mimicam.engine.pipeline import Pipeline
from mimicam.engine.portrait import enroll
from mimicam.engine.stages.crop import Cutter, cut
from mimicam.engine.stages.lost import CARD_S
from mimicam.engine.types import CropBox, EditSettings, Float, Frame, Image, WarpFields
from tests.pipeline.fake_model import FakeModel
from tests.stages.material import SECOND_NS, bundled, driver_clip

_LISTED = "compact/generator.xml" in (ASSETS / "manifest.json").read_text()
_PERIOD_NS = 100_000_000

# Bytes that a frame may take temporarily: two thirds of the smallest picture on the path, the
# generator's. A dozen copies of all landmarks, 5.7 KB each, and ten copies of the mouth's part of a
# map are less. Measured: 98 KB with a face, 52 KB while it is searched twice (Python 3.11, NumPy
# 2.4, 2026-11).
_ROOM_BYTES = 256 * 256 * 3 * 2 // 3
# Bytes of arrays that a whole scene may leave: less than one copy of one frame's landmarks. Measured:
# none. Python's own caches grow by some kilobytes; `tests/session/test_memory.py` weighs objects.
_KEPT_BYTES = 478 * 3 * 4
# Sixteen frames and forty earlier ones, each with its landmarks and blendshapes.
_HISTORY_BYTES = (16 + 40) * (478 * 3 + 52) * 4

BLACK = np.zeros_like(driver_clip()[0])


def _scene_frames(scene: str) -> list[Image]:
    """Return frames: ``f`` has the driver's face, ``-`` has none."""
    clip = driver_clip()
    return [clip[i % len(clip)] if sign == "f" else BLACK for i, sign in enumerate(scene)]


# Followed, lost for a moment, back, then away until the card is shown (after 30 frames), and back
# again.
SCENE = "f" * 10 + "-" * 4 + "f" * 6 + "-" * 33 + "f" * 6


def _frames(times: int) -> Iterator[Frame]:
    for seq, image in enumerate(_scene_frames(SCENE * times)):
        yield Frame(image=image, seq=seq, captured_ns=seq * _PERIOD_NS)


@pytest.fixture(scope="module")
def model() -> Model:
    if not _LISTED:
        pytest.skip("the compact weights are not bundled yet")
    return load_model("compact", "openvino", threads=1)


@pytest.mark.parametrize("covered", [Covered.KEEP, pytest.param(Covered.IGNORE, marks=pytest.mark.slow)])
def test_a_frame_takes_no_memory_worth_a_map_and_keeps_none(covered: Covered, model: Model) -> None:
    portrait = enroll(bundled("astronaut.jpg"), model=model)
    edit = EditSettings(covered=covered)
    pipeline = Pipeline(model=model, portrait=portrait, edit=edit, size=(640, 480))
    frames = _frames(3)
    tracemalloc.start()
    try:
        _play_scene(pipeline, frames)  # from here on every state has been seen
        held = _array_bytes()
        taken = _play_scene(pipeline, frames)
        kept = _array_bytes() - held
    finally:
        tracemalloc.stop()
    assert taken.max() < _ROOM_BYTES, f"frame {taken.argmax()} after the warm-up"
    # What is kept for covered parts is a history of some seconds: in a scene it only fills.
    assert kept < (_KEPT_BYTES if covered is Covered.IGNORE else _HISTORY_BYTES)


def _play_scene(pipeline: Pipeline, frames: Iterator[Frame]) -> np.ndarray:
    """Return the bytes that each frame of one scene takes at its peak."""
    taken = np.zeros(len(SCENE), np.int64)
    for index in range(len(SCENE)):
        tracemalloc.reset_peak()
        if index == 5:
            pipeline.calibrate()
        before, _ = tracemalloc.get_traced_memory()
        pipeline.step(next(frames))
        taken[index] = tracemalloc.get_traced_memory()[1] - before
    return taken


def _array_bytes() -> int:
    """Weigh the data of all NumPy arrays that were made since tracing began."""
    gc.collect()
    arrays = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([arrays]).traces)


class KeepingModel(FakeModel):
    """Keeps its inputs, as a generator on another device might, or copies of them."""

    def __init__(self, *, copy: bool) -> None:
        super().__init__()
        self._copy = copy

    def generate(self, features: Features, conditioning: Mapping[str, Float]) -> WarpFields:
        if self._copy:
            conditioning = {name: array.copy() for name, array in conditioning.items()}
        return super().generate(features, conditioning)


def _conditionings(model: KeepingModel) -> list[dict[str, Float]]:
    portrait = enroll(bundled("rosa.jpg"), model=model, name="rosa")
    pipeline = Pipeline(model=model, portrait=portrait, edit=EditSettings())
    for frame in _frames(1):
        pipeline.step(frame)
    return model.conditionings


def test_a_conditioning_in_use_is_never_overwritten() -> None:
    # A model that keeps all of them leaves no buffer for reuse, so both runs must be equal.
    held, passing = _conditionings(KeepingModel(copy=False)), _conditionings(KeepingModel(copy=True))
    buffers = {conditioning["opening_masks"].ctypes.data for conditioning in held}
    assert len(buffers) > 40, "the driver moved the mouth in each frame"
    for a, b in zip(held, passing, strict=True):
        assert a.keys() == b.keys()
        assert all((a[name] == b[name]).all() for name in a)


def test_results_in_flight_share_no_memory() -> None:
    model = FakeModel()
    portraits = [enroll(bundled("rosa.jpg"), model=model, name="rosa")]
    dark = {"latent": np.zeros(8), "crop": np.full((64, 64, 3), 9.0)}
    portraits.append(replace(portraits[0], features=replace(portraits[0].features, arrays=dark)))
    pipeline = Pipeline(
        model=model, portrait=portraits[0], edit=EditSettings(), size=(160, 120), smooth=False
    )
    flight: list[tuple[Image, Image]] = []
    ahead = None
    for frame in _frames(1):
        seen = pipeline.observe(frame)  # one frame ahead of the drawing, as in a session
        if ahead is not None:
            pipeline.set_portrait(portraits[frame.seq % 2])
            image = pipeline.draw(ahead).image
            flight.append((image, image.copy()))
        ahead, flight = seen, flight[-12:]
    images = [image for image, _ in flight]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(images) for b in images[i + 1 :])
    assert all((image == copy).all() for image, copy in flight)
    assert len({int(copy[60, 80, 0]) for _, copy in flight}) > 1, (
        "the pictures differ, or this proves nothing"
    )


def test_the_card_is_drawn_on_the_result_and_not_on_its_source() -> None:
    model = FakeModel()
    portrait = enroll(bundled("rosa.jpg"), model=model, name="rosa")
    pipeline = Pipeline(model=model, portrait=portrait, edit=EditSettings(), size=(160, 120))
    away = [Frame(image=BLACK, seq=i, captured_ns=round(i * CARD_S * SECOND_NS)) for i in range(4)]
    cards = [pipeline.step(frame).image for frame in away]
    assert all((card == cards[0]).all() for card in cards), "darker with each frame"


@pytest.mark.parametrize("side", [40.0, 300.0], ids=["sampled", "blurred first"])
def test_a_cutters_result_is_that_of_cut_in_the_same_buffer(side: float) -> None:
    cutter, image = Cutter(64), driver_clip()[0]
    boxes = [CropBox(x_px=x, y_px=30.5, size_px=side) for x in (-20.0, 100.25)]
    results = [cutter(image, box) for box in boxes]
    assert np.shares_memory(*results)
    assert (results[1] == cut(image, boxes[1], 64)).all()
    small = image[:200, :220].copy()
    assert (cutter(small, boxes[0]) == cut(small, boxes[0], 64)).all(), "another size of frame"


def test_a_pool_serves_other_types_than_pictures() -> None:
    pool = BufferPool((2, 3), np.float32, 1)
    first, second = pool.take(), pool.take()
    assert first.dtype == np.float32
    assert first.shape == (2, 3)
    assert not np.shares_memory(first, second)
    assert pool.size == 2
