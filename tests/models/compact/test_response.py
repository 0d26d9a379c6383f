"""The measured response: what a portrait shows of an expression, and what is asked for instead."""

from __future__ import annotations

import numpy as np
import pytest

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.motion import shape_change
from mimicam.engine.face.regions import expression_gains
from mimicam.engine.models.compact.edit import AS_ASKED, absolute_expression, relative_expression
from mimicam.engine.models.compact.response import fit_response, known_expressions, measure_response
from mimicam.engine.stages.neutral import Expression, read_expression, resting_face
from mimicam.engine.types import EditSettings, Face, Float, Image
from tests.pipeline.fake_model import FakeModel
from tests.stages.material import motion

JAW, PUCKER, BLINK, SMILE, BROW_LEFT, BROW_RIGHT, SNEER = (
    list(BLENDSHAPE_NAMES).index(name)
    for name in (
        "jawOpen",
        "mouthPucker",
        "eyeBlinkLeft",
        "mouthSmileLeft",
        "browDownLeft",
        "browDownRight",
        "noseSneerLeft",
    )
)
GAINS = expression_gains(EditSettings())
CROP = np.full((64, 64, 3), 120, np.uint8)


def asked() -> Float:
    """Return the known expressions' distance from rest, ``[K, 52]``."""
    return known_expressions().blendshapes - resting_face().expression


def test_a_portrait_that_shows_all_is_asked_as_it_is() -> None:
    assert fit_response(asked(), asked()) == pytest.approx(AS_ASKED, abs=1e-5)


def test_what_arrives_weakly_is_asked_for_more_strongly() -> None:
    arrived = asked()
    arrived[:, JAW] *= 0.6
    arrived[:, PUCKER] *= 0.1
    response = fit_response(asked(), arrived)
    assert response[JAW] == pytest.approx(0.6**-0.7, abs=1e-4)
    assert response[PUCKER] == pytest.approx(1.6), "the limit"
    assert response[BROW_LEFT] == pytest.approx(1.0, abs=1e-4)


def test_what_arrives_strongly_is_asked_for_a_little_less_but_eyes_close() -> None:
    response = fit_response(asked(), 2 * asked())
    assert response[JAW] == pytest.approx(0.8)
    assert response[BLINK] == 1.0
    assert response[SNEER] == 1.0, "not calibrated"


def test_smiles_are_not_strengthened() -> None:
    assert fit_response(asked(), 0.5 * asked())[SMILE] == 1.0


def test_both_sides_of_a_face_get_one_factor() -> None:
    arrived = asked()
    arrived[:, BROW_LEFT] *= 0.5
    response = fit_response(asked(), arrived)
    assert response[BROW_LEFT] == response[BROW_RIGHT]
    assert 1.1 < response[BROW_LEFT] < 1.4


def test_a_face_that_is_read_without_relation_to_the_request_is_not_calibrated() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, asked().shape).astype(np.float32)
    assert (fit_response(asked(), noise) == AS_ASKED).all()
    assert (fit_response(asked(), np.zeros_like(noise)) == AS_ASKED).all()


def test_a_portrait_is_drawn_a_few_times_and_read_near_the_target() -> None:
    model, portrait, seen = FakeModel(), motion(), []

    def read(image: Image, landmarks: Float) -> Face:
        seen.append(landmarks)
        shown = model.conditionings[-1]["expression"][1]
        assert image.shape == (64, 64, 3)
        return Face(landmarks=landmarks, blendshapes=np.float32(0.6) * shown, presence=1.0)

    response = measure_response(model, CROP, portrait, model.encode(CROP), read)
    assert len(seen) == len(model.conditionings) == 1 + len(known_expressions().blendshapes) <= 8
    assert all(0 < points[:, :2].mean() < 64 for points in seen), "landmarks are pixels of the crop"
    assert response[JAW] == pytest.approx(0.6**-0.7, abs=0.02)


def test_a_drawing_without_a_readable_face_is_not_calibrated() -> None:
    model = FakeModel()
    response = measure_response(model, CROP, motion(), model.encode(CROP), lambda *_: None)
    assert (response == AS_ASKED).all()
    assert len(model.conditionings) == 1, "the first unreadable face ends the measurement"


def test_blendshapes_and_landmarks_are_asked_for_alike() -> None:
    portrait, rest = motion(), resting_face()
    shapes = rest.expression.copy()
    shapes[JAW] = 0.4
    wanted = Expression(blendshapes=shapes, displacement=rest.displacement)
    response = AS_ASKED.copy()
    response[JAW] = 1.5
    own = read_expression(portrait)
    plain, strong = (absolute_expression(portrait, own, wanted, GAINS, r) for r in (AS_ASKED, response))
    more = strong.expression - plain.expression
    assert more[JAW] == pytest.approx(0.5 * (0.4 - rest.expression[JAW]))
    assert np.delete(more, JAW) == pytest.approx(0)
    assert strong.shape - plain.shape == pytest.approx(shape_change(more), abs=1e-6)


def test_a_softened_expression_keeps_its_weak_motions() -> None:
    portrait, rest = motion(), resting_face()
    own = read_expression(portrait)

    def shown(jaw: float) -> float:
        shapes = rest.expression.copy()
        shapes[JAW] = jaw
        wanted = Expression(blendshapes=shapes, displacement=rest.displacement)
        target = absolute_expression(portrait, own, wanted, GAINS, AS_ASKED * np.float32(0.8))
        return float(target.expression[JAW])

    assert shown(0.05) > 0.98 * 0.05
    assert shown(1.0) == pytest.approx(0.8, abs=0.01)


def test_a_strong_request_moves_landmarks_beyond_a_blendshapes_end() -> None:
    portrait, rest = motion(), resting_face()
    shapes = rest.expression.copy()
    shapes[JAW] = 1.0
    wanted = Expression(blendshapes=shapes, displacement=rest.displacement)
    own = read_expression(portrait)
    plain, strong = (absolute_expression(portrait, own, wanted, GAINS, AS_ASKED * k) for k in (1, 1.3))
    assert strong.expression[JAW] == plain.expression[JAW] == 1.0
    assert np.abs(strong.shape - plain.shape).max() > 0.02


def test_without_gain_a_response_changes_nothing() -> None:
    portrait, driver = motion(), read_expression(motion(jawOpen=0.6))
    own, still = read_expression(portrait), expression_gains(EditSettings(expression_gain=0.0))
    plain, strong = (absolute_expression(portrait, own, driver, still, AS_ASKED * k) for k in (1, 1.5))
    assert strong.shape == pytest.approx(plain.shape, abs=1e-6)


def test_a_relative_change_is_scaled_too() -> None:
    portrait, neutral, driver = motion(), motion(), motion(jawOpen=0.3)
    plain, strong = (
        relative_expression(portrait, driver, neutral, GAINS, AS_ASKED * np.float32(k)) for k in (1, 1.5)
    )
    assert strong.expression[JAW] == pytest.approx(1.5 * plain.expression[JAW], rel=1e-3)
