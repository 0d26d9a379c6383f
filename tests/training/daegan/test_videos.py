"""Samples stay inside one segment, are the same for the same step, and mirror together."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mimicam.training.daegan.videos import VideoSampler


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


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        VideoSampler(videos((3,), ()), size=8, frames=2, batch=1)
