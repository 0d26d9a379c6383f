"""The compact preset in PyTorch as one step a frame; the GPU is the processor here, unless there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the GPU path needs torch")

from mimicam.benchmarks.host_gpu import HostGpu  # noqa: E402
from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.engine.models.compact.bundle_info import COMPACT_DIR  # noqa: E402
from mimicam.engine.models.compact.flat import CompactGenerator  # noqa: E402
from mimicam.engine.models.compact.frame_graph import compact_networks, open_compact_half  # noqa: E402
from mimicam.engine.models.compact.network import Compact  # noqa: E402
from mimicam.engine.models.load import load_model  # noqa: E402
from mimicam.engine.pipeline import Pipeline  # noqa: E402
from mimicam.engine.portrait import enroll  # noqa: E402
from mimicam.engine.types import EditSettings, Frame  # noqa: E402
from tests.stages.material import bundled, driver_clip  # noqa: E402


@pytest.mark.slow  # convolutions in half precision: 50 s on a CPU that has none
def test_half_precision_loses_less_than_an_export_may() -> None:
    """On real weights and a real drive. Seen on x86-64, 2026-11: under 6 grey levels at single pixels."""
    pictures = _clip(HostGpu())
    apart = [np.abs(got.astype(int) - want) for got, want in pictures]
    assert max(a.max() for a in apart) <= 6
    assert max(a.mean() for a in apart) <= 0.3


def test_in_float32_it_is_the_model_itself() -> None:
    torch.manual_seed(2)
    model = Compact().eval()
    networks = compact_networks(model, HostGpu(), half=False)
    generator = networks["generator"]
    for name, value in generator.inputs.items():
        rng = torch.Generator().manual_seed(len(name))
        value.copy_(torch.rand(value.shape, generator=rng) - 0.3)
    generator.inputs["head"][:, 2] = 0.4
    generator.enqueue()
    with torch.no_grad():
        want = CompactGenerator(model)(*generator.inputs.values())
    for got, exact in zip(generator.outputs.values(), want, strict=True):
        assert torch.allclose(got, exact, atol=1e-6)


@pytest.mark.gpu
def test_a_real_gpu_draws_what_openvino_draws() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU and a CUDA build of PyTorch")
    from mimicam.engine.backends.cuda.device import CudaGpu

    for got, want in _clip(CudaGpu()):
        assert np.abs(got.astype(int) - want).mean() <= 0.5


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
@pytest.mark.parametrize("backend", ["torch-half", "torch-compile"])
def test_without_a_gpu_it_is_refused_and_nothing_else_is_taken(backend: str) -> None:
    with pytest.raises(EngineError, match=r"PyTorch is built for the CPU|no GPU 0"):
        load_model("compact", backend)


def _clip(gpu: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames of the bundled clip, live, beside the reference's."""
    models = (open_compact_half(COMPACT_DIR, gpu=gpu), load_model("compact", "torch"))
    assert models[0].sha256 == models[1].sha256
    portrait = enroll(bundled("rosa.jpg"), model=models[1])
    shown = []
    for model in models:
        pipeline = Pipeline(model=model, portrait=portrait, edit=EditSettings(), size=(256, 256))
        frames = (
            Frame(image=image, seq=n, captured_ns=n * 200_000_000)
            for n, image in enumerate(driver_clip()[2:3])
        )
        shown.append([pipeline.step(frame).image.copy() for frame in frames])
    return list(zip(*shown, strict=True))
