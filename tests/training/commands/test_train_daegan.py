"""The command trains on a pack, goes on where it stopped, and writes a model the engine loads."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mimicam.engine.commands import main
from mimicam.engine.errors import EngineError
from mimicam.engine.models.daegan.weights import load_daegan
from mimicam.training.commands.train.daegan import TrainDaeGan
from tests.training.dpe.conftest import blob
from tests.training.packs import write_pack


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Two segments of four frames, the second for validation."""
    folder = tmp_path / "pack"
    folder.mkdir()
    frames = torch.stack([blob(0.1 * k - 0.3, 0.03 * k, 64) for k in range(8)])
    np.save(folder / "frames.npy", ((frames + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy())
    (folder / "segments.json").write_text(json.dumps([{"validation": False}, {"validation": True}]))
    np.savez(
        folder / "track.npz",
        landmarks=np.zeros((8, 478, 3), np.float32),
        blendshapes=np.zeros((8, 52), np.float32),
        segment=np.repeat([0, 1], 4),
    )
    return folder


def command(pack: Path, **options: object) -> TrainDaeGan:
    common = {
        "out": pack.parent / "run",
        "preset": "daegan-debug",
        "frames": 2,
        "batch": 2,
        "stage_one_steps": 1,
        "device": "cpu",
    }
    return TrainDaeGan(pack=pack, **(common | options))


def test_it_trains_resumes_and_writes_a_model(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command(pack, steps=2).run()
    first = load_daegan(pack.parent / "run" / "model.safetensors").state_dict()
    command(pack, steps=4).run()
    second = load_daegan(pack.parent / "run" / "model.safetensors").state_dict()
    assert "continuing at step 2" in capsys.readouterr().out
    assert any(not torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("file", ["model.safetensors", "checkpoint.pt"])
def test_it_fine_tunes_from_a_former_run(pack: Path, tmp_path: Path, file: str) -> None:
    command(pack, steps=2).run()
    former = load_daegan(tmp_path / "run" / "model.safetensors").state_dict()
    # At a rate of 0 nothing changes: what comes out is what went in.
    command(pack, out=tmp_path / "tuned", weights=tmp_path / "run" / file, steps=1, lr=0.0).run()
    tuned = load_daegan(tmp_path / "tuned" / "model.safetensors").state_dict()
    assert all(torch.equal(former[name], tuned[name]) for name in former)
    checkpoints = [torch.load(tmp_path / run / "checkpoint.pt")["modules"] for run in ("run", "tuned")]
    pairs = [(checkpoints[0]["discriminator"][k], v) for k, v in checkpoints[1]["discriminator"].items()]
    assert all(torch.equal(a, b) for a, b in pairs) == (file == "checkpoint.pt")


def test_weights_of_another_kind_are_refused(pack: Path, tmp_path: Path) -> None:
    command(pack, steps=1).run()
    for name, message in (("none.pt", "does not exist"), ("other.pt", "recipe 'compact'")):
        torch.save({"recipe": "compact"}, tmp_path / "other.pt")
        with pytest.raises(EngineError, match=message):
            command(pack, out=tmp_path / "tuned", weights=tmp_path / name, steps=1).run()
    with pytest.raises(EngineError, match="give its --preset"):
        command(
            pack, out=tmp_path / "small", preset="daegan-small", steps=1,
            weights=tmp_path / "run" / "model.safetensors",
        ).run()  # fmt: skip


def test_a_compact_run_with_rendered_heads_grows(pack: Path, tmp_path: Path) -> None:
    options = {"synthetic": pack, "synthetic_share": 0.5, "augment": True, "fewest_frames": 1, "batch": 4}
    command(pack, preset="daegan-compact-64", steps=2, alternate_embedders=True, **options).run()
    small = tmp_path / "run" / "checkpoint.pt"
    # At a rate of 0 nothing but the running means changes.
    command(pack, out=tmp_path / "large", preset="daegan-compact-128", weights=small, steps=1, lr=0.0).run()
    first, second = (
        load_daegan(tmp_path / run / "model.safetensors").state_dict() for run in ("run", "large")
    )
    for name in ("pose_embedder.encoder.code.weight", "generator.middle.0.conv_1.weight"):
        assert torch.equal(first[name], second[name])
    with pytest.raises(EngineError, match="does not grow to this --preset"):
        command(
            pack,
            out=tmp_path / "back",
            preset="daegan-compact-64",
            weights=tmp_path / "large" / "checkpoint.pt",
        ).run()
    with pytest.raises(EngineError, match="was trained with --preset daegan-compact-64"):
        command(pack, steps=4).run()
    with pytest.raises(EngineError, match="leave no clips in a batch"):
        command(pack, synthetic=pack, synthetic_share=1.0).run()


def test_the_first_stage_is_counted_in_epochs_too(pack: Path) -> None:
    # Four frames of training in batches of two: two steps an epoch.
    assert command(pack, stage_one_epochs=30)._stage_one_steps() == 60
    assert command(pack, stage_one_steps=7)._stage_one_steps() == 7


def test_it_learns_at_the_rate_that_was_asked_for(pack: Path) -> None:
    states = []
    for steps in (2, 4):
        command(pack, steps=steps, lr=0.0).run()
        states.append(load_daegan(pack.parent / "run" / "model.safetensors").state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_what_it_wrote_renders(backend: str, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(pack.parent))
    monkeypatch.setenv("LOCALAPPDATA", str(pack.parent))
    command(pack, steps=2).run()
    faces = [pack.parent / f"{n}.png" for n in range(2)]
    for face, image in zip(faces, np.load(pack / "frames.npy")[::4], strict=True):
        assert cv2.imwrite(str(face), image[:, :, ::-1])
    out = pack.parent / "out.png"
    render = ["render", *map(str, faces), "-o", str(out), "--aligned", "--backend", backend]
    assert main([*render, "--model", str(pack.parent / "run" / "model.safetensors")]) == 0
    assert cv2.imread(str(out)).shape == (32, 32, 3)


def test_what_is_no_pack_or_preset_is_refused(pack: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="not a pack"):
        command(tmp_path).run()
    with pytest.raises(EngineError, match="no preset 'huge'"):
        command(pack, preset="huge").run()
    with pytest.raises(EngineError, match="normalises over the batch: give --batch 2"):
        command(pack, preset="daegan-compact-64", batch=1).run()


def test_a_guided_run_goes_on_and_writes_the_average(tmp_path: Path) -> None:
    clips = write_pack(tmp_path / "clips", people=2, frames=3)
    command(clips, steps=1).run()
    # A run may get guidance and an average later.
    options = {"guidance": 2.0, "average": 0.9, "adversarial": 0.2, "adversarial_steps": 5, "clip": 10.0}
    command(clips, steps=2, lr_discriminator=2e-4, **options).run()
    written = load_daegan(tmp_path / "run" / "model.safetensors").state_dict()
    modules = torch.load(tmp_path / "run" / "checkpoint.pt")["modules"]
    name = "face_embedder.head.weight"
    torch.testing.assert_close(written[name], modules["average"][name])
    assert not torch.equal(modules["average"][name], modules["model"][name])
    # It started from the weights of the run, not from fresh ones.
    torch.testing.assert_close(modules["average"][name], modules["model"][name], atol=1e-3, rtol=0)
    assert "guidance" in modules
    # Another run may start from it without either.
    command(clips, out=tmp_path / "tuned", weights=tmp_path / "run" / "checkpoint.pt", steps=1, lr=0.0).run()
    tuned = load_daegan(tmp_path / "tuned" / "model.safetensors").state_dict()
    assert torch.equal(tuned[name], modules["model"][name])


def test_an_average_starts_from_given_weights(tmp_path: Path) -> None:
    clips = write_pack(tmp_path / "clips", people=2, frames=3)
    command(clips, steps=1).run()
    given = load_daegan(tmp_path / "run" / "model.safetensors").state_dict()
    weights = tmp_path / "run" / "model.safetensors"
    command(clips, out=tmp_path / "tuned", weights=weights, steps=1, lr=0.0, average=0.9).run()
    tuned = load_daegan(tmp_path / "tuned" / "model.safetensors").state_dict()
    assert all(torch.allclose(tuned[name], value) for name, value in given.items())


def test_weights_of_losses_are_the_papers_unless_given(pack: Path) -> None:
    options = command(pack)._options()
    assert (options.guidance, options.adversarial, options.perceptual) == (0.0, 1.0, 0.0)
    assert options.lr_discriminator == pytest.approx(4 * options.lr_generator)
    given = command(pack, perceptual=Path("mobilenet_v2.pth"), lr_discriminator=1e-4)._options()
    assert (given.perceptual, given.perceptual_embedders, given.lr_discriminator) == (1.5, 0.1, 1e-4)
