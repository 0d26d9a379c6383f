"""What the training commands refuse before they start."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import EngineError
from training.published.cli import TrainPublished, WritePublished

NONE = Path("none")


def train(tmp_path: Path, **options: object) -> TrainPublished:
    files = {
        "pack": tmp_path,
        "out": tmp_path / "run",
        "landmarks": NONE,
        "blendshapes": NONE,
        "device": "cpu",
    }
    return TrainPublished(**(files | {"preset": "debug"} | options))


@pytest.mark.parametrize("given", [{}, {"vgg": NONE, "mobilenet": NONE}], ids=["neither", "both"])
def test_the_perceptual_weights_must_be_given_once(tmp_path: Path, given: dict[str, Path]) -> None:
    with pytest.raises(EngineError, match="one of --vgg and --mobilenet"):
        train(tmp_path, **given).run()


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no preset 'huge'"):
        train(tmp_path, preset="huge").run()


def test_a_time_limit_is_refused_under_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(EngineError, match="--minutes"):
        train(tmp_path, minutes=1.0, vgg=NONE).run()


def test_missing_face_networks_are_refused(tmp_path: Path) -> None:
    command = WritePublished(
        run_folder=tmp_path, out=tmp_path / "m.safetensors", pack=tmp_path, landmarks=NONE, blendshapes=NONE
    )
    with pytest.raises(EngineError, match="none is missing"):
        command.run()
