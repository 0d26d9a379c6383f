"""The compact preset's frame as one CUDA graph, against the same networks on the processor: no clip, no OpenVINO."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the GPU path needs torch")

from mimicam.benchmarks.host_gpu import HostGpu  # noqa: E402
from mimicam.engine.backends.cuda.device import Gpu  # noqa: E402
from mimicam.engine.backends.networks import ModelInfo  # noqa: E402
from mimicam.engine.models.compact.frame_graph import GpuCompact, compact_networks  # noqa: E402
from mimicam.engine.models.compact.network import Compact  # noqa: E402
from mimicam.engine.models.compact.spec import (  # noqa: E402
    CONDITIONING,
    CompactConfig,
    generator_spec,
)
from mimicam.engine.stages.composite import Composite  # noqa: E402
from mimicam.engine.types import CropBox, Float, Image, WarpFields  # noqa: E402

SMALL = CompactConfig(size=64, latent=16, widths=(8, 8, 16, 16), embed=4)
FULL_LIMIT, HALF_LIMIT = 2e-3, 5e-2
"""Largest error, as a share of a layer's range. Guesses, since no GPU has run this yet: float32 adds
up in another order, and half precision loses 1e-3 a layer."""


def test_two_builds_of_the_graph_draw_the_same_frames() -> None:
    """On the processor nothing may differ: the comparison below is of the same work."""
    first, second = (_frames(HostGpu(), half=False) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a, b)
    assert len({frame.tobytes() for frame in first[-2:]}) == 2, "drives differ, so do their frames"


def test_half_precision_stays_near() -> None:
    _compare(_frames(HostGpu(), half=True), _frames(HostGpu(), half=False), HALF_LIMIT)


@pytest.mark.gpu
@pytest.mark.parametrize(("half", "limit"), [(False, FULL_LIMIT), (True, HALF_LIMIT)])
def test_a_captured_frame_on_a_gpu_is_the_processors(
    half: bool, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU and a CUDA build of PyTorch")
    from mimicam.engine.backends.cuda.device import CudaGpu

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    _compare(_frames(CudaGpu(), half=half), _frames(HostGpu(), half=False), limit)


def _compare(got: list[np.ndarray], want: list[np.ndarray], limit: float) -> None:
    for a, b in zip(got, want, strict=True):
        assert np.isfinite(a).all()
        if b.dtype == np.uint8:  # a finished picture: where layers meet, single pixels may differ more
            assert np.abs(a.astype(int) - b).mean() <= 255 * limit / 10
        else:
            assert np.abs(a - b).max() <= limit * max(1.0, float(np.abs(b).max()))


def _frames(gpu: Gpu, *, half: bool) -> list[np.ndarray]:
    """Warp fields and finished pictures of three targets of one portrait, from replays after the capture."""
    torch.manual_seed(5)
    model = Compact(SMALL).eval()
    with torch.no_grad():
        for value in model.parameters():  # the zeroed layers too: an untrained model would hide them
            value.add_(0.03 * torch.randn(value.shape))
    info = ModelInfo(name="small", sha256="small", size=SMALL.size, backend="test")
    drawer = GpuCompact(compact_networks(model, gpu, half=half), gpu, info)
    crop = np.random.default_rng(0).integers(0, 256, (SMALL.size, SMALL.size, 3), np.uint8)
    features = drawer.encode(crop)
    drives = [_drive(seed) for seed in range(3)]
    layers = [array.copy() for drive in drives for array in _arrays(drawer.generate(features, drive))]
    return [*layers, *_pictures(drawer, features, drives)]


def _pictures(drawer: GpuCompact, features: object, drives: list[dict[str, Float]]) -> list[Image]:
    canvas = drawer.open_canvas()
    assert canvas is not None
    box = CropBox(x_px=10.0, y_px=6.0, size_px=float(SMALL.size))
    ramp = np.linspace(0, 255, 3 * 90 * 100, dtype=np.uint8).reshape(90, 100, 3)
    canvas.enter(features, Composite(ramp, box, (96, 80)).texture(SMALL.size))  # type: ignore[arg-type]
    mouth = np.zeros((4, SMALL.size, SMALL.size), np.float32)
    return [canvas(drive, mouth).copy() for drive in drives]


def _arrays(layers: WarpFields) -> tuple[np.ndarray, ...]:
    return layers.inpaint, layers.visibility, layers.flow


def _drive(seed: int) -> dict[str, Float]:
    rng = np.random.default_rng(seed)
    drive = {
        tensor.name: rng.uniform(0, 1, tensor.shape[1:]).astype(np.float32)
        for tensor in generator_spec(SMALL).inputs
        if tensor.name in CONDITIONING
    }
    points = rng.uniform(-0.6, 0.6, (2, SMALL.points, 3)).astype(np.float32)
    affine = np.eye(2, 3) + rng.uniform(-0.02, 0.02, (2, 3))
    drive |= {"source_points": points[0], "target_points": points[1]}
    return drive | {"affine": affine.astype(np.float32), "head": np.array([0.0, 0.0, 0.4], np.float32)}
