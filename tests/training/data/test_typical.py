"""Typical expressions, of made-up people whose faces are known."""

import numpy as np
import pytest

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.training.data.expression_filter import Maps, TrackedFrames
from mimicam.training.data.resting import resting_statistics
from mimicam.training.data.typical import EXPRESSIONS, typical_expressions

NAMES = list(BLENDSHAPE_NAMES)
JAW, PUCKER = NAMES.index("jawOpen"), NAMES.index("mouthPucker")
SMILES, BLINKS = ([NAMES.index(n + side) for side in ("Left", "Right")] for n in ("mouthSmile", "eyeBlink"))
OPEN = list(EXPRESSIONS).index("open mouth")
GRIN = list(EXPRESSIONS).index("smile, eyes closed")


def _people(frames_of: dict[str, int]) -> TrackedFrames:
    """People who open their jaws step by step; those of ``a`` pucker a fifth as much meanwhile."""
    parts = []
    for name, count in frames_of.items():
        expression = np.zeros((count, 52), np.float32)
        # A quarter of the time at rest; then the jaw opens, a smile grows, the eyes close.
        quarter = count // 4
        for number, columns in enumerate(([JAW], SMILES, BLINKS), start=1):
            rows = slice(number * quarter, (number + 1) * quarter)
            expression[rows, columns] = np.linspace(0, 1, quarter)[:, None]
        if name == "a":
            expression[:, PUCKER] = expression[:, JAW] / 5
        parts.append(expression)
    expression = np.concatenate(parts)
    person = np.repeat(list(frames_of), list(frames_of.values()))
    shape = np.zeros((len(expression), 478, 3), np.float32)
    shape[:, 152, 1] = expression[:, JAW]
    shape[person == "b", 4, 0] = 0.3  # a nose of their own
    flat = shape.reshape(len(shape), -1)
    return TrackedFrames(
        shape=flat, expression=expression, view=np.zeros((len(flat), 9), np.float32), person=person,
        same_pose_group=np.arange(len(flat)), own_pose_shape=flat,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found() -> dict[str, np.ndarray]:
    """Return the expressions of two people; the one who puckers has a third of the frames."""
    displacement = np.zeros((52, 478, 3), np.float32)
    displacement[JAW, 152, 1] = 1.0
    maps = Maps(
        modes=np.zeros((0, 1434)), view_bias=np.zeros((9, 0)), displacement=displacement.reshape(52, -1)
    )
    frames = _people({"a": 400, "b": 800})
    return typical_expressions(frames, maps, resting_statistics(frames, maps))


def test_an_expression_has_the_strengths_that_it_is_named_for(found: dict[str, np.ndarray]) -> None:
    shapes = found["typical_expression"]
    assert shapes.shape == (len(EXPRESSIONS), 52)
    assert shapes[OPEN, JAW] == pytest.approx(0.5, abs=0.02)
    assert shapes[GRIN, SMILES] == pytest.approx(0.5, abs=0.02)
    assert shapes[GRIN, BLINKS] == pytest.approx(0.7, abs=0.02), "of other frames, at the same time"


def test_every_person_counts_once(found: dict[str, np.ndarray]) -> None:
    assert found["typical_expression"][OPEN, PUCKER] == pytest.approx(0.5 / 5 / 2, abs=0.01)


def test_landmarks_go_with_the_expression_and_hold_no_identity(found: dict[str, np.ndarray]) -> None:
    moved = found["typical_displacement"][OPEN].astype(np.float32)
    assert moved[152, 1] == pytest.approx(0.5, abs=0.02)
    assert np.abs(np.delete(moved, 152, axis=0)).max() < 0.01
