"""DAE-GAN model files: written completely, read exactly, or refused with one line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mimicam.engine.errors import EngineError
from mimicam.engine.models.daegan.config import DAEGAN_DEBUG
from mimicam.engine.models.daegan.network import DaeGan
from mimicam.engine.models.daegan.weights import load_daegan, save_daegan


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
