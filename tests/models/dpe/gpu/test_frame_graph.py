"""Whole frames of the published networks, one session or several, against the stages one by one."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("openvino") is None:  # on a bare GPU machine: nothing here looks for faces
    sys.modules["openvino"] = ModuleType("openvino")
torch = pytest.importorskip("torch", reason="the GPU path needs torch")

from mimicam.benchmarks.host_gpu import HostGpu  # noqa: E402
from mimicam.engine.backends.cuda.networks import GpuNetworks, copy_all  # noqa: E402
from mimicam.engine.backends.networks import ModelInfo  # noqa: E402
from mimicam.engine.backends.torch import TorchNetworks  # noqa: E402
from mimicam.engine.models.base import Features, LatentCodes  # noqa: E402
from mimicam.engine.models.dpe.config import DEBUG  # noqa: E402
from mimicam.engine.models.dpe.folded import FoldedDpe  # noqa: E402
from mimicam.engine.models.dpe.gpu.code_state import CodeState  # noqa: E402
from mimicam.engine.models.dpe.gpu.frame_graph import ResidentPortraits  # noqa: E402
from mimicam.engine.models.dpe.gpu.mode_graph import CameraInput, FrameSize, ModeGraph, OutputSurface  # noqa: E402
from mimicam.engine.models.dpe.gpu.networks import GpuDpeModel, torch_networks  # noqa: E402
from mimicam.engine.models.dpe.gpu.slots import SlotRequest, SlotStep  # noqa: E402
from mimicam.engine.models.dpe.half_parts import Form  # noqa: E402
from mimicam.engine.models.dpe.model import DpeModel, portrait_maps  # noqa: E402
from mimicam.engine.models.dpe.network import Dpe  # noqa: E402
from mimicam.engine.models.dpe.spec import dpe_specs  # noqa: E402
from mimicam.engine.models.frame_graph import CodeUpdate  # noqa: E402
from mimicam.engine.pipeline import Pipeline  # noqa: E402
from mimicam.engine.portrait import Portrait  # noqa: E402
from mimicam.engine.stages.surroundings import OutputCanvas  # noqa: E402
from mimicam.engine.types import CropBox, EditSettings, Frame, Image, Mode, MotionReference  # noqa: E402
from mimicam.kernels.crop_normalize import crop_normalize  # noqa: E402
from mimicam.kernels.paste_back import paste_back  # noqa: E402
from tests.backends.tensorrt.test_network import FakeGpu  # noqa: E402
from tests.fake_tracker import FakeTracker  # noqa: E402

SIDE = DEBUG.size
SINGLE = Form(dtype=torch.float32)
FACTS = ModelInfo(name="debug", sha256="0", size=SIDE, backend="test")
CAMERA = FrameSize(width=96, height=80)
RELATIVE = CodeUpdate(expression_relative=True, pose_relative=True)


class CountingGpu(HostGpu):
    """Counts captures and what is started."""

    def __init__(self) -> None:
        self.captures = self.starts = 0

    def capture(self, work: Any) -> Any:
        self.captures += 1
        replay = super().capture(work)

        def start() -> None:
            self.starts += 1
            replay()

        return start


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
def portraits(reference: DpeModel) -> list[Portrait]:
    box = CropBox(x_px=0.0, y_px=0.0, size_px=float(SIDE))
    crops = [picture(seed, SIDE, SIDE) for seed in (1, 6)]
    return [
        Portrait(name=str(n), picture=c, box=box, crop=c, motion=None, features=reference.encode(c))
        for n, c in enumerate(crops)
    ]


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_frame_is_the_stages_one_after_another(
    mode: Mode, graph: bool, folded: FoldedDpe, reference: DpeModel, portraits: list[Portrait]
) -> None:
    gpu, canvas = FakeGpu(), canvas_of()
    step, codes = step_of(folded, gpu, mode, portraits[0].features, canvas, graph=graph)
    for seed, gains in ((3, (1.0, 1.0)), (4, (0.5, 1.5))):
        base = reference.read_motion(picture(9, SIDE, SIDE))
        codes.set_neutral(0, base)
        edit = CodeUpdate(
            expression_relative=True,
            pose_relative=True,
            settings=EditSettings(expression_gain=gains[0], pose_gain=gains[1]),
        )
        frame, matrix = picture(seed, CAMERA.height, CAMERA.width), matrix_of(seed)
        got = step(frame, edit, matrix)()
        want = by_stages(reference, portraits[0].features, canvas, frame, matrix, edit, base, mode)
        assert np.abs(got.astype(int) - want).max() <= 1
    assert gpu.captures == int(graph)


def test_a_frame_returns_before_its_work_is_done(folded: FoldedDpe, portraits: list[Portrait]) -> None:
    gpu = FakeGpu()
    step, _ = step_of(folded, gpu, Mode.EXP, portraits[0].features, canvas_of())
    result = step._surface.result.host
    result.fill(77)
    finish = step(picture(3, CAMERA.height, CAMERA.width), CodeUpdate(), matrix_of(3))
    assert len(gpu.waiting) == 1, "a frame is one thing to start"
    assert (result == 77).all()
    finish()
    assert not (result == 77).all()


@pytest.mark.parametrize("size", [None, (96, SIDE)])
def test_a_live_session_on_the_device_draws_what_the_host_draws(
    size: tuple[int, int] | None, folded: FoldedDpe, reference: DpeModel, portraits: list[Portrait]
) -> None:
    """Crop to picture, in all modes, with portraits changed, and nobody seen in between."""
    results = []
    for model in (reference, device_model(folded)):
        pipeline = Pipeline(
            model=model,
            portrait=portraits[0],
            edit=EditSettings(pose_motion=MotionReference.ABSOLUTE),
            size=size,
            aligned=True,
            track=unseen(),
        )
        assert isinstance(model, GpuDpeModel) is (model is not reference)
        pictures = []
        for seq in range(12):
            if seq in (3, 6, 9):
                pipeline.set_edit(replace(pipeline.edit, mode=list(Mode)[seq // 3 % 3], expression_gain=0.7))
            if seq in (2, 7):
                pipeline.set_portrait(portraits[seq % 2])
            pipeline.set_standby(seq in (4, 10))
            frame = Frame(image=picture(20 + seq, SIDE, SIDE), seq=seq, captured_ns=seq * 40_000_000)
            pictures.append(pipeline.step(frame).image.copy())
        results.append(pictures)
    for index, (want, got) in enumerate(zip(*results, strict=True)):
        apart = np.abs(got.astype(int) - want)
        assert apart.max() <= 3, f"frame {index}"
        assert apart.mean() <= 0.6, f"frame {index}"


def test_modes_and_portraits_cost_no_new_capture(folded: FoldedDpe, portraits: list[Portrait]) -> None:
    gpu = CountingGpu()
    pipeline = Pipeline(
        model=device_model(folded, gpu), portrait=portraits[0], edit=EditSettings(pose_motion=MotionReference.ABSOLUTE),
        aligned=True, track=unseen(),
    )  # fmt: skip
    before = gpu.captures
    for seq, mode in enumerate((*Mode, *Mode)):
        pipeline.set_edit(replace(pipeline.edit, mode=mode))
        pipeline.set_portrait(portraits[seq % 2])
        started = gpu.starts
        pipeline.step(Frame(image=picture(seq, SIDE, SIDE), seq=seq, captured_ns=seq * 40_000_000))
        assert gpu.starts == started + 1, "a frame is one graph"
        assert gpu.captures == before + 3, "all modes with the first frame, nothing after it"
    pipeline.step(Frame(image=picture(1, SIDE, 2 * SIDE), seq=9, captured_ns=900_000_000))
    assert gpu.captures == before + 6, "another size of picture is another graph"


def test_two_sessions_of_one_model_do_not_meet(
    folded: FoldedDpe, reference: DpeModel, portraits: list[Portrait]
) -> None:
    model = device_model(folded)
    pair = [
        Pipeline(
            model=model,
            portrait=p,
            edit=EditSettings(mode=m, pose_motion=MotionReference.ABSOLUTE),
            aligned=True,
            track=unseen(),
        )
        for p, m in zip(portraits, (Mode.POSE, Mode.BOTH), strict=True)
    ]
    alone = [
        Pipeline(
            model=reference,
            portrait=p,
            edit=EditSettings(mode=m, pose_motion=MotionReference.ABSOLUTE),
            aligned=True,
            track=unseen(),
        )
        for p, m in zip(portraits, (Mode.POSE, Mode.BOTH), strict=True)
    ]
    for seq in range(4):
        for own, (got, want) in enumerate(zip(pair, alone, strict=True)):
            frame = Frame(
                image=picture(30 + 7 * own + seq, SIDE, SIDE), seq=seq, captured_ns=seq * 40_000_000
            )
            assert np.abs(got.step(frame).image.astype(int) - want.step(frame).image).max() <= 3
        model.encode(portraits[0].crop)  # somebody enrols in between


def test_portraits_stay_resident_and_old_ones_make_room(folded: FoldedDpe, portraits: list[Portrait]) -> None:
    networks = torch_networks(folded, SINGLE, HostGpu())
    resident = ResidentPortraits(networks["pose_generator"], HostGpu())
    first = resident.maps(portraits[0].features)
    assert resident.maps(portraits[0].features) is first
    for _ in range(8):
        resident.maps(Features(arrays=portraits[1].features.arrays, model="0"))
        assert resident.maps(portraits[0].features) is first, "used all the time"
    with pytest.raises(ValueError, match="maps of this model"):
        resident.maps(Features(arrays=dict(list(portraits[0].features.arrays.items())[:5]), model="0"))


def test_every_slot_draws_its_own_portrait_and_mode(
    folded: FoldedDpe, reference: DpeModel, portraits: list[Portrait]
) -> None:
    gpu = CountingGpu()
    step = SlotStep(torch_networks(folded, SINGLE, gpu, batch=3), gpu)
    assert gpu.captures == 3
    modes = [Mode.POSE, Mode.BOTH, Mode.EXP]
    for turn in range(3):
        requests, wanted = {}, {}
        for slot in (0, 2) if turn == 1 else (0, 1, 2):
            features, mode = portraits[slot % 2].features, modes[(slot + turn) % 3]
            crop = picture(40 + slot + 5 * turn, SIDE, SIDE)
            requests[slot] = SlotRequest(crop=crop, features=features, mode=mode, edit=CodeUpdate())
            codes = reference.read_motion(crop)
            expression = None if mode is Mode.POSE else codes.expression
            pose = None if mode is Mode.EXP else codes.pose
            wanted[slot] = reference.generate(features, expression=expression, pose=pose).copy()
        got = step(requests)
        assert got.keys() == wanted.keys()
        for slot, want in wanted.items():
            assert np.abs(got[slot].astype(int) - want).max() <= 2, (turn, slot)
    with pytest.raises(ValueError, match="mode must be one of"):
        SlotStep(torch_networks(folded, SINGLE, gpu, batch=1), gpu, modes=(Mode.EXP,))({0: requests[1]})


def test_a_slot_without_a_frame_keeps_its_past(folded: FoldedDpe, portraits: list[Portrait]) -> None:
    step = SlotStep(torch_networks(folded, SINGLE, HostGpu(), batch=2), HostGpu(), modes=(Mode.EXP,))
    first = CodeUpdate(take_neutral=True, expression_relative=True, pose_relative=True)
    crop, features = picture(50, SIDE, SIDE), portraits[0].features

    def request(image: Image, edit: CodeUpdate) -> SlotRequest:
        return SlotRequest(crop=image, features=features, mode=Mode.EXP, edit=edit)

    calm = step({0: request(crop, first), 1: request(crop, first)})
    step({0: request(picture(51, SIDE, SIDE), first)})
    again = step({1: request(crop, RELATIVE)})
    assert np.abs(again[1].astype(int) - calm[1]).max() <= 1, "its own neutral still counts"


@pytest.mark.gpu
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("form", [SINGLE, Form(), Form(fold=True)], ids=str)
def test_a_frame_as_a_real_graph_is_the_frame_without_one(
    form: Form, mode: Mode, folded: FoldedDpe, portraits: list[Portrait]
) -> None:
    gpu = real_gpu()
    shown = []
    for graph in (True, False):
        step, _ = step_of(folded, gpu, mode, portraits[0].features, canvas_of(), graph=graph, form=form)
        frame = picture(3, CAMERA.height, CAMERA.width)
        shown.append([step(frame, CodeUpdate(), matrix_of(n))().copy() for n in (3, 4)])
    for got, want in zip(*shown, strict=True):
        assert np.abs(got.astype(int) - want).max() <= 1
    assert not np.array_equal(shown[0][0], shown[0][1]), "the matrix reaches the captured crop"


@pytest.mark.gpu
def test_a_live_session_on_a_real_gpu_draws_what_the_host_draws(
    folded: FoldedDpe, reference: DpeModel, portraits: list[Portrait]
) -> None:
    gpu = real_gpu()
    # cuDNN rounds float32 to TF32 by default: that would be measured here, not the path.
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        pair = [
            Pipeline(
                model=m,
                portrait=portraits[0],
                edit=EditSettings(pose_motion=MotionReference.ABSOLUTE),
                aligned=True,
                track=unseen(),
            )
            for m in (reference, device_model(folded, gpu))
        ]
        for seq, mode in enumerate((*Mode, *Mode)):
            frame = Frame(image=picture(20 + seq, SIDE, SIDE), seq=seq, captured_ns=seq * 40_000_000)
            pictures = []
            for pipeline in pair:
                pipeline.set_edit(replace(pipeline.edit, mode=mode))
                pipeline.set_portrait(portraits[seq % 2])
                pictures.append(pipeline.step(frame).image.astype(int))
            assert np.abs(pictures[0] - pictures[1]).mean() <= 0.6
    finally:
        torch.backends.cudnn.allow_tf32 = before


def unseen() -> Any:
    """A tracker that nobody asks: aligned frames are read whole."""
    return FakeTracker()


def real_gpu() -> Any:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU and a CUDA build of PyTorch")
    from mimicam.engine.backends.cuda.device import CudaGpu

    return CudaGpu()


def device_model(folded: FoldedDpe, gpu: Any = None) -> GpuDpeModel:
    gpu = gpu or HostGpu()
    return GpuDpeModel(GpuNetworks(torch_networks(folded, SINGLE, gpu), gpu), FACTS)


def step_of(
    folded: FoldedDpe,
    gpu: Any,
    mode: Mode,
    features: Features,
    canvas: OutputCanvas,
    *,
    graph: bool = True,
    form: Form = SINGLE,
) -> tuple[ModeGraph, CodeState]:
    networks = torch_networks(folded, form, gpu)
    codes = CodeState(gpu, 1, DEBUG.latent)
    codes.enter(0, features)
    camera = CameraInput(gpu, CAMERA, networks["motion_encoder"])
    surface = OutputSurface(gpu, canvas)
    step = ModeGraph(networks, gpu, mode=mode, camera=camera, codes=codes, surface=surface, graph=graph)
    first = networks["pose_generator" if mode is Mode.POSE else "expression_generator"]
    maps = portrait_maps(features).items()
    copy_all(gpu, [(first.inputs[name], torch.from_numpy(array)) for name, array in maps])
    gpu.record_event()()
    return step, codes


def by_stages(
    model: DpeModel,
    portrait: Features,
    canvas: OutputCanvas,
    frame: Image,
    matrix: np.ndarray,
    edit: CodeUpdate,
    base: LatentCodes,
    mode: Mode,
) -> np.ndarray:
    """The same by what the live path is made of: its networks, and the kernels' references."""
    networks = model._networks
    image = crop_normalize(
        torch.from_numpy(frame)[None], torch.from_numpy(matrix)[None], out=torch.empty(1, 3, SIDE, SIDE)
    )
    codes = networks.run("motion_encoder", image=image)
    expression, pose = (codes[name][0].numpy() for name in ("expression_code", "pose_code"))
    own = model.own_codes(portrait)
    wanted_e = own.expression + edit.settings.expression_gain * (expression - base.expression)
    wanted_p = own.pose + edit.settings.pose_gain * (pose - base.pose)
    latent = torch.from_numpy(portrait.arrays["latent"])
    maps = {name: torch.from_numpy(array) for name, array in portrait_maps(portrait).items()}
    if mode is not Mode.POSE:
        edited = latent + torch.from_numpy(wanted_e)
        face = networks.run("expression_generator", latent=edited, **maps)["image"]
    if mode is Mode.BOTH:
        encoded = networks.run("encoder", image=face)
        latent, maps = encoded["latent"], {name: encoded[name] for name in maps}
    if mode is not Mode.EXP:
        face = networks.run("pose_generator", latent=latent + torch.from_numpy(wanted_p), **maps)["image"]
    around = torch.from_numpy(canvas.picture)[None]
    inputs = (torch.from_numpy(canvas.mask), torch.from_numpy(canvas.crop_from_image)[None])
    out = torch.empty_like(around)
    return paste_back(around, face, *inputs, out=out)[0].numpy()


def canvas_of() -> OutputCanvas:
    ramp = np.sin(np.linspace(0, np.pi, SIDE, dtype=np.float32)).clip(0)
    shift = np.array([[1.3, 0, -6], [0, 1.3, -4]], np.float32)
    return OutputCanvas(picture=picture(8, 60, 72), mask=np.outer(ramp, ramp), crop_from_image=shift)


def matrix_of(seed: int) -> np.ndarray:
    return np.array([[1.1, 0.05 * seed, 4], [-0.05 * seed, 1.1, 6]], np.float32)


def picture(seed: int, height: int, width: int) -> Image:
    blobs = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    soft = torch.nn.functional.interpolate(blobs, size=(height, width), mode="bicubic").clamp(0, 1)
    return (soft[0] * 255).byte().permute(1, 2, 0).contiguous().numpy()
