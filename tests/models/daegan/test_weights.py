"""DAE-GAN model files: written completely, read exactly, or refused with one line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mimicam.engine.errors import EngineError
from mimicam.engine.models.daegan import weights
from mimicam.engine.models.daegan.compact_config import DAEGAN_COMPACT_64
from mimicam.engine.models.daegan.config import DAEGAN_DEBUG
from mimicam.engine.models.daegan.network import DaeGan, DaeGanNetworks
from mimicam.engine.models.daegan.presets import build
from mimicam.engine.models.daegan.trunk_weights import read_trunk
from mimicam.engine.models.daegan.weights import load_daegan, save_daegan, save_half


@pytest.fixture
def model() -> DaeGan:
    torch.manual_seed(0)
    return DaeGan(DAEGAN_DEBUG).eval()


def test_a_model_comes_back_the_same(tmp_path: Path, model: DaeGan) -> None:
    save_daegan(model, tmp_path / "m.safetensors")
    loaded = load_daegan(tmp_path / "m.safetensors")
    frames, driving = torch.rand(1, 2, 3, 32, 32), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(frames, driving), model(frames, driving))
    assert loaded.config == DAEGAN_DEBUG
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_an_impossible_place_is_refused_and_nothing_is_left(tmp_path: Path, model: DaeGan) -> None:
    with pytest.raises(EngineError, match="cannot be written"):
        save_daegan(model, tmp_path / "none" / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"format": "other"}, "not a DAE-GAN"),
        ({"format": "mimicam-daegan", "config": "{"}, "damaged header"),
        ({"format": "mimicam-daegan", "config": '{"wings": 2}'}, "damaged header"),
        (
            {"format": "mimicam-daegan", "config": json.dumps(asdict(DAEGAN_DEBUG) | {"code": 1 << 11})},
            "does not fit",
        ),
    ],
)
def test_a_foreign_header_is_refused(
    tmp_path: Path, model: DaeGan, header: dict[str, str], words: str
) -> None:
    save_file(model.state_dict(), tmp_path / "m.safetensors", metadata=header)
    with pytest.raises(EngineError, match=words):
        load_daegan(tmp_path / "m.safetensors")


def test_missing_and_truncated_files_are_refused(tmp_path: Path, model: DaeGan) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(EngineError, match="does not exist"):
        load_daegan(path)
    save_daegan(model, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(EngineError, match="damaged"):
        load_daegan(path)


def _compact(*, shipped_trunk: bool) -> DaeGanNetworks:
    torch.manual_seed(0)
    model = build(DAEGAN_COMPACT_64).eval()
    for embedder in (model.face_embedder, model.pose_embedder) if shipped_trunk else ():
        embedder.encoder.trunk.load_state_dict(read_trunk())
    return model


@pytest.mark.parametrize("shipped_trunk", [True, False])
def test_a_bundles_weights_are_halves_and_the_trunk_is_exact(shipped_trunk: bool, tmp_path: Path) -> None:
    model, path = _compact(shipped_trunk=shipped_trunk), tmp_path / "m.safetensors"
    save_half(model, path)
    assert any(".trunk." in name for name in load_file(path)) != shipped_trunk
    loaded, state = load_daegan(path).state_dict(), model.state_dict()
    assert loaded.keys() == state.keys()
    for name, value in state.items():
        exact = shipped_trunk and ".trunk." in name
        want = value if exact or not value.is_floating_point() else value.half().float()
        assert torch.equal(loaded[name], want), name


def test_a_trunk_that_the_tracker_no_longer_ships_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    save_half(_compact(shipped_trunk=True), path)
    monkeypatch.setattr(weights, "sha256_of", lambda _path: "0" * 64)
    with pytest.raises(EngineError, match="made for another landmark network: make the bundle again"):
        load_daegan(path)


def test_the_same_weights_give_the_same_bytes(tmp_path: Path, model: DaeGan) -> None:
    files = [tmp_path / f"{number}.safetensors" for number in range(8)]
    for file in files:
        save_half(model, file)
    assert len({file.read_bytes() for file in files}) == 1
    assert load_daegan(files[0]).config == DAEGAN_DEBUG
