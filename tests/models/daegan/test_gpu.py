"""DAE-GAN in half precision, rehearsed on the CPU, against the networks in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mimicam.engine.backends.export_folder import Manifest, NetworkFile
from mimicam.engine.models.daegan import gpu as daegan_gpu
from mimicam.engine.models.daegan.compact import CompactDaeGan
from mimicam.engine.models.daegan.compact_config import DAEGAN_COMPACT_64
from mimicam.engine.models.daegan.gpu import open_half, torch_networks
from mimicam.engine.models.daegan.inference import DaeGanParts
from mimicam.engine.models.daegan.model import NETWORKS
from mimicam.engine.models.daegan.network import DaeGan
from mimicam.engine.models.load import load_model
from mimicam.engine.types import Image

HostGpu = pytest.importorskip("mimicam.benchmarks.host_gpu").HostGpu


def test_a_model_on_a_gpu_draws_what_the_reference_draws(weights: Path, aligned: tuple[Image, ...]) -> None:
    half, reference = open_half(weights, gpu=HostGpu()), load_model(str(weights), "torch")
    assert "fp16" in half.backend
    features = reference.encode_frames(aligned[:2])
    own = half.encode_frames(aligned[:2])
    for name, array in features.arrays.items():
        np.testing.assert_allclose(own.arrays[name], array, atol=0.02 * np.abs(array).max())
    drawn = []
    for crop in aligned[2:4]:
        code = reference.read_motion(crop).expression
        a, b = (
            m.generate(features, expression=code, pose=None).astype(int).copy() for m in (half, reference)
        )
        assert np.abs(a - b).max() <= 2  # measured 1 in float16 on a CPU, torch 2.13, 2026-11
        drawn.append(a)
    assert np.abs(drawn[0] - drawn[1]).max() > 10, "pictures that do not follow the driver"


@pytest.mark.parametrize("preset", ["debug", "compact"])
def test_every_network_has_the_shapes_of_its_spec(preset: str, daegan: DaeGan) -> None:
    parts = DaeGanParts(daegan if preset == "debug" else CompactDaeGan(DAEGAN_COMPACT_64))
    networks = torch_networks(parts, HostGpu())
    assert tuple(networks) == NETWORKS
    for name, spec in parts.specs.items():
        assert {n: tuple(v.shape) for n, v in networks[name].outputs.items()} == {
            t.name: t.shape for t in spec.outputs
        }
        assert all(value.dtype == torch.float32 for value in networks[name].outputs.values())


def test_plans_are_opened_by_name(monkeypatch: pytest.MonkeyPatch, daegan: DaeGan, tmp_path: Path) -> None:
    """The plans themselves are tested with TensorRT; here PyTorch takes their place."""
    parts = DaeGanParts(daegan)
    made, spec = torch_networks(parts, HostGpu()), parts.specs["pose_encoder"]
    facts = Manifest(
        model="m", model_sha256="0" * 64, precision="fp16", opset=20, limit=0.01,
        networks=(
            NetworkFile(
                name="pose_encoder", onnx="", sha256="", check="", inputs=spec.inputs, outputs=spec.outputs
            ),
        ),
    )  # fmt: skip
    api = type("Api", (), {"name": "TensorRT"})
    asked: list[str] = []
    monkeypatch.setattr(daegan_gpu.export_folder, "read_manifest", lambda _folder: facts)
    monkeypatch.setattr(
        daegan_gpu, "open_network", lambda _folder, name, **_: (asked.append(name), made[name])[1]
    )
    model = daegan_gpu.open_plans(tmp_path, gpu=HostGpu(), api=api, cache=object())
    assert tuple(asked) == NETWORKS
    assert model.size == daegan.config.size
    assert model.backend == "TensorRT fp16, rehearsal on the CPU"
