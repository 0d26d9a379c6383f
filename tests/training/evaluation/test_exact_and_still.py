"""Errors against rendered truth, and trembling on a still driver, with generators whose figures are known."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from mimicam.engine.errors import EngineError
from mimicam.engine.face.motion import read_motion
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.stages.crop import cut, portrait_box
from mimicam.engine.types import CropBox, Image, Mode, MotionCode
from mimicam.training.evaluation.clips import Clip
from mimicam.training.evaluation.evaluate import Meters, evaluate_cross, evaluate_same
from mimicam.training.evaluation.methods import Generate, Method, copy_driver, copy_source
from mimicam.training.evaluation.perceptual import PictureFeatures
from mimicam.training.evaluation.still import evaluate_still, noisy
from mimicam.training.evaluation.synthetic import (
    TRUTH,
    Quadruple,
    evaluate_synthetic,
    face_region,
    load_quadruples,
)
from mimicam.training.losses import perceptual

DEMO = Path(__file__).parents[3] / "engine" / "assets" / "demo" / "driver.mp4"
SIZE = 192


@pytest.fixture(scope="module")
def pictures() -> list[Image]:
    """Four moments of the demo's driver, cut at one box."""
    with av.open(str(DEMO)) as container:
        frames = [
            f.to_ndarray(format="rgb24") for n, f in enumerate(container.decode(video=0)) if n % 60 == 0
        ]
    face = FaceTracker()(frames[0])
    assert face is not None
    return [cut(frame, portrait_box(face), SIZE) for frame in frames[:4]]


@pytest.fixture(scope="module")
def quadruple(pictures: list[Image], tmp_path_factory: pytest.TempPathFactory) -> Quadruple:
    file = tmp_path_factory.mktemp("heads") / "test.npz"
    blank = np.full((4, SIZE, SIZE, 3), 90, np.uint8)
    np.savez(file, images=np.stack([blank, np.stack(pictures)]))
    found, left_out = load_quadruples(file, 10)
    assert (len(found), left_out) == (1, 1), "the head without a face is left out and counted"
    return found[0]


@pytest.mark.parametrize("mode", list(Mode))
def test_the_rendered_answer_itself_has_no_error(quadruple: Quadruple, mode: Mode) -> None:
    def oracle(*_: object) -> Image:
        return quadruple.images[TRUTH[mode]]

    figures = evaluate_synthetic([quadruple], oracle, mode)
    assert figures["l1"] == figures["face_l1"] == 0.0
    assert figures["landmark_error"] < 0.03, "the tracker reads a picture alike from a slightly other start"


def test_copying_is_wrong_by_the_difference_of_the_pictures(quadruple: Quadruple) -> None:
    source = evaluate_synthetic([quadruple], copy_source, Mode.EXP)
    difference = quadruple.images[0].astype(float) - quadruple.images[1]
    assert source["l1"] == pytest.approx(np.abs(difference).mean() / 255, abs=1e-4)
    mask = face_region(quadruple.faces[1].landmarks, SIZE)
    assert source["face_l1"] == pytest.approx(np.abs(difference)[mask].mean() / 255, abs=1e-4)
    assert source["landmark_error"] > 0.02
    assert evaluate_synthetic([quadruple], copy_driver, Mode.BOTH)["l1"] == 0.0, (
        "the driver is the answer here"
    )


def test_the_generator_gets_source_driver_and_mode(quadruple: Quadruple) -> None:
    seen: list[tuple[bool, bool, Mode]] = []

    def look(portrait: Image, _: MotionCode, driver: Image, __: MotionCode, mode: Mode) -> Image:
        seen.append((portrait is quadruple.images[0], driver is quadruple.images[3], mode))
        return portrait

    evaluate_synthetic([quadruple], look, Mode.POSE)
    assert seen == [(True, True, Mode.POSE)]


def test_a_file_without_quadruples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="does not exist"):
        load_quadruples(tmp_path / "none.npz", 1)
    np.savez(tmp_path / "other.npz", images=np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(EngineError, match="no rendered quadruples"):
        load_quadruples(tmp_path / "other.npz", 1)


def _clip(pictures: list[Image], name: str) -> Clip:
    tracker, box = FaceTracker(), CropBox(x_px=0.0, y_px=0.0, size_px=float(SIZE))
    faces = [face for image in pictures if (face := tracker(image)) is not None]
    return Clip(
        identity=name,
        images=pictures,
        landmarks=np.stack([f.landmarks for f in faces]),
        blendshapes=np.stack([f.blendshapes for f in faces]),
        motions=[read_motion(box.from_image(f.landmarks), f.blendshapes) for f in faces],
    )


@pytest.fixture(scope="module")
def clips(pictures: list[Image]) -> list[Clip]:
    return [_clip(pictures, "a"), _clip([np.ascontiguousarray(p[:, ::-1]) for p in pictures], "b")]


def _alone(generate: Generate) -> Method:
    return Method(generate=generate, smoothed=generate)


def test_jitter_is_zero_only_for_a_still_picture(clips: list[Clip]) -> None:
    still = evaluate_still(clips, _alone(copy_source), pairs=1, frames=8)
    assert still["jitter_px"] < 0.05
    count = 0

    def shake(portrait: Image, *_: object) -> Image:
        nonlocal count
        count += 1
        return np.roll(portrait, 2 * (count % 2), axis=1)

    shaking = evaluate_still(clips, _alone(shake), pairs=1, frames=8)
    assert 0.3 < shaking["jitter_px"] < 1.2, "half of the points' 2 px, in x only: about half a pixel"


def test_the_products_filter_calms_what_the_noise_shakes(clips: list[Clip]) -> None:
    def pan(portrait: Image, _: MotionCode, __: Image, driver: MotionCode, ___: Mode) -> Image:
        """Moves the picture by what the driver's nose says, enlarged."""
        return np.roll(portrait, round(float(driver.pose.translation[0]) * 4000) % 24, axis=1)

    figures = evaluate_still(clips, _alone(pan), pairs=1, frames=8)
    assert figures["jitter_smoothed_px"] < figures["jitter_px"]


def test_noise_is_fresh_in_every_frame_and_the_same_for_a_seed() -> None:
    image = np.full((32, 32, 3), 100, np.uint8)
    first, second = noisy(image, 2, seed=1)
    assert 1.5 < first.astype(float).std() < 2.5
    assert not np.array_equal(first, second)
    assert np.array_equal(first, noisy(image, 2, seed=1)[0])


def test_the_perceptual_distance_has_its_own_name(clips: list[Clip], tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = perceptual._features(perceptual._TAPS[3]).state_dict()
    torch.save({f"features.{name}": value for name, value in state.items()}, tmp_path / "weights.pth")
    meters = Meters(pictures=PictureFeatures(tmp_path / "weights.pth"))
    figures = evaluate_same(clips[:1], copy_driver, meters=meters)
    assert figures["mobilenet_distance"] == 0.0
    assert evaluate_same(clips[:1], copy_source, meters=meters)["mobilenet_distance"] > 0.01
    assert "mobilenet_distance" not in evaluate_same(clips[:1], copy_source)
    assert evaluate_cross(clips, copy_driver, Mode.EXP, 2, meters)["mobilenet_frechet"] >= 0
    with pytest.raises(EngineError, match="missing"):
        PictureFeatures(tmp_path / "none.pth")
