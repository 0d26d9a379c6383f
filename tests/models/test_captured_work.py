"""Everything that is captured as a CUDA graph holds only what a capture allows; seen without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the GPU path needs torch")

from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from mimicam.benchmarks.gpu_steps import FORMS, REHEARSAL, canvas_of, open_variant, portrait_of  # noqa: E402
from mimicam.benchmarks.kernels.__main__ import BENCHES  # noqa: E402
from mimicam.engine.backends.cuda.networks import GpuNetworks  # noqa: E402
from mimicam.engine.backends.networks import ModelInfo  # noqa: E402
from mimicam.engine.models.compact import network as compact  # noqa: E402
from mimicam.engine.models.compact.frame_graph import GpuCompact, compact_networks  # noqa: E402
from mimicam.engine.models.compact.network import Compact  # noqa: E402
from mimicam.engine.models.compact.spec import CompactConfig  # noqa: E402
from mimicam.engine.models.dpe.folded import FoldedDpe  # noqa: E402
from mimicam.engine.models.dpe.gpu.code_state import CodeState  # noqa: E402
from mimicam.engine.models.dpe.gpu.mode_graph import CameraInput, ModeGraph, OutputSurface  # noqa: E402
from mimicam.engine.models.dpe.gpu.networks import torch_networks  # noqa: E402
from mimicam.engine.models.dpe.gpu.slots import SlotStep  # noqa: E402
from mimicam.engine.types import Mode  # noqa: E402
from mimicam.export.networks import random_dpe  # noqa: E402
from tests.capture import Forbidden, WatchedGpu, watched  # noqa: E402

SMALL = CompactConfig(size=64, latent=16, widths=(8, 8, 16, 16), embed=4)
SCALE = replace(REHEARSAL, batches=(2,))


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that on a GPU are one launch each: their PyTorch twins read matrices on the host, which does not count."""
    import mimicam.kernels.crop_normalize
    import mimicam.kernels.edit_codes
    import mimicam.kernels.paste_back
    import mimicam.kernels.warp_composite

    def one_launch(*_: Any, out: Tensor, **__: Any) -> Tensor:
        return out.zero_()

    for module in (
        mimicam.kernels.crop_normalize,
        mimicam.kernels.warp_composite,
        mimicam.kernels.paste_back,
        mimicam.kernels.edit_codes,
    ):
        name = module.__name__.rsplit(".", 1)[1]
        monkeypatch.setattr(module, name, one_launch)


def _compact(half: bool) -> tuple[WatchedGpu, GpuCompact]:
    torch.manual_seed(0)
    gpu = WatchedGpu()
    info = ModelInfo(name="small", sha256="small", size=SMALL.size, backend="test")
    return gpu, GpuCompact(compact_networks(Compact(SMALL).eval(), gpu, half=half), gpu, info)


@pytest.mark.parametrize("half", [False, True])
def test_the_compact_models_frame_can_be_captured(half: bool) -> None:
    from mimicam.engine.stages.composite import Composite
    from mimicam.engine.types import CropBox

    gpu, drawer = _compact(half)
    features = drawer.encode(np.full((SMALL.size, SMALL.size, 3), 90, np.uint8))
    canvas = drawer.open_canvas()
    assert canvas is not None
    box = CropBox(x_px=0.0, y_px=0.0, size_px=float(SMALL.size))
    canvas.enter(features, Composite(np.zeros((90, 90, 3), np.uint8), box, (64, 64)).texture(SMALL.size))
    assert gpu.captures == 2, "bare layers, and the finished picture"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", list(Mode))
def test_a_published_models_frame_can_be_captured(form: str, mode: Mode) -> None:
    """The forms for torch.compile too, as they are written: what it makes of them only a GPU shows."""
    gpu = WatchedGpu()
    networks = torch_networks(FoldedDpe(random_dpe("debug")), FORMS[form], gpu)
    codes = CodeState(gpu, 1, int(networks["pose_generator"].inputs["latent"].shape[1]))
    surface = OutputSurface(gpu, canvas_of(int(networks["motion_encoder"].inputs["image"].shape[-1]), SCALE))
    for camera in (CameraInput(gpu, SCALE.camera, networks["motion_encoder"]), None):
        ModeGraph(networks, gpu, mode=mode, camera=camera, codes=codes, surface=surface)
    assert gpu.captures == 2


def test_each_network_alone_can_be_captured() -> None:
    gpu = WatchedGpu()
    networks = torch_networks(FoldedDpe(random_dpe("debug")), FORMS["half"], gpu)
    GpuNetworks(networks, gpu)
    assert gpu.captures == len(networks) == 4


def test_a_batch_of_sessions_can_be_captured() -> None:
    gpu = WatchedGpu()
    networks = open_variant("half", FoldedDpe(random_dpe("debug")), gpu, SCALE, batch=2)
    portrait_of(networks, gpu)
    SlotStep(networks, gpu)
    assert gpu.captures == len(Mode)


CASES = [pytest.param(bench, id=bench.__name__.rsplit("bench_", 1)[1]) for bench in BENCHES]


@pytest.mark.parametrize("bench", CASES)
def test_both_sides_of_a_kernel_benchmark_can_be_captured(bench: Any) -> None:
    """The kernels' own side is one launch; its PyTorch twin stands for it where that is the eager side too."""
    case = next(iter(bench.cases("cpu")))
    case.eager()
    with watched():
        case.eager()


def _old_phases(x_N1hw: Tensor, _: Tensor) -> Tensor:
    """As it was until November 2026: a constant from the host in every pass."""
    before = torch.tensor([0.25, 0.75, 0.0], device=x_N1hw.device)
    sides = (before, before.flip(0))
    kernels = torch.stack([torch.outer(y, x) for y in sides for x in sides])[:, None]
    return F.conv2d(F.pad(x_N1hw, (1, 1, 1, 1), mode="replicate"), kernels)


def test_the_fault_that_there_was_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "_phases", _old_phases)
    with pytest.raises(Forbidden, match="copies from the host"):
        _compact(half=True)


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: float(x.sum()),
        lambda x: 1 if x.sum() > 0 else 2,
        lambda x: x.cpu().numpy(),
        lambda x: torch.linalg.inv(x),
        lambda x: torch.linalg.solve(x, x),
        lambda x: x.inverse(),
        lambda x: torch.linalg.det(x),
        lambda x: x[[0, 1]],
        lambda x: x[np.array([1, 0])],
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.tensor([1.0, 2.0]) + x[0],
        lambda x: torch.as_tensor([1.0, 2.0]) + x[0],
        lambda x: torch.from_numpy(np.ones(2, np.float32)) + x[0],
        lambda x: x + torch.randn(2, 2),
    ],
)  # fmt: skip
def test_each_kind_of_forbidden_work_is_seen(work: Callable[[Tensor], object]) -> None:
    matrix = torch.eye(2) + 0.1
    work(matrix)  # allowed outside
    with pytest.raises(Forbidden), watched():
        work(matrix)


def test_work_that_a_graph_can_hold_is_left_alone() -> None:
    matrix, places, out = torch.eye(2), torch.tensor([1, 0]), torch.zeros(2, 2)

    def work() -> None:
        out.copy_(matrix[places] @ matrix.transpose(0, 1) + torch.arange(2, device=matrix.device))
        out[:, 1] = 1
        torch._foreach_add_([out], 1.0)

    WatchedGpu().capture(work)
