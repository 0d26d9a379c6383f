"""The ablation adds one part a row, continues where it stopped, and measures all rows alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mimicam.engine.models.daegan.config import DAEGAN_DEBUG
from mimicam.engine.models.daegan.network import PoseEmbedding
from mimicam.engine.models.daegan.trunk_weights import read_trunk
from mimicam.engine.models.daegan.weights import load_daegan
from mimicam.training.commands.train.daegan_ablation import TrainDaeGanAblation
from mimicam.training.daegan.ablation import PAPER, VARIANTS, measure, one_frame, single_scale
from mimicam.training.daegan.options import DaeGanOptions
from mimicam.training.daegan.recipe import DaeGanRecipe
from tests.training.packs import write_pack


def test_rows_are_the_papers_and_each_adds_one_part() -> None:
    assert [variant.name for variant in VARIANTS] == list(PAPER)
    parts = [
        (
            "smoothness" not in v.options,
            not v.single_frame,
            "reconstruct" not in v.options,
            v.generated,
            v.generated and "feature_matching" not in v.options,
        )
        for v in VARIANTS
    ]
    assert [sum(part) for part in parts] == [0, 1, 2, 3, 4, 5]


def test_one_scale_is_the_warp_alone() -> None:
    face = torch.rand(1, 3, 32, 32)
    still = PoseEmbedding(
        torch.zeros(1, 4), torch.zeros(1, 2, 8, 8), torch.ones(1, 3, 16, 16), torch.ones(1, 3, 32, 32)
    )
    torch.testing.assert_close(single_scale(face, still), face)
    shifted = still._replace(displacement=torch.full((1, 2, 8, 8), 2 * 4 / 32))
    torch.testing.assert_close(single_scale(face, shifted)[..., :-4, :-4], face[..., 4:, 4:])


def test_a_perfect_reconstruction_scores_one() -> None:
    torch.manual_seed(0)
    recipe = DaeGanRecipe(DaeGanOptions(reconstruct=lambda face, _: face), config=DAEGAN_DEBUG)
    # A fresh embedder hardly warps, so that a smooth face of one frame is this frame.
    coarse = torch.rand(6, 3, 6, 6) * 255
    smooth = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")
    frames = smooth.to(torch.uint8).view(2, 3, 3, 32, 32)
    batch = {"frames": frames, "target": frames[:, 0]}
    (alone,) = (v for v in VARIANTS if v.name == "smoothness")
    got = measure(recipe, [batch], alone, lambda fakes, reals: float(len(fakes) - len(reals)))
    assert got["ssim"] > 0.98
    assert got["frechet"] == 0
    (several,) = (v for v in VARIANTS if v.name == "multi-frame")
    assert measure(recipe, [batch], several, None)["ssim"] < got["ssim"]
    assert one_frame(batch)["frames"].shape[1] == 1


def test_the_command_writes_the_table_and_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = {
        "pack": write_pack(tmp_path / "pack", people=2, frames=3, size=32, validation=(0,)),
        "out": tmp_path / "out", "preset": "daegan-debug", "frames": 2, "batch": 1, "steps": 1, "measured": 1,
        "device": "cpu",
    }  # fmt: skip
    TrainDaeGanAblation(**command).run()
    facts = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert list(facts["figures"]) == list(PAPER)
    assert all(-1 <= values["ssim"] <= 1 for values in facts["figures"].values())
    assert "multi-scale" in capsys.readouterr().out
    TrainDaeGanAblation(**command).run()
    assert json.loads((tmp_path / "out" / "ablation.json").read_text()) == facts


def test_compact_rows_read_through_the_landmark_network(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack", people=2, frames=3, size=64, validation=(0,))
    out = tmp_path / "out"
    TrainDaeGanAblation(
        pack=pack, out=out, frames=1, batch=2, steps=1, measured=1, device="cpu", threads=1
    ).run()
    trunk = read_trunk()
    for variant in VARIANTS:
        encoder = load_daegan(out / variant.name / "model.safetensors").pose_embedder.encoder
        own = encoder.get_submodule("trunk").state_dict()
        assert all(torch.equal(own[name], value) for name, value in trunk.items()), variant.name
