"""Samples stay inside one segment, are the same for the same step, and mirror together."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.training.daegan.videos import JITTER, VideoSampler, _after
from mimicam.training.data.augmentation import Augmentation


def videos(lengths: tuple[int, ...], allowed: tuple[int, ...]) -> SimpleNamespace:
    """Frame f: every pixel of the left half is f, of the right half f + 100."""
    count = sum(lengths)
    frames = np.arange(count, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 8, 8, 3), np.uint8)
    frames[:, :, 4:] += 100
    segment = np.repeat(np.arange(len(lengths)), lengths)
    return SimpleNamespace(frames=frames, segment=segment, indices=np.flatnonzero(np.isin(segment, allowed)))


def test_frames_of_a_sample_are_of_one_segment_and_differ() -> None:
    given = videos((10, 5, 20), allowed=(0, 2))
    seen = set()
    sampler = VideoSampler(given, size=8, frames=3, batch=16)
    for step in range(5):
        batch = sampler.batch(step)
        assert batch["frames"].shape == (16, 3, 3, 8, 8)
        assert batch["target"].shape == (16, 3, 8, 8)
        for frames, target in zip(batch["frames"], batch["target"], strict=True):
            numbers = [int(f.min()) for f in (*frames, target)]
            segments = {int(given.segment[n]) for n in numbers}
            assert len(segments) == 1
            assert len(set(numbers)) == 4
            seen |= segments
    assert seen == {0, 2}


def test_a_sample_is_mirrored_all_or_none() -> None:
    batch = VideoSampler(videos((10,), (0,)), size=8, frames=3, batch=32).batch(0)
    together = torch.cat((batch["frames"], batch["target"][:, None]), 1)
    mirrored = together[..., 0, 0, 0] > together[..., 0, 0, -1]
    assert (mirrored.all(1) | ~mirrored.any(1)).all()
    assert mirrored.any()
    assert not mirrored.all()


def test_a_step_is_always_the_same_batch_in_the_stream_too() -> None:
    sampler = VideoSampler(videos((10,), (0,)), size=8, frames=2, batch=4)
    stream = sampler.stream(3)
    for step in (3, 4, 5):
        got, want = next(stream), sampler.batch(step)
        assert all(torch.equal(got[name], want[name]) for name in want)
    assert not torch.equal(sampler.batch(3)["frames"], sampler.batch(4)["frames"])
    stream.close()


def test_short_segments_repeat_frames_and_are_resized() -> None:
    batch = VideoSampler(videos((2,), (0,)), size=4, frames=3, batch=2).batch(0)
    assert batch["frames"].shape == (2, 3, 3, 4, 4)
    assert batch["frames"].dtype == torch.uint8


def test_rare_expressions_are_drawn_more_often_as_targets() -> None:
    given = videos((20,), (0,))
    expressions = np.zeros((20, len(BLENDSHAPE_NAMES)), np.float32)
    expressions[7, BLENDSHAPE_NAMES.index("eyeBlinkLeft")] = 1.0

    def share(**options: np.ndarray) -> float:
        sampler = VideoSampler(given, size=8, frames=3, batch=200, **options)
        targets = torch.cat([sampler.batch(step)["target"].amin((1, 2, 3)) for step in range(3)])
        return (targets == 7).float().mean().item()

    assert share() < 0.1
    assert 0.12 < share(expressions=expressions) < 0.3


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        VideoSampler(videos((3,), ()), size=8, frames=2, batch=1)


def test_the_number_of_frames_is_drawn_for_each_batch() -> None:
    sampler = VideoSampler(videos((10,), (0,)), size=8, frames=3, fewest=1, batch=2)
    counts = {sampler.batch(step)["frames"].shape[1] for step in range(20)}
    assert counts == {1, 2, 3}


def test_long_clips_weigh_as_the_root_of_their_length() -> None:
    sampler = VideoSampler(videos((90, 10), (0, 1)), size=8, frames=1, batch=400)
    long = (sampler.batch(0)["target"].amin((1, 2, 3)) < 90).float().mean().item()
    assert long == pytest.approx(3 / (3 + 1), abs=0.07)


def _dotted() -> SimpleNamespace:
    """Ten equal frames: a bright square on grey."""
    frames = np.full((10, 64, 64, 3), 90, np.uint8)
    frames[:, 24:40, 24:40] = 180
    return SimpleNamespace(frames=frames, segment=np.zeros(10, int), indices=np.arange(10))


def test_one_augmentation_is_shared_and_the_driver_is_in_another_light() -> None:
    batch = VideoSampler(_dotted(), size=64, frames=2, batch=4, augmentation=Augmentation()).batch(0)
    assert torch.equal(batch["frames"][:, 0], batch["target"])
    assert torch.equal(batch["frames"][:, 0], batch["frames"][:, 1])
    driver, target = batch["driver"].float(), batch["target"].float()
    assert not torch.equal(driver, target)
    for a, b in zip(driver, target, strict=True):
        assert torch.corrcoef(torch.stack([a[0].flatten(), b[0].flatten()]))[0, 1] > 0.98, "same place"
    assert "driver" not in VideoSampler(_dotted(), size=64, frames=2, batch=4).batch(0)


def test_jitter_moves_each_frame_alone() -> None:
    still = Augmentation(roll_deg=0, scale=(1, 1), shift=0, colour=0, gamma=0)
    shift = Augmentation(roll_deg=0, scale=(1, 1), shift=0.1, colour=0, gamma=0)
    sampler = VideoSampler(_dotted(), size=64, frames=2, batch=1, augmentation=still, jitter=shift)
    batch = sampler.batch(0)
    first, second, target = (*batch["frames"][0], batch["target"][0])
    assert not torch.equal(first, second)
    assert not torch.equal(first, target)
    assert torch.equal(batch["driver"][0], target)


def test_jitter_is_applied_after_the_shared_similarity() -> None:
    rng = np.random.default_rng(0)
    shared, own = Augmentation().matrix(rng), JITTER.matrix(rng)
    point = np.array([0.3, -0.2, 1.0])
    want = own @ [*(shared @ point), 1.0]
    np.testing.assert_allclose(_after(own, shared) @ point, want, atol=1e-6)
