"""The average resting face, of made-up people whose rest is known."""

import numpy as np
import pytest

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.training.data.expression_filter import Maps, TrackedFrames
from mimicam.training.data.resting import resting_statistics

JAW = list(BLENDSHAPE_NAMES).index("jawOpen")
BLINK = list(BLENDSHAPE_NAMES).index("eyeBlinkLeft")


def _people(resting_lids: list[float], frames: int = 100) -> TrackedFrames:
    """People with lids of their own, who talk for two thirds of the time and blink now and then."""
    count = len(resting_lids) * frames
    expression = np.zeros((count, 52), np.float32)
    expression[:, JAW] = np.where(np.arange(count) % 3 == 0, 0.0, 0.6)
    expression[:, BLINK] = np.where(np.arange(count) % 20 == 0, 1.0, np.repeat(resting_lids, frames))
    person = np.repeat([f"p{i}" for i in range(len(resting_lids))], frames)
    zeros = np.zeros((count, 1434), np.float32)
    return TrackedFrames(
        shape=zeros, expression=expression, view=np.zeros((count, 9), np.float32), person=person,
        same_pose_group=np.arange(count), own_pose_shape=zeros,
    )  # fmt: skip


def _maps() -> Maps:
    """A jaw of 1 moves the chin by 1; there are no modes."""
    displacement = np.zeros((52, 478, 3), np.float32)
    displacement[JAW, 152, 1] = 1.0
    return Maps(
        modes=np.zeros((0, 1434)), view_bias=np.zeros((9, 0)), displacement=displacement.reshape(52, -1)
    )


def test_people_at_rest_are_told_from_people_who_talk() -> None:
    found = resting_statistics(_people([0.05, 0.1, 0.15, 0.1, 0.1]), _maps())
    assert found["rest_expression"][JAW] == 0.0
    assert found["rest_expression"][BLINK] == pytest.approx(0.1)
    assert abs(found["rest_displacement"][152, 1]) < 1e-3


def test_the_spread_is_that_between_people() -> None:
    lids = np.linspace(0.1, 0.3, 51).tolist()
    found = resting_statistics(_people(lids), _maps())
    assert found["rest_spread"][BLINK] == pytest.approx(0.2 * (0.84 - 0.16) / 2, abs=1e-3)
    assert found["rest_spread"][JAW] == 0.0


def test_clips_too_short_to_hold_a_rest_are_left_out() -> None:
    short, long = _people([0.9], frames=20), _people([0.1, 0.1])
    both = TrackedFrames(
        **{
            name: np.concatenate(
                [
                    np.char.add("s", getattr(short, name)) if name == "person" else getattr(short, name),
                    getattr(long, name),
                ]
            )
            for name in TrackedFrames.__dataclass_fields__
        }
    )
    assert resting_statistics(both, _maps())["rest_expression"][BLINK] == pytest.approx(0.1)
