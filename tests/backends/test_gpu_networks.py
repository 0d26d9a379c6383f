"""Networks with memory of their own and whole frames, on a stream made of Python; on a GPU where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the GPU path needs torch")

from engine.backends.frame_step import Camera, Canvas, FrameEdit, FrameStep  # noqa: E402
from engine.backends.gpu_networks import GpuNetworks, TorchNetwork, torch_networks  # noqa: E402
from engine.backends.model import Features, LatentCodes  # noqa: E402
from engine.backends.published import ModelFacts, PublishedModel  # noqa: E402
from engine.backends.published_torch import TorchNetworks  # noqa: E402
from engine.models.dpe import Dpe  # noqa: E402
from engine.models.folded import FoldedDpe  # noqa: E402
from engine.models.mixed_parts import Form  # noqa: E402
from engine.models.presets import DEBUG  # noqa: E402
from engine.types import Mode  # noqa: E402
from kernels.crop_normalize import crop_normalize  # noqa: E402
from kernels.paste_back import paste_back  # noqa: E402
from tests.backends.test_tensorrt import FakeGpu  # noqa: E402

SINGLE = Form(dtype=torch.float32)
FACTS = ModelFacts(name="debug", sha256="0", size=DEBUG.size, backend="test")
CAMERA = Camera(width=96, height=80)


@pytest.fixture(scope="module")
def folded() -> FoldedDpe:
    torch.manual_seed(5)
    model = Dpe(DEBUG)
    with torch.no_grad():
        for level in (*model.expression_generator.levels, *model.pose_generator.levels):
            level.flow.conv.weight.mul_(0.05)  # small flows, as trained weights have
    return FoldedDpe(model)


@pytest.fixture(scope="module")
def reference(folded: FoldedDpe) -> PublishedModel:
    return PublishedModel(TorchNetworks(folded, torch.device("cpu")), FACTS)


@pytest.fixture(scope="module")
def portrait(reference: PublishedModel) -> Features:
    return reference.encode(_picture(1, DEBUG.size, DEBUG.size))


def test_a_torch_network_runs_on_memory_of_its_own() -> None:
    gpu = FakeGpu()
    network = TorchNetwork(torch.nn.Linear(3, 2), {"x": torch.zeros(1, 3)}, ("y",), gpu)
    address = network.outputs["y"].data_ptr()
    network.inputs["x"].fill_(2)
    gpu.queue(network.enqueue)
    gpu.mark()()
    assert network.outputs["y"].data_ptr() == address
    assert torch.allclose(network.outputs["y"], network._module(torch.full((1, 3), 2.0)))
    with pytest.raises(ValueError, match="input 'x' is"):
        network.share("x", torch.zeros(1, 4))


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("drive", ["exp", "pose", "both"])
def test_a_model_on_fixed_networks_draws_what_the_reference_draws(
    drive: str, graphs: bool, folded: FoldedDpe, reference: PublishedModel
) -> None:
    gpu = FakeGpu()
    model = PublishedModel(GpuNetworks(torch_networks(folded, SINGLE, gpu), gpu, graphs=graphs), FACTS)
    assert gpu.captures == (4 if graphs else 0)
    source, driver = _picture(1, DEBUG.size, DEBUG.size), _picture(2, DEBUG.size, DEBUG.size)
    pictures = []
    for each in (model, reference):
        features, codes = each.encode(source), each.read_motion(driver)
        expression = None if drive == "pose" else codes.expression
        pose = None if drive == "exp" else codes.pose
        pictures.append([each.generate(features, (expression, pose)).copy() for _ in range(2)])
    for got, want in zip(*pictures, strict=True):
        assert np.abs(got.astype(int) - want).max() <= 1


def test_a_portraits_maps_are_copied_once(folded: FoldedDpe, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.backends import gpu_networks

    counts: list[int] = []
    copy_all = gpu_networks.copy_all
    monkeypatch.setattr(
        gpu_networks, "copy_all", lambda gpu, pairs: (counts.append(len(pairs)), copy_all(gpu, pairs))
    )
    gpu = FakeGpu()
    model = PublishedModel(GpuNetworks(torch_networks(folded, SINGLE, gpu), gpu), FACTS)
    features = model.encode(_picture(1, DEBUG.size, DEBUG.size))
    code = model.own_codes(features).expression
    counts.clear()
    for _ in range(3):
        model.generate(features, (code, None))
    assert counts == [5, 1, 1], "latent and four maps, then the latent alone"


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_frame_is_the_stages_one_after_another(
    mode: Mode, graph: bool, folded: FoldedDpe, reference: PublishedModel, portrait: Features
) -> None:
    gpu, canvas = FakeGpu(), _canvas()
    step = FrameStep(
        torch_networks(folded, SINGLE, gpu), gpu, mode=mode, camera=CAMERA, canvas=canvas, graph=graph
    )
    step.enter(portrait)
    for seed, (expression_gain, pose_gain) in ((3, (1.0, 1.0)), (4, (0.5, 1.5))):
        frame, matrix = _picture(seed, CAMERA.height, CAMERA.width), _matrix(seed)
        base = reference.read_motion(_picture(9, DEBUG.size, DEBUG.size))
        edit = FrameEdit(base=base, expression_gain=expression_gain, pose_gain=pose_gain)
        got, codes = step(frame, matrix, edit)()
        want, seen = _by_stages(reference, portrait, canvas, frame, matrix, edit, mode)
        assert np.abs(got.astype(int) - want).max() <= 1
        assert np.allclose(codes.expression, seen.expression, atol=1e-4)
        assert np.allclose(codes.pose, seen.pose, atol=1e-4)
    assert gpu.captures == int(graph)


def test_a_frame_returns_before_its_work_is_done(folded: FoldedDpe, portrait: Features) -> None:
    gpu = FakeGpu()
    step = FrameStep(torch_networks(folded, SINGLE, gpu), gpu, mode=Mode.EXP, camera=CAMERA, canvas=_canvas())
    step.enter(portrait)
    gpu.mark()()
    step._result.host.fill(77)
    base = LatentCodes(expression=portrait.arrays[1][0], pose=portrait.arrays[2][0])
    finish = step(_picture(3, CAMERA.height, CAMERA.width), _matrix(3), FrameEdit(base=base))
    assert len(gpu.waiting) == 1, "a frame is one thing to start"
    assert (step._result.host == 77).all()
    finish()
    assert not (step._result.host == 77).all()


def test_portraits_stay_resident_and_change_without_a_new_capture(
    folded: FoldedDpe, reference: PublishedModel, portrait: Features
) -> None:
    gpu = FakeGpu()
    step = FrameStep(torch_networks(folded, SINGLE, gpu), gpu, mode=Mode.EXP, camera=CAMERA, canvas=_canvas())
    other = reference.encode(_picture(6, DEBUG.size, DEBUG.size))
    frame, matrix = _picture(3, CAMERA.height, CAMERA.width), _matrix(3)
    shown = []
    for features in (portrait, other, portrait):
        step.enter(features)
        base = LatentCodes(expression=features.arrays[1][0], pose=features.arrays[2][0])
        shown.append(step(frame, matrix, FrameEdit(base=base))()[0].copy())
    assert np.array_equal(shown[0], shown[2])
    assert not np.array_equal(shown[0], shown[1])
    assert gpu.captures == 1
    assert len(step._portraits) == 2


@pytest.mark.parametrize("pixels", ["nv12", "i420", "bgr"])
def test_camera_and_sink_have_pixels_of_their_own(pixels: Any, folded: FoldedDpe, portrait: Features) -> None:
    gpu, canvas = FakeGpu(), _canvas()
    camera = Camera(width=96, height=80, pixels=pixels)
    step = FrameStep(
        torch_networks(folded, SINGLE, gpu), gpu, mode=Mode.EXP, camera=camera, canvas=canvas, pixels=pixels
    )
    step.enter(portrait)
    base = LatentCodes(expression=portrait.arrays[1][0], pose=portrait.arrays[2][0])
    frame = np.full(camera.shape[1:], 128, np.uint8)
    result, _ = step(frame, _matrix(1), FrameEdit(base=base))()
    height, width = canvas.picture.shape[:2]
    assert result.shape == ((height, width, 3) if pixels == "bgr" else (height * 3 // 2, width))


@pytest.mark.gpu
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("form", [SINGLE, Form(), Form(fold=True)], ids=str)
def test_a_frame_as_a_real_graph_is_the_frame_without_one(
    form: Form, mode: Mode, folded: FoldedDpe, portrait: Features
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU and a CUDA build of PyTorch")
    from engine.backends.cuda_gpu import CudaGpu

    shown = []
    for graph in (True, False):
        gpu = CudaGpu()
        networks = torch_networks(folded, form, gpu)
        step = FrameStep(networks, gpu, mode=mode, camera=CAMERA, canvas=_canvas(), graph=graph)
        step.enter(portrait)
        base = LatentCodes(expression=portrait.arrays[1][0], pose=portrait.arrays[2][0])
        frame = _picture(3, CAMERA.height, CAMERA.width)
        shown.append([step(frame, _matrix(n), FrameEdit(base=base))()[0].copy() for n in (3, 4)])
    for got, want in zip(*shown, strict=True):
        assert np.abs(got.astype(int) - want).max() <= 1
    assert not np.array_equal(shown[0][0], shown[0][1]), "the matrix reaches the captured crop"


def _by_stages(
    model: PublishedModel,
    portrait: Features,
    canvas: Canvas,
    frame: np.ndarray,
    matrix: np.ndarray,
    edit: FrameEdit,
    mode: Mode,
) -> tuple[np.ndarray, LatentCodes]:
    """The same by what the live path is made of: its networks, and the kernels' references."""
    networks, size = model._networks, DEBUG.size
    image = crop_normalize(
        torch.from_numpy(frame)[None], torch.from_numpy(matrix)[None], out=torch.empty(1, 3, size, size)
    )
    expression, pose = (code[0].numpy() for code in networks.run("motion_encoder", image))
    own = model.own_codes(portrait)
    wanted_e = own.expression + edit.expression_gain * (expression - edit.base.expression)
    wanted_p = own.pose + edit.pose_gain * (pose - edit.base.pose)
    latent, _, _, *maps = (torch.from_numpy(array) for array in portrait.arrays)
    if mode is not Mode.POSE:
        face = networks.run("expression_generator", latent + torch.from_numpy(wanted_e), *maps)[0]
    if mode is Mode.BOTH:
        latent, _, _, *maps = networks.run("encoder", face)
    if mode is not Mode.EXP:
        face = networks.run("pose_generator", latent + torch.from_numpy(wanted_p), *maps)[0]
    around = torch.from_numpy(canvas.picture)[None]
    out = paste_back(
        around,
        face,
        torch.from_numpy(canvas.mask),
        torch.from_numpy(canvas.crop_from_image)[None],
        torch.full((1, 3, 2), 127.5),
        out=torch.empty_like(around),
    )
    return out[0].numpy(), LatentCodes(expression=expression, pose=pose)


def _canvas() -> Canvas:
    ramp = np.sin(np.linspace(0, np.pi, DEBUG.size, dtype=np.float32)).clip(0)
    shift = np.array([[1.3, 0, -6], [0, 1.3, -4]], np.float32)
    return Canvas(picture=_picture(8, 60, 72), mask=np.outer(ramp, ramp), crop_from_image=shift)


def _matrix(seed: int) -> np.ndarray:
    return np.array([[1.1, 0.05 * seed, 4], [-0.05 * seed, 1.1, 6]], np.float32)


def _picture(seed: int, height: int, width: int) -> np.ndarray:
    blobs = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    soft = torch.nn.functional.interpolate(blobs, size=(height, width), mode="bicubic").clamp(0, 1)
    return (soft[0] * 255).byte().permute(1, 2, 0).contiguous().numpy()
