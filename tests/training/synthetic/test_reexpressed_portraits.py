"""A rendered head taken for a photo: what it would look like with another expression is known exactly."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.face.tracker import FaceTracker
from mimicam.training.synthetic.correspondence import MOUTH, Correspondence
from mimicam.training.synthetic.fit import DISTANCE_CM, Camera, Fit
from mimicam.training.synthetic.landmark_map import SKIN_MARKS, landmark_map
from mimicam.training.synthetic.model import FaceModel
from mimicam.training.synthetic.occluded_skin import Neighbours, with_ring
from mimicam.training.synthetic.people import draw_person
from mimicam.training.synthetic.portrait_pairs import CHECKED, PortraitStudio
from mimicam.training.synthetic.scene import Lens, Person, project, still

SIZE = 256
ASTRONAUT = Path(__file__).parents[3] / "engine" / "assets" / "portraits" / "astronaut.jpg"
AHEAD = np.zeros(2, np.float32)
OPEN = {"jawOpen": 0.35, "mouthSmile": 0.7, "mouthUpperUp": 0.4, "mouthLowerDown": 0.4}


@pytest.fixture(scope="module")
def large(face_model: FaceModel):
    from mimicam.training.synthetic.render import Renderer

    try:
        made = Renderer(face_model, SIZE)
    except EngineError as error:
        pytest.skip(str(error))
    yield made
    made.context.release()


@pytest.fixture(scope="module")
def studio(face_model: FaceModel, large) -> PortraitStudio:
    assert large.size_px == SIZE
    return PortraitStudio(face_model, landmark_map(), SIZE)


def _person(seed: int) -> Person:
    person = draw_person(np.random.default_rng(seed))
    return Person(
        identity=0.6 * person.identity, skin=person.skin, lens=Lens(distance_cm=DISTANCE_CM, face_to_box=0.5),
        backdrop=person.backdrop,
    )  # fmt: skip


def _picture(large, model: FaceModel, person: Person, **weights: float) -> np.ndarray:
    large.enter(person)
    large.express(model.weights(**weights), AHEAD)
    return large.draw(still(0.15))


def _landmarks(large, model: FaceModel, person: Person, **weights: float) -> np.ndarray:
    """``[468, 2]`` where the tracker's landmarks truly are."""
    large.enter(person)
    vertices = large.express(model.weights(**weights), AHEAD)
    return landmark_map().points(project(vertices, still(0.15), person.lens, SIZE))


def _true_fit(model: FaceModel, person: Person, weights: np.ndarray) -> Fit:
    """What a perfect fit of a frontal rendering would say."""
    lens = person.lens
    focal = 2 * lens.distance_cm * lens.face_to_box / 17.0
    camera = Camera(
        rotation=np.eye(3, dtype=np.float32), shift_cm=np.zeros(2, np.float32), focal=focal, size_px=SIZE
    )
    return Fit(
        camera=camera,
        identity=person.identity,
        neutral=model.identity(person.identity),
        expression=weights,
        strays_px=np.zeros((SKIN_MARKS, 2), np.float32),
    )


def _face_error(a: np.ndarray, b: np.ndarray, landmarks: np.ndarray) -> float:
    """Mean grey levels inside the landmarks' box."""
    (left, top), (right, bottom) = landmarks.min(0).astype(int), landmarks.max(0).astype(int)
    return float(np.abs(a.astype(float) - b)[top : bottom + 6, left:right].mean())


def test_the_camera_of_a_fit_is_the_renderer_s(face_model: FaceModel) -> None:
    person = _person(3)
    points = face_model.identity(person.identity)[face_model.landmarks]
    at = _true_fit(face_model, person, face_model.weights()).camera.place(points)
    np.testing.assert_allclose(at[:, :2], project(points, still(), person.lens, SIZE), atol=2e-2)


@pytest.mark.parametrize("seed", [3, 8])
def test_a_removed_smile_leaves_the_resting_face(face_model, large, studio, seed: int) -> None:
    person = _person(seed)
    smiling = _picture(large, face_model, person, **OPEN)
    resting = _picture(large, face_model, person)
    truth, before = (_landmarks(large, face_model, person, **w) for w in ({}, OPEN))
    fit = studio.enter(smiling)
    made = studio.draw(face_model.weights())
    assert fit.residual_px < 1.2
    error = _face_error(made.image, resting, made.landmarks_px)
    floor = _face_error(smiling, resting, made.landmarks_px)
    assert error < 0.75 * floor, f"{error:.2f} grey levels, copying has {floor:.2f}"
    miss, copied = (
        np.linalg.norm((at - truth)[CHECKED], axis=1).mean() for at in (made.landmarks_px, before)
    )
    assert miss < 1.5, f"lips and lids are {miss:.2f} px off"
    assert miss < 0.75 * copied


def test_its_own_expression_gives_the_portrait_back(face_model, large, studio) -> None:
    portrait = _picture(large, face_model, _person(3), **OPEN)
    fit = studio.enter(portrait)
    again = studio.draw(fit.expression).image
    assert np.abs(again.astype(int) - portrait).mean() < 0.5


def test_what_lies_beside_the_face_is_kept_to_the_bit(face_model, large, studio) -> None:
    portrait = _picture(large, face_model, _person(8), jawOpen=0.5)
    studio.enter(portrait)
    made = studio.draw(face_model.weights(mouthSmile=0.8, browInnerUp=0.8))
    (left, top), (right, bottom) = made.landmarks_px.min(0) - 44, made.landmarks_px.max(0) + 44
    y, x = np.mgrid[:SIZE, :SIZE]
    beside = (x < left) | (x > right) | (y < top) | (y > bottom)
    assert beside.sum() > 5000
    np.testing.assert_array_equal(made.image[beside], portrait[beside])
    assert np.abs(made.image.astype(int) - portrait).max() > 40, "nothing moved at all"


def _watched(studio: PortraitStudio, monkeypatch) -> list[Correspondence]:
    """Receives what the rasteriser saw."""
    seen: list[Correspondence] = []
    compose = studio._rerender._compose
    monkeypatch.setattr(studio._rerender, "_compose", lambda at, limit: seen.append(at) or compose(at, limit))
    return seen


def test_lips_that_close_show_no_teeth(face_model, large, studio, monkeypatch) -> None:
    studio.enter(_picture(large, face_model, _person(3), **OPEN))
    seen = _watched(studio, monkeypatch)
    studio.draw(face_model.weights(**OPEN))
    studio.draw(face_model.weights())
    opened, closed = ((places.part == MOUTH).sum() for places in seen)
    assert opened > 500
    assert closed < 40


def test_upper_teeth_stay_and_the_tongue_follows_the_jaw(face_model, large, studio, monkeypatch) -> None:
    fit = studio.enter(_picture(large, face_model, _person(3), **OPEN))
    seen = _watched(studio, monkeypatch)
    wider = fit.expression.copy()
    wider[face_model.expression_index["jawOpen"]] += 0.3
    studio.draw(wider)
    places = seen[0]
    along = (np.arange(2 * SIZE) + 0.5) / 2 - 0.5
    moved = along[:, None] - places.portrait[..., 1]
    inner = places.part == MOUTH
    line = face_model.neutral[face_model.landmarks[62], 1]
    teeth = inner & (places.material == face_model.materials.index("M_Teeth"))
    upper = teeth & (places.rest[..., 1] > line)
    rows = np.nonzero(inner)[0]
    lower = inner & (np.arange(2 * SIZE)[:, None] > np.percentile(rows, 80))
    assert upper.sum() > 50
    assert np.median(np.abs(moved[upper])) < 0.3
    assert np.median(moved[lower]) > 2


def test_a_confirmed_variant_is_found_by_the_tracker_and_counted(face_model, large, studio) -> None:
    portrait = _picture(large, face_model, _person(8), **OPEN)
    made = studio(portrait, np.random.default_rng(2), 4)
    assert len(made.variants) + made.refused == 4
    assert len(made.variants) >= 3
    assert all(v.miss * SIZE < 3.6 for v in made.variants)
    np.testing.assert_array_equal(made.portrait, portrait)


def test_a_real_smile_closes_and_its_teeth_are_the_target_s(face_model, studio, monkeypatch) -> None:
    photo = cv2.imread(str(ASTRONAUT))[..., ::-1]
    face = FaceTracker()(np.ascontiguousarray(photo))
    assert face is not None
    x, y = face.landmarks[:, :2].mean(0).astype(int) - SIZE // 2
    portrait = np.ascontiguousarray(photo[max(y, 0) :, max(x, 0) :][:SIZE, :SIZE])
    fit = studio.enter(portrait)
    seen = _watched(studio, monkeypatch)
    made = studio.draw(studio.expression(fit, 0, np.random.default_rng(1)))
    found = FaceTracker()(made.image)
    assert found is not None
    before, asked, after = (
        float(marks[14, 1] - marks[13, 1]) for marks in (face.landmarks, made.landmarks_px, found.landmarks)
    )
    assert asked < 0.5
    assert after < 0.5 * before, f"the lips were {before:.1f} px apart and still are {after:.1f}"
    assert fit.expression[face_model.expression_index["mouthSmile_L"]] > 0.4
    assert (seen[0].part == MOUTH).sum() < 60


def test_closed_eyes_of_a_portrait_open_at_rest(face_model, large, studio) -> None:
    fit = studio.enter(_picture(large, face_model, _person(3), eyeBlink=1.0))
    blink = [face_model.expression_index[f"eyeBlink_{s}"] for s in "LR"]
    assert fit.expression[blink].min() > 0.5
    assert studio.expression(fit, 0, np.random.default_rng(0))[blink].max() == 0


@pytest.mark.parametrize("picture", ["empty", "small", "other size"])
def test_a_portrait_that_cannot_be_used_is_refused_in_one_line(
    face_model, large, studio, picture: str
) -> None:
    image = np.full((SIZE, SIZE, 3), 128, np.uint8)
    if picture == "small":
        head = _picture(large, face_model, _person(3))
        image[:96, :96] = head[::2, ::2][16:112, 16:112]
    if picture == "other size":
        image = image[:100]
    with pytest.raises(EngineError) as refusal:
        studio.enter(image)
    assert "\n" not in str(refusal.value)
    words = {"empty": "no face", "small": "face", "other size": "256x256"}
    assert words[picture] in str(refusal.value)


def test_hidden_vertices_lie_evenly_between_visible_ones() -> None:
    grid = np.arange(25).reshape(5, 5)
    a, b, c, d = grid[:-1, :-1].ravel(), grid[:-1, 1:].ravel(), grid[1:, :-1].ravel(), grid[1:, 1:].ravel()
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    true = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), 2).reshape(-1, 2)
    free = np.zeros(25, bool)
    free[12] = True
    free = with_ring(triangles, free)
    assert free.sum() == 7
    given = np.where(free[:, None], 99.0, true)
    np.testing.assert_allclose(Neighbours.of(triangles, free).relax(given), true, atol=1e-6)


def test_without_hidden_vertices_nothing_changes() -> None:
    triangles = np.array([[0, 1, 2]])
    values = np.ones((3, 2))
    np.testing.assert_array_equal(Neighbours.of(triangles, np.zeros(3, bool)).relax(values), values)
