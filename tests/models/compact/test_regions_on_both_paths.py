"""Gains of regions on both paths of the compact family: composited on the host, and by a frame graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mimicam.engine.models.base import Features
from mimicam.engine.models.compact.reenactor import CompactReenactor
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.neutral import Neutral, read_expression
from mimicam.engine.types import CropBox, EditSettings, Float, Image
from tests.pipeline.fake_model import FakeModel
from tests.stages.material import motion, pose

PORTRAIT = motion(pose(scale=0.4))
DRIVER = motion(pose(yaw=10, scale=0.4), jawOpen=0.7, browInnerUp=0.6, eyeBlinkLeft=0.8)
SETTINGS = EditSettings(eyes_gain=0.5, brows_gain=2.0, mouth_gain=0.0, jaw_gain=1.5, pose_gain=0.5)


class RecordingCanvas:
    """A frame graph that draws nothing and keeps what it is given."""

    def __init__(self) -> None:
        self.conditionings: list[Mapping[str, Float]] = []

    def enter(self, features: Features, texture: Any) -> None:
        pass

    def __call__(self, conditioning: Mapping[str, Float], mouth: Float, hair: Any = None) -> Image:  # noqa: ARG002
        self.conditionings.append(conditioning)
        return np.zeros((64, 64, 3), np.uint8)


def test_a_frame_graph_gets_what_the_host_draws() -> None:
    model, canvas = FakeModel(), RecordingCanvas()
    picture = np.full((80, 80, 3), 90, np.uint8)
    features = model.encode(picture)
    for graph in (None, canvas):
        around = Composite(picture, CropBox(x_px=8.0, y_px=8.0, size_px=64.0), (64, 64))
        stages = CompactReenactor(model, smooth=False, graph=graph).for_portrait(PORTRAIT, features, around)
        neutral = Neutral(face=DRIVER, expression=read_expression(DRIVER))
        for settings in (EditSettings(), SETTINGS):
            stages.composite(stages.generate(stages.edit(DRIVER, neutral, settings)))
    for on_host, on_device in zip(model.conditionings, canvas.conditionings, strict=True):
        for name, value in on_host.items():
            np.testing.assert_array_equal(on_device[name], value)
    plain, regions = canvas.conditionings
    assert np.abs(plain["target_points"] - regions["target_points"]).max() > 0.01, "the gains change nothing"
