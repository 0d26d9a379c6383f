"""What a clip feeds the networks, for calibration and for measuring rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks are traced in torch")

from export.cli import Export
from export.clip_inputs import clip_inputs
from export.networks import load_networks


@pytest.mark.parametrize("model", ["random:compact", "random:debug"])
def test_every_network_is_fed_what_it_takes(model: str) -> None:
    networks = load_networks(model)
    found = clip_inputs(networks, 2)
    for network in networks:
        assert found[network.name], network.name
        for inputs in found[network.name]:
            assert {n: v.shape for n, v in inputs.items()} == {
                n: tuple(v.shape) for n, v in network.inputs.items()
            }
            assert all(np.isfinite(v).all() for v in inputs.values())


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_bundled_model_is_exported_as_a_user_does(precision: str, tmp_path: Path) -> None:
    command = Export(model="compact", out=tmp_path, target="onnx", precision=precision)  # type: ignore[arg-type]
    assert not command.run()
    assert (tmp_path / "manifest.json").is_file()
