"""Training DAE-GAN on a remote GPU, rehearsed on the CPU at two sizes."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mimicam.engine.models.daegan.presets import PRESETS, build
from mimicam.engine.models.daegan.weights import load_daegan
from mimicam.training.daegan.recipe import DaeGanRecipe
from scripts.gpu_train_daegan import main
from scripts.remote_training.daegan_phases import PHASES, Weights, options_of
from scripts.remote_training.daegan_session import START, DaeGanSession, DaeGanSessionOptions
from scripts.remote_training.daegan_snapshots import FILES, DaeGanSnapshots
from scripts.remote_training.pack import PackOptions, write_folder
from scripts.remote_training.session import Deadline
from tests.training.packs import write_pack

SMALL = PRESETS["daegan-compact-64"]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packs")
    packs = (write_pack(root / "clips"), write_pack(root / "heads", people=2, frames=4, validation=()))
    torch.manual_seed(1)
    model = build(SMALL)
    checkpoint = {"recipe": "daegan", "step": 9, "modules": {"model": model.state_dict()}}
    torch.save(checkpoint, root / "checkpoint.pt")
    write_folder(PackOptions(packs=packs, out=root / "small", size=64, daegan=root / "checkpoint.pt"))
    return root / "small"


@pytest.fixture
def session(pack: Path) -> DaeGanSession:
    phases = tuple(replace(phase, batch=2, steps=2) for phase in PHASES[:2])
    options = DaeGanSessionOptions(pack=pack, phases=phases, weights=Weights(), validation=2, device="cpu")
    return DaeGanSession(options, Deadline(math.inf))


def test_a_rehearsal_grows_and_leaves_three_small_files(pack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--rehearse", "--pack", str(pack), "--out", str(out), "--shares", "1", "0", "1", "0"]
    assert main(options) == 0
    files = {path.name: path.stat().st_size for path in out.iterdir()}
    assert set(files) == set(FILES)
    assert max(files.values()) < 16 * 2**20
    assert load_daegan(out / "model.safetensors").config.size == 128
    facts = json.loads((out / "report.json").read_text())
    assert [row["phase"] for row in facts["history"]] == ["embedders-64", "embedders-64", "all-128"]
    assert [row["step"] for row in facts["history"]] == [1, 2, 4]
    assert facts["started_from"] == START
    assert facts["loss_content"] > 0
    assert facts["loss_guidance"] > 0
    assert {"follow_mouth", "follow_lids", "follow_turn"} <= facts.keys()
    assert {"l1_generator", "psnr_generator", "l1_copy", "waiting_share", "samples_per_s"} <= facts.keys()


def test_a_session_starts_from_the_embedders_of_the_pack(session: DaeGanSession) -> None:
    torch.manual_seed(1)
    given = build(SMALL).state_dict()
    recipe = session._recipe(session._options.phases[0], Deadline(math.inf), None)
    for model in (recipe.model, recipe.result):
        own = model.state_dict()
        name = "pose_embedder.affine.weight"
        torch.testing.assert_close(own[name], given[name], atol=1e-5, rtol=1e-3)
        assert not torch.equal(own["generator.stem.weight"], given["generator.stem.weight"])


def test_a_signal_ends_the_session_with_all_files(session: DaeGanSession, tmp_path: Path) -> None:
    write = DaeGanSnapshots.write
    with pytest.MonkeyPatch.context() as patch:

        def noted(self: DaeGanSnapshots, *given: object) -> None:
            write(self, *given)
            os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(DaeGanSnapshots, "write", noted)
        assert session.train(tmp_path / "out") == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(FILES)


def test_memory_that_is_short_halves_the_batch(
    session: DaeGanSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def steps(run: object, *_: object) -> None:
        seen.append(run.phase.batch)
        if len(seen) < 3:
            raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(session, "_steps", steps)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    phase = replace(PHASES[0], batch=64)
    recipe = session._recipe(phase, Deadline(math.inf), None)
    written = []
    snapshots = type("Snapshots", (), {"write": lambda *given: written.append(given)})()
    session._run(phase, recipe, Deadline(math.inf), snapshots)
    assert seen == [64, 32, 16]
    assert len(written) == 1


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    recipe = DaeGanRecipe(options_of(PHASES[0], Weights().without_perceptual()), config=SMALL)
    snapshots = DaeGanSnapshots(tmp_path)
    snapshots.write(recipe, None, {"step": 1})
    good = (tmp_path / "model.safetensors").read_bytes()
    with torch.no_grad():
        next(recipe.result.parameters()).fill_(math.nan)
    snapshots.write(recipe, None, {"step": 2})
    assert (tmp_path / "model.safetensors").read_bytes() == good
    facts = json.loads((tmp_path / "report.json").read_text())
    assert (facts["step"], facts["weights_finite"]) == (2, False)


def test_a_pack_without_weights_is_refused(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(pack, tmp_path / "small")
    (tmp_path / "small" / START).unlink()
    assert main(["--rehearse", "--pack", str(tmp_path / "small"), "--out", str(tmp_path / "out")]) == 1
    assert "pack it with --daegan" in capsys.readouterr().err


def test_a_session_without_time_is_refused(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--rehearse", "--pack", str(pack), "--out", str(tmp_path / "out"), "--minutes", "0"]) == 1
    assert capsys.readouterr().err == "error: --minutes passed while the data was read: give more\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_nothing_is_trained(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--pack", str(pack), "--out", str(tmp_path / "out")]) == 2
    assert "no GPU" in capsys.readouterr().err


def test_phases_share_the_time_and_grow() -> None:
    assert sum(phase.share for phase in PHASES) == pytest.approx(1)
    assert [phase.size for phase in PHASES] == sorted(phase.size for phase in PHASES)
    assert all(phase.config.size == phase.size for phase in PHASES)
