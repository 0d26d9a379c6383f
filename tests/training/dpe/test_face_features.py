"""The tracker as a loss: it reads as the tracker does, follows expression and not position, and has gradients.

Values are tested with the bundled networks, gradients with stand-ins and, where ``MIMICAM_FACE_NETWORKS`` names
a folder with the two ONNX files, with the real ones.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mimicam.engine.face.geometry import place
from mimicam.engine.face.motion import read_motion
from mimicam.engine.face.tracker import FaceReader, FaceTracker
from mimicam.engine.stages.crop import cut, portrait_box
from mimicam.engine.types import CropBox
from mimicam.training.dpe.face import _POSE_POINTS, TrackerFeatures
from mimicam.training.losses.onnx_graph import OnnxGraph
from tests.stages.material import driver_clip, first_face

SIZE = 256


@pytest.fixture
def stand_in(face_files: tuple[Path, Path]) -> TrackerFeatures:
    return TrackerFeatures(*face_files)


class Bundled(nn.Module):
    """One of the tracker's bundled networks, in the place of its ONNX file. Without gradients."""

    def __init__(self, network: object) -> None:
        super().__init__()
        self._network = network

    def forward(self, x: Tensor) -> tuple[Tensor]:
        found = [self._network(one[None].numpy())[0].copy() for one in x]
        return (torch.from_numpy(np.concatenate(found)),)


@pytest.fixture
def features(stand_in: TrackerFeatures) -> TrackerFeatures:
    """The features with the tracker's own networks."""
    reader = FaceReader()
    stand_in._landmarks, stand_in._blendshapes = Bundled(reader._mesh), Bundled(reader._shapes._net)
    return stand_in


class Seen:
    """Frames of the bundled clip as a pack has them, and what the tracker reads of them."""

    def __init__(self, shift_px: tuple[float, float] = (0.0, 0.0)) -> None:
        first, tracker = portrait_box(first_face()), FaceTracker()
        box = CropBox(x_px=first.x_px + shift_px[0], y_px=first.y_px + shift_px[1], size_px=first.size_px)
        whole = CropBox(x_px=0.0, y_px=0.0, size_px=float(SIZE))
        images = [np.ascontiguousarray(cut(image, box, SIZE)) for image in driver_clip()[::3]]
        # The second reading has the square of the frame itself, not of the one before.
        faces = [(tracker(image), tracker(image))[1] for image in images]
        self.images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1
        self.landmarks = torch.from_numpy(np.stack([whole.from_image(face.landmarks) for face in faces]))
        self.expression = torch.from_numpy(np.stack([face.blendshapes for face in faces]))


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


def correlation(got: Tensor, want: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([(x - x.mean(0)).flatten() for x in (got, want)]))[0, 1])


def test_features_are_what_the_tracker_reads(features: TrackerFeatures, seen: Seen) -> None:
    got = features(seen.images, seen.landmarks)
    # Measured on a CPU, 2026-11: 0.007 and 0.96; 0.09 and 0.18 where the whole picture is read.
    assert (got - seen.expression).abs().mean() < 0.015
    assert correlation(got, seen.expression) > 0.9


def test_faces_are_found_without_landmarks(features: TrackerFeatures, seen: Seen) -> None:
    got = features.read(seen.images)
    assert (got.expression - seen.expression).abs().mean() < 0.02
    assert correlation(got.expression, seen.expression) > 0.9
    pose = seen.landmarks[:, _POSE_POINTS]
    assert (got.pose.view_as(pose) - pose)[..., :2].abs().mean() < 0.01


def test_features_follow_the_expression_and_not_the_place(features: TrackerFeatures, seen: Seen) -> None:
    away = Seen(shift_px=(25.0, -15.0))
    here, there = (features(each.images, each.landmarks) for each in (seen, away))
    moved, changed = (there - here).abs().mean(), (here - here.roll(1, 0)).abs().mean()
    # Measured on a CPU, 2026-11: 0.0024 and 0.032; 0.085 and 0.13 where the whole picture is read.
    assert moved < changed / 4


def test_the_square_may_be_that_of_another_expression(features: TrackerFeatures, seen: Seen) -> None:
    # As in equation 10, where S' has the source's pose and the driver's expression.
    heads = [
        read_motion(points, shapes)
        for points, shapes in zip(seen.landmarks.numpy(), seen.expression.numpy(), strict=True)
    ]
    others = [place(heads[k - 1].shape, head.pose) for k, head in enumerate(heads)]
    got = features(seen.images, torch.from_numpy(np.stack(others)).float())
    assert (got - seen.expression).abs().mean() < 0.015
    assert correlation(got, seen.expression) > 0.9


def test_gradients_reach_the_picture_and_nothing_else(stand_in: TrackerFeatures) -> None:
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    landmarks = torch.rand(2, 478, 3)
    stand_in(image, landmarks).square().sum().backward()
    assert image.grad is not None
    assert (image.grad[:, :2].abs().sum((1, 2, 3)) > 0).all()
    assert list(stand_in.parameters()) == []


@pytest.fixture
def real() -> TrackerFeatures:
    folder = Path(os.environ.get("MIMICAM_FACE_NETWORKS", "none"))
    files = (folder / "face_landmarks_478.onnx", folder / "face_blendshapes_52.onnx")
    if not all(file.is_file() for file in files):
        pytest.skip("MIMICAM_FACE_NETWORKS names no folder with the two networks")
    return TrackerFeatures(*files)


def test_the_onnx_files_read_as_the_tracker_does(real: TrackerFeatures, seen: Seen) -> None:
    assert isinstance(real._landmarks, OnnxGraph)
    with torch.no_grad():
        got = real(seen.images[:3], seen.landmarks[:3])
    assert (got - seen.expression[:3]).abs().mean() < 0.015


def test_gradients_of_the_real_networks_lie_on_the_face(real: TrackerFeatures, seen: Seen) -> None:
    image = seen.images[:1].clone().requires_grad_(True)
    real(image, seen.landmarks[:1]).sum().backward()
    strength = image.grad.abs().sum((0, 1))
    low, high = (
        ((bound + 1) * SIZE / 2).int().tolist()
        for bound in (seen.landmarks[0, :, :2].amin(0), seen.landmarks[0, :, :2].amax(0))
    )
    face = strength[low[1] : high[1], low[0] : high[0]].mean()
    assert face > 5 * strength[: low[1] // 2].mean(), "the loss must ask for changes of the face"
