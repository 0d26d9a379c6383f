"""Samples drawn on a device are those of `VideoSampler`: the same warps, lights and segments."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mimicam.training.daegan.device_videos import (
    DeviceVideos,
    DeviceVideoSampler,
    Frames,
    _lit,
    device_videos,
)
from mimicam.training.data.augmentation import Augmentation, warped

CPU = torch.device("cpu")
STILL = Augmentation(roll_deg=0.0, scale=(1.0, 1.0), shift=0.0, colour=0.0, gamma=0.0)


def numbered(*lengths: int, side: int = 4) -> Frames:
    """Frames whose grey level is their row, in segments of the given lengths."""
    levels = np.arange(sum(lengths), dtype=np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (len(levels), side, side, 3)).copy()
    return pack(frames, np.repeat(np.arange(len(lengths)), lengths))


def pack(frames: np.ndarray, segment: np.ndarray, is_synthetic: np.ndarray | None = None) -> Frames:
    none = np.zeros(len(segment), bool)
    return Frames(
        pictures=frames, segment=segment, is_synthetic=none if is_synthetic is None else is_synthetic
    )


def rows_of(pictures: torch.Tensor) -> np.ndarray:
    return ((pictures.mean(dim=(-3, -2, -1)) + 1) * 127.5).round().long().numpy()


def smooth_videos(side: int = 32) -> DeviceVideos:
    noise = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), np.uint8)
    frames = np.stack([cv2.resize(n, (side, side), interpolation=cv2.INTER_CUBIC) for n in noise])
    return device_videos([pack(frames, np.zeros(6, int))], [1.0], CPU)


def test_a_sample_is_of_one_segment_and_its_target_another_frame() -> None:
    videos = device_videos([numbered(5, 2), numbered(1)], [0.8, 0.2], CPU)
    assert [list(segment.rows) for segment in videos.segments] == [[0, 1, 2, 3, 4], [5, 6], [7]]
    five, two = 0.8 * np.sqrt([5, 2]) / np.sqrt([5, 2]).sum()
    np.testing.assert_allclose(videos.weights, [five, two, 0.2])
    rows = DeviceVideoSampler(videos, frames=3, batch=64).numbers(0)["rows"].numpy()
    of = np.array([0] * 5 + [1] * 2 + [2])[rows]
    assert (of == of[:, :1]).all()
    long, short = rows[of[:, 0] == 0], rows[of[:, 0] == 1]
    assert len(long)
    assert len(short)
    assert all(len(set(row)) == 4 for row in long)
    assert (short[:, :3] != short[:, 3:]).all()


def test_a_picture_drawn_from_another_one_is_no_target() -> None:
    frames = numbered(3, 2)
    made = np.array([False, True, True, True, True])
    videos = device_videos([pack(frames.pictures, frames.segment, made)], [1.0], CPU)
    assert len(videos.segments) == 1, "the second has no target"
    rows = DeviceVideoSampler(videos, frames=2, batch=8).numbers(0)["rows"].numpy()
    assert (rows[:, -1] == 0).all()
    assert (rows[:, :-1] > 0).all()


def test_the_batch_is_a_function_of_the_step() -> None:
    sampler = DeviceVideoSampler(smooth_videos(), frames=3, fewest=1, batch=2, augmentation=Augmentation())
    stream = sampler.stream(3)
    for step in (3, 4):
        drawn, again = next(stream), sampler.batch(step)
        assert all(torch.equal(drawn[name], again[name]) for name in again)
    counts = {sampler.batch(step)["frames"].shape[1] for step in range(20)}
    assert counts == {1, 2, 3}


def test_without_augmentation_frames_are_shown_as_they_are() -> None:
    videos = device_videos([numbered(9)], [1.0], CPU)
    sampler = DeviceVideoSampler(videos, frames=2, batch=5)
    batch, rows = sampler.batch(0), sampler.numbers(0)["rows"].numpy()
    np.testing.assert_array_equal(rows_of(batch["frames"]), rows[:, :2])
    np.testing.assert_array_equal(rows_of(batch["target"]), rows[:, 2])
    assert torch.equal(batch["driver"], batch["target"])


@pytest.mark.parametrize("mirror", [False, True])
def test_similarities_are_those_of_the_processor(mirror: bool) -> None:
    videos = smooth_videos(64)
    matrix = Augmentation().matrix(np.random.default_rng(4))
    picture = videos.frames[2].permute(1, 2, 0).numpy()
    want = warped(picture[:, ::-1] if mirror else picture, matrix, 64).astype(float)
    theta = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[None, None, :2]
    if mirror:
        theta[..., 0, :] *= -1
    given: dict[str, Any] = {
        "theta": theta.astype(np.float32).repeat(2, 1),
        "light": np.ones((1, 2, 4), "f4"),
    }
    sampler = DeviceVideoSampler(videos, frames=1, batch=1)
    numbers = {"rows": torch.tensor([[2, 2]])} | {n: torch.from_numpy(v) for n, v in given.items()}
    got = (sampler.pictures(numbers)["target"][0].permute(1, 2, 0).numpy() + 1) * 127.5
    # The border is reflected about another line: one pixel at the edge.
    assert np.abs(got - want)[4:-4, 4:-4].mean() < 0.5


def test_lights_are_those_of_the_processor() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 1, 3))
    light = Augmentation(colour=0.2, gamma=0.2)
    rng, again = np.random.default_rng(1), np.random.default_rng(1)
    (want,) = light.recolour(rng, ramp)
    gain = 1 + again.uniform(-0.2, 0.2) + again.uniform(-0.2, 0.2, 3) / 3
    numbers = torch.tensor([*gain, 1 + again.uniform(-0.2, 0.2)]).float()[None, None]
    pictures = torch.from_numpy(ramp).permute(2, 0, 1)[None, None].float() / 255
    got = (_lit(pictures, numbers)[0, 0].permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(got - want).max() <= 0.51


def test_the_driver_has_another_light_and_the_same_place() -> None:
    sampler = DeviceVideoSampler(
        smooth_videos(), frames=1, batch=3, augmentation=Augmentation(), jitter=STILL
    )  # fmt: skip
    batch, theta = sampler.batch(0), sampler.numbers(0)["theta"]
    assert torch.equal(theta[:, 0], theta[:, 1])
    assert (batch["driver"] - batch["target"]).abs().mean() > 0.02


def test_videos_are_scaled_by_their_area() -> None:
    frames = numbered(3, side=8)
    frames.pictures[0, :, ::2] = 100
    videos = device_videos([frames], [1.0], CPU)
    small = videos.scaled(4)
    assert small.frames.dtype == torch.uint8
    assert small.frames[:, 0, 0, 0].tolist() == [50, 1, 2]
    assert videos.scaled(8) is videos
