"""What a clip feeds the networks, for calibration and for measuring rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks are traced in torch")

from mimicam.engine.models.daegan.config import DAEGAN_DEBUG  # noqa: E402
from mimicam.engine.models.daegan.network import DaeGan  # noqa: E402
from mimicam.engine.models.daegan.weights import save_daegan  # noqa: E402
from mimicam.export.clip_inputs import clip_inputs  # noqa: E402
from mimicam.export.commands.export import Export  # noqa: E402
from mimicam.export.networks import load_networks  # noqa: E402


@pytest.fixture(scope="module")
def daegan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("daegan") / "daegan.safetensors"
    save_daegan(DaeGan(DAEGAN_DEBUG), path)
    return path


def test_a_daegan_is_exported_in_half_precision_as_a_user_does(daegan: Path, tmp_path: Path) -> None:
    command = Export(model=str(daegan), out=tmp_path, target="onnx", precision="fp16")
    assert not command.run()
    assert (tmp_path / "manifest.json").is_file()


@pytest.mark.parametrize("model", ["random:compact", "random:debug", "daegan"])
def test_every_network_is_fed_what_it_takes(model: str, daegan: Path) -> None:
    networks = load_networks(str(daegan) if model == "daegan" else model)
    found = clip_inputs(networks, 2)
    for network in networks:
        assert found[network.name], network.name
        for inputs in found[network.name]:
            assert {n: v.shape for n, v in inputs.items()} == {
                n: tuple(v.shape) for n, v in network.inputs.items()
            }
            assert all(np.isfinite(v).all() for v in inputs.values())


@pytest.mark.parametrize("precision", [pytest.param("fp16", marks=pytest.mark.slow), "int8"])
def test_the_bundled_model_is_exported_as_a_user_does(precision: str, tmp_path: Path) -> None:
    command = Export(model="compact", out=tmp_path, target="onnx", precision=precision)  # type: ignore[arg-type]
    assert not command.run()
    assert (tmp_path / "manifest.json").is_file()
