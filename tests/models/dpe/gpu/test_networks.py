"""Networks with memory of their own, on a stream made of Python."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the GPU path needs torch")

from mimicam.engine.backends.cuda.networks import GpuNetworks, TorchNetwork  # noqa: E402
from mimicam.engine.backends.networks import ModelInfo  # noqa: E402
from mimicam.engine.backends.torch import TorchNetworks  # noqa: E402
from mimicam.engine.models.base import Features  # noqa: E402
from mimicam.engine.models.dpe.config import DEBUG  # noqa: E402
from mimicam.engine.models.dpe.folded import FoldedDpe  # noqa: E402
from mimicam.engine.models.dpe.gpu.networks import torch_networks  # noqa: E402
from mimicam.engine.models.dpe.half_parts import Form  # noqa: E402
from mimicam.engine.models.dpe.model import DpeModel  # noqa: E402
from mimicam.engine.models.dpe.network import Dpe  # noqa: E402
from mimicam.engine.models.dpe.spec import dpe_specs  # noqa: E402
from tests.backends.tensorrt.test_network import FakeGpu  # noqa: E402

SINGLE = Form(dtype=torch.float32)
FACTS = ModelInfo(name="debug", sha256="0", size=DEBUG.size, backend="test")


@pytest.fixture(scope="module")
def folded() -> FoldedDpe:
    torch.manual_seed(5)
    model = Dpe(DEBUG)
    with torch.no_grad():
        for level in (*model.expression_generator.levels, *model.pose_generator.levels):
            level.flow.conv.weight.mul_(0.05)  # small flows, as trained weights have
    return FoldedDpe(model)


@pytest.fixture(scope="module")
def reference(folded: FoldedDpe) -> DpeModel:
    return DpeModel(TorchNetworks(folded, dpe_specs(DEBUG), torch.device("cpu")), FACTS)


@pytest.fixture(scope="module")
def portrait(reference: DpeModel) -> Features:
    return reference.encode(_picture(1, DEBUG.size, DEBUG.size))


def test_a_torch_network_runs_on_memory_of_its_own() -> None:
    gpu = FakeGpu()
    network = TorchNetwork(torch.nn.Linear(3, 2), {"x": torch.zeros(1, 3)}, ("y",), gpu)
    address = network.outputs["y"].data_ptr()
    network.inputs["x"].fill_(2)
    gpu.on_stream(network.enqueue)
    gpu.record_event()()
    assert network.outputs["y"].data_ptr() == address
    assert torch.allclose(network.outputs["y"], network._module(torch.full((1, 3), 2.0)))


def test_networks_for_a_gpu_leave_the_given_ones_where_they_are(folded: FoldedDpe) -> None:
    given = {value.data_ptr() for value in folded.state_dict().values()}
    for network in torch_networks(folded, Form(dtype=torch.float32), FakeGpu()).values():
        assert given.isdisjoint(value.data_ptr() for value in network._module.state_dict().values())


@pytest.mark.parametrize("drive", ["exp", "pose", "both"])
def test_a_model_on_fixed_networks_draws_what_the_reference_draws(
    drive: str, folded: FoldedDpe, reference: DpeModel
) -> None:
    gpu = FakeGpu()
    model = DpeModel(GpuNetworks(torch_networks(folded, SINGLE, gpu), gpu), FACTS)
    assert gpu.captures == 4
    source, driver = _picture(1, DEBUG.size, DEBUG.size), _picture(2, DEBUG.size, DEBUG.size)
    pictures = []
    for each in (model, reference):
        features, codes = each.encode(source), each.read_motion(driver)
        expression = None if drive == "pose" else codes.expression
        pose = None if drive == "exp" else codes.pose
        pictures.append([each.generate(features, expression=expression, pose=pose).copy() for _ in range(2)])
    for got, want in zip(*pictures, strict=True):
        assert np.abs(got.astype(int) - want).max() <= 1


def test_a_portraits_maps_are_copied_once(folded: FoldedDpe, monkeypatch: pytest.MonkeyPatch) -> None:
    from mimicam.engine.backends.cuda import networks as gpu_networks

    counts: list[int] = []
    copy_all = gpu_networks.copy_all
    monkeypatch.setattr(
        gpu_networks, "copy_all", lambda gpu, pairs: (counts.append(len(pairs)), copy_all(gpu, pairs))
    )
    gpu = FakeGpu()
    model = DpeModel(GpuNetworks(torch_networks(folded, SINGLE, gpu), gpu), FACTS)
    features = model.encode(_picture(1, DEBUG.size, DEBUG.size))
    code = model.own_codes(features).expression
    counts.clear()
    for _ in range(3):
        model.generate(features, expression=code, pose=None)
    assert counts == [5, 1, 1], "latent and four maps, then the latent alone"


def test_what_somebody_else_wrote_is_copied_again(folded: FoldedDpe, portrait: Features) -> None:
    """Whole frames and single networks share inputs: neither may show the other's portrait."""
    gpu = FakeGpu()
    networks = GpuNetworks(torch_networks(folded, SINGLE, gpu), gpu)
    model = DpeModel(networks, FACTS)
    own = model.own_codes(portrait)
    want = model.generate(portrait, expression=own.expression, pose=None).copy()
    for value in networks.networks["expression_generator"].inputs.values():
        value.zero_()
    networks.inputs.overwritten("expression_generator")
    assert np.array_equal(model.generate(portrait, expression=own.expression, pose=None), want)


def _picture(seed: int, height: int, width: int) -> np.ndarray:
    blobs = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    soft = torch.nn.functional.interpolate(blobs, size=(height, width), mode="bicubic").clamp(0, 1)
    return (soft[0] * 255).byte().permute(1, 2, 0).contiguous().numpy()
