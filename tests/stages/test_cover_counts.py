"""Frames in which something covers a face are counted."""

from __future__ import annotations

from mimicam.engine.stages.cover import CoveredFrames, describe_covered


def test_a_frame_with_both_eyes_covered_counts_once() -> None:
    counts = CoveredFrames()
    for parts in ({"right eye", "left eye"}, {"left eye"}, {"mouth", "right eye"}, set()):
        counts.count(parts)
    assert counts.by_part() == {"mouth": 1, "eyes": 3}
    assert describe_covered(counts.by_part(), 4) == "covered: mouth in 1, eyes in 3 of 4 frames"
    counts.clear()
    assert counts.by_part() == {}
