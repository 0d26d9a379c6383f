"""What the pictures show: exact pairs, closed eyes, teeth behind lips."""

from __future__ import annotations

import numpy as np
import pytest

from mimicam.training.synthetic.mesh import HEAD_CENTRE
from mimicam.training.synthetic.model import FaceModel
from mimicam.training.synthetic.people import draw_person
from mimicam.training.synthetic.quadruple import Generator
from mimicam.training.synthetic.render import SUPERSAMPLE, Renderer
from mimicam.training.synthetic.sample import Expression
from mimicam.training.synthetic.scene import Hair, Lens, Person, project, still

AHEAD = np.zeros(2, np.float32)
EYES, MOUTH = 2, 3
SIZE = 128


def _expression(model: FaceModel, **weights: float) -> Expression:
    return Expression(weights=model.weights(**weights), gaze_rad=AHEAD)


def _people(count: int) -> list[Person]:
    return [Person(identity=draw_person(np.random.default_rng(s)).identity) for s in range(count)]


def test_seed_and_index_decide_the_pictures(face_model, renderer: Renderer) -> None:
    generator = Generator(face_model, renderer)
    first = generator(4, 0)
    generator(4, 1)
    again = generator(4, 0)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.expressions, again.expressions)
    assert not np.array_equal(generator(4, 1).images, first.images)
    assert not np.array_equal(generator(5, 0).images, first.images)


def test_an_expression_changes_the_face_and_nothing_beside_it(face_model, renderer: Renderer) -> None:
    poses = (still(), still(0.3))
    pair = (_expression(face_model), _expression(face_model, jawOpen=0.7, mouthSmile=0.4))
    quadruple = Generator(face_model, renderer).render(_people(1)[0], pair, poses)
    difference = np.abs(quadruple.images[0].astype(int) - quadruple.images[1]).max(2)
    changed = difference > 8
    marks = quadruple.landmarks_px[:2].reshape(-1, 2)
    (left, top), (right, bottom) = marks.min(0) - 12, marks.max(0) + 12
    y, x = np.nonzero(changed)
    assert changed.sum() > 200
    inside = (x >= left) & (x <= right) & (y >= top)
    assert inside.mean() > 0.99, "something beside the face moved"
    assert not changed[: int(marks[:, 1].min()) - 12].any(), "hair moved with the mouth"
    jaw = np.linalg.norm(quadruple.landmarks_px[1] - quadruple.landmarks_px[0], axis=1)
    assert jaw[8] > 5
    assert jaw[[27, 36, 45]].max() < 0.5
    assert bottom > top


def test_a_pose_moves_every_landmark_as_its_rotation_says(face_model, renderer: Renderer) -> None:
    person, turn = _people(1)[0], still(0.35, 0.1, -0.1)
    pair = (_expression(face_model), _expression(face_model, mouthSmile=1))
    quadruple = Generator(face_model, renderer).render(person, pair, (still(), turn))
    neutral = face_model.identity(person.identity)[face_model.landmarks]
    want = project(neutral, turn, person.lens, SIZE)
    np.testing.assert_allclose(quadruple.landmarks_px[2], want, atol=1e-3)
    assert np.linalg.norm(quadruple.landmarks_px[2] - quadruple.landmarks_px[0], axis=1).mean() > 3


def test_the_picture_lies_where_the_landmarks_say(face_model, renderer: Renderer) -> None:
    person, pose = _people(2)[1], still(0.3, -0.1, 0.15)
    renderer.enter(person)
    vertices = renderer.express(face_model.weights(), AHEAD)
    seen = renderer.parts(pose)
    for ball in face_model.eye_vertices:
        front = vertices[ball[vertices[ball, 2].argmax()]][None]
        x, y = np.round((project(front, pose, person.lens, SIZE)[0] + 0.5) * SUPERSAMPLE - 0.5).astype(int)
        assert (seen[y - 2 : y + 3, x - 2 : x + 3] == EYES).any()


def test_closed_eyes_show_no_eyeball_on_anyone(face_model, renderer: Renderer) -> None:
    for person in _people(10):
        renderer.enter(person)
        renderer.express(face_model.weights(), AHEAD)
        opened = (renderer.parts(still()) == EYES).sum()
        for gaze in ((0.0, 0.0), (0.4, 0.2), (-0.4, -0.3)):
            renderer.express(face_model.weights(eyeBlink=1), np.array(gaze, np.float32))
            closed = (renderer.parts(still()) == EYES).sum()
            assert opened > 100
            assert closed <= 0.01 * opened


def test_teeth_are_behind_closed_lips_and_in_the_open_mouth(face_model, renderer: Renderer) -> None:
    renderer.enter(Person(identity=np.zeros(60, np.float32)))
    counts = []
    for opening in (0.0, 0.5):
        renderer.express(face_model.weights(jawOpen=opening), AHEAD)
        counts.append((renderer.parts(still()) == MOUTH).sum())
    assert counts[0] <= 4
    assert counts[1] > 100


def test_the_iris_is_darker_than_the_white_and_follows_the_gaze(face_model, renderer: Renderer) -> None:
    person = Person(identity=np.zeros(60, np.float32), lens=Lens(face_to_box=1.2), hair=Hair(shape=None))
    renderer.enter(person)
    columns = []
    for yaw in (-0.35, 0.35):
        gaze = np.array([yaw, 0.0], np.float32)
        renderer.express(face_model.weights(eyeWide=0.6), gaze)
        eye = renderer.parts(still())[::SUPERSAMPLE, ::SUPERSAMPLE] == EYES
        eye[:, : SIZE // 2] = False
        grey = renderer.draw(still()).mean(2)
        dark = eye & (grey < np.percentile(grey[eye], 25))
        columns.append(np.nonzero(dark)[1].mean())
        assert grey[eye].max() > 2 * grey[eye].min() + 20
    assert columns[1] > columns[0] + 2


@pytest.mark.parametrize("kind", ["bald", "hair"])
def test_hair_covers_the_top_of_the_head_and_leaves_the_face(
    face_model, renderer: Renderer, kind: str
) -> None:
    black = (0.001, 0.001, 0.001)
    hair = Hair(colour=black, gloss=0.0) if kind == "hair" else Hair(colour=black, shape=None, scalp=0.0)
    person = Person(identity=np.zeros(60, np.float32), hair=hair)
    renderer.enter(person)
    renderer.express(face_model.weights(), AHEAD)
    grey = renderer.draw(still()).mean(2)
    top = (
        project(HEAD_CENTRE[None] + np.float32([[0, 9.0, 2]]), still(), person.lens, SIZE)[0]
        .round()
        .astype(int)
    )
    cheek = project(np.float32([[3.5, 0, 9]]), still(), person.lens, SIZE)[0].round().astype(int)
    assert (grey[top[1], top[0]] < 40) == (kind == "hair")
    assert grey[cheek[1], cheek[0]] > 80
