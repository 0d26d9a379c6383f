"""The training commands: what they refuse before they start, and a run from a pack to a rendered picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mimicam.engine.commands import main
from mimicam.engine.errors import EngineError
from mimicam.training.commands.train import name_branches
from mimicam.training.commands.train.dpe import TrainDpe
from mimicam.training.commands.train.name_branches import NameBranches
from mimicam.training.dpe.branches import BranchReport
from mimicam.training.losses import perceptual
from tests.training.dpe.conftest import blob

NONE = Path("none")


def train(tmp_path: Path, **options: object) -> TrainDpe:
    files = {
        "pack": tmp_path,
        "out": tmp_path / "run",
        "landmarks": NONE,
        "blendshapes": NONE,
        "device": "cpu",
    }
    return TrainDpe(**(files | {"preset": "debug"} | options))


@pytest.mark.parametrize("given", [{}, {"vgg": NONE, "mobilenet": NONE}], ids=["neither", "both"])
def test_the_perceptual_weights_must_be_given_once(tmp_path: Path, given: dict[str, Path]) -> None:
    with pytest.raises(EngineError, match="one of --vgg and --mobilenet"):
        train(tmp_path, **given).run()


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no preset 'huge'"):
        train(tmp_path, preset="huge").run()


def test_missing_face_networks_are_refused(tmp_path: Path) -> None:
    command = NameBranches(
        run_folder=tmp_path, out=tmp_path / "m.safetensors", pack=tmp_path, landmarks=NONE, blendshapes=NONE
    )
    with pytest.raises(EngineError, match="none is missing"):
        command.run()


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Two people of eight frames, the second for validation."""
    folder = tmp_path / "pack"
    folder.mkdir()
    frames = torch.stack([blob(0.05 * k - 0.3, 0.02 * k, 64) for k in range(16)])
    np.save(folder / "frames.npy", ((frames + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy())
    people = [{"validation": False, "identity": "a"}, {"validation": True, "identity": "b"}]
    (folder / "segments.json").write_text(json.dumps(people))
    np.savez(
        folder / "track.npz",
        landmarks=np.zeros((16, 478, 3), np.float32),
        blendshapes=np.zeros((16, 52), np.float32),
        segment=np.repeat([0, 1], 8),
    )
    return folder


@pytest.fixture
def mobilenet(tmp_path: Path) -> Path:
    """Torchvision's names, random values."""
    state = perceptual._features(perceptual._TAPS[2]).state_dict()
    torch.save({f"features.{name}": value for name, value in state.items()}, tmp_path / "mobilenet.pth")
    return tmp_path / "mobilenet.pth"


def test_a_run_goes_on_with_its_own_settings_only(
    pack: Path, mobilenet: Path, face_files: tuple[Path, Path], tmp_path: Path
) -> None:
    faces = dict(zip(("landmarks", "blendshapes"), face_files, strict=True))
    options = {"pack": pack, "mobilenet": mobilenet, "batch": 1, **faces}
    train(tmp_path, steps=1, ema=0.99, **options).run()
    with pytest.raises(EngineError, match=r"was trained with --ema 0\.99: give this to continue"):
        train(tmp_path, steps=2, **options).run()
    path = tmp_path / "run" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    del state["settings"]  # as versions before 2026-11-26 wrote it
    torch.save(state, path)
    with pytest.raises(EngineError, match=r"--pairs mined --r1 10 --ema 0\.999: give this to continue"):
        train(tmp_path, steps=2, **options).run()
    train(tmp_path, steps=2, ema=0.999, r1=10, pairs="mined", **options).run()
    assert torch.load(path, weights_only=True)["step"] == 2


def test_a_batch_is_shared_by_the_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 8)
    assert train(tmp_path)._share() == 4, "the paper's 32 together"
    with pytest.raises(EngineError, match="give a multiple"):
        train(tmp_path, batch=12)._share()


def test_a_run_goes_on_is_written_and_renders(
    pack: Path, mobilenet: Path, face_files: tuple[Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    faces = dict(zip(("landmarks", "blendshapes"), face_files, strict=True))
    for steps in (5, 20):
        train(tmp_path, pack=pack, mobilenet=mobilenet, batch=1, steps=steps, bf16=steps == 5, **faces).run()
    assert "continuing at step 5" in capsys.readouterr().out
    (row,) = csv.DictReader((tmp_path / "run" / "curve.csv").open(newline=""))
    assert row["step"] == "20"
    assert float(row["perceptual"]) > 0
    clear = BranchReport(first_expression=0.9, first_pose=0.0, second_expression=0.0, second_pose=0.9)
    monkeypatch.setattr(
        name_branches, "measure_branches", lambda *_: clear
    )  # twenty steps tell nothing apart
    model, out = tmp_path / "dpe.safetensors", tmp_path / "out.png"
    NameBranches(run_folder=tmp_path / "run", out=model, pack=pack, preset="debug", **faces).run()
    driver = tmp_path / "driver.png"
    assert cv2.imwrite(str(driver), np.load(pack / "frames.npy")[12][:, :, ::-1])
    render = ["render", str(driver), str(driver), "-o", str(out), "--aligned", "--backend", "torch"]
    assert main([*render, "--model", str(model), "--mode", "exp"]) == 0
    assert cv2.imread(str(out)).shape == (64, 64, 3)
