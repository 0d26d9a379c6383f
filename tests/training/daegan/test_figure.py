"""Figure 7: its rows, and the colours of displacements."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mimicam.engine.assets_manifest import bundled_portraits
from mimicam.engine.commands import main
from mimicam.engine.models.daegan.config import DAEGAN_DEBUG
from mimicam.engine.models.daegan.network import DaeGan
from mimicam.engine.models.daegan.weights import save_daegan
from mimicam.training.daegan.figure import disentangled, flow_colours
from tests.videos import write_video

S = DAEGAN_DEBUG.size


@pytest.fixture(scope="module")
def model() -> DaeGan:
    torch.manual_seed(0)
    return DaeGan(DAEGAN_DEBUG).eval()


def test_rows_are_frames_reconstructions_faces_and_displacements(model: DaeGan) -> None:
    crops = [np.random.default_rng(k).integers(0, 256, (S, S, 3), np.uint8) for k in range(2)]
    grid = disentangled(model, crops)
    assert grid.shape == (4 * S, 2 * S, 3)
    frames, _, faces, _ = np.split(grid, 4)
    assert np.array_equal(frames, np.hstack(crops))
    # A fresh embedder does not warp: a frame's own face is the frame.
    assert np.abs(faces.astype(int) - frames).mean() < 12  # other noise is 85 away


def test_direction_is_hue_and_length_saturation() -> None:
    fields = torch.zeros(3, 2, 2, 2)
    fields[0, 0] = 0.4  # to the right: red
    fields[1, 1] = 0.2  # down, half as far: half of yellow-green
    right, down, still = (picture[0, 0].tolist() for picture in flow_colours(fields))
    assert right == [255, 0, 0]
    assert still == [255, 255, 255]
    assert down[1] == 255
    assert down[2] == pytest.approx(128, abs=1)


def test_the_command_draws_a_clip(model: DaeGan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    portrait = cv2.resize(cv2.imread(str(bundled_portraits()[0])), (128, 128), interpolation=cv2.INTER_AREA)
    clip = write_video(tmp_path / "clip.mp4", [np.ascontiguousarray(portrait[..., ::-1])] * 3)
    save_daegan(model, tmp_path / "m.safetensors")
    command = ["figure", "disentangle", str(clip), "--model", str(tmp_path / "m.safetensors"), "--count", "2"]
    assert main([*command, "-o", str(tmp_path / "out.png")]) == 0
    drawn = cv2.imread(str(tmp_path / "out.png"))
    assert drawn is not None
    assert drawn.shape == (4 * S, 2 * S, 3)
    assert main([*command, "-o", str(clip)]) == 1
    assert "would replace" in capsys.readouterr().err
