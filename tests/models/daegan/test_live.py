"""DAE-GAN from file to pictures: backends against the paper's equations, and the commands."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from mimicam.engine.assets_manifest import ASSETS, bundled_portraits, demo_clip
from mimicam.engine.backends.cuda.device import CudaGpu
from mimicam.engine.batch import workers
from mimicam.engine.commands import main
from mimicam.engine.editing import video as editing
from mimicam.engine.errors import EngineError
from mimicam.engine.models.base import ImageDrivenModel
from mimicam.engine.models.daegan import export_cache as daegan_cache
from mimicam.engine.models.daegan import inference as daegan_parts
from mimicam.engine.models.daegan.compact import CompactDaeGan
from mimicam.engine.models.daegan.compact_config import DAEGAN_COMPACT_64
from mimicam.engine.models.daegan.model import NETWORKS, DaeGanModel
from mimicam.engine.models.daegan.network import DaeGan
from mimicam.engine.models.daegan.spec import daegan_specs
from mimicam.engine.models.daegan.weights import save_daegan
from mimicam.engine.models.load import load_model
from mimicam.engine.pipeline import Observation, Pipeline
from mimicam.engine.portrait import enroll, load_portrait
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import EditSettings, Frame, Image, Mode
from tests.videos import write_video

BACKENDS = ("torch", "openvino")


def _tensor(*pictures: Image) -> Tensor:
    return torch.stack([torch.from_numpy(p).permute(2, 0, 1).float() / 127.5 - 1 for p in pictures])


def _by_the_paper(model: DaeGan, source: Image, driver: Image) -> Image:
    with torch.inference_mode():
        out = model(_tensor(source)[None], _tensor(driver))[0]
    grey: Image = ((out.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return grey


def _close(got: Image, want: Image) -> bool:
    """Whether pictures are equal within rounding.

    The backends differ by 1e-5, which may be on either side of a half.

    The backends differ by 1e-5, which may fall on either side of a half.
    """
    return got.shape == want.shape and int(np.abs(got.astype(int) - want.astype(int)).max()) <= 1


def _open(weights: Path, backend: str) -> DaeGanModel:
    model = load_model(str(weights), backend)
    assert isinstance(model, DaeGanModel)
    assert isinstance(model, ImageDrivenModel)
    return model


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """Collect every picture of the pipeline before a video codec changes it."""
    pictures: list[Image] = []
    draw = Pipeline.draw

    def recorded(self: Pipeline, seen: Observation) -> Frame:
        result = draw(self, seen)
        pictures.append(result.image)
        return result

    monkeypatch.setattr(Pipeline, "draw", recorded)
    return pictures


@pytest.mark.parametrize("backend", BACKENDS)
def test_codes_and_prepared_faces_are_those_of_the_reference(
    backend: str, weights: Path, daegan: DaeGan, aligned: tuple[Image, ...]
) -> None:
    model = _open(weights, backend)
    with torch.inference_mode():
        face = daegan.embed(_tensor(*aligned[:3])[None]).face
        want = (
            daegan.generator.prepare(face).numpy(),
            daegan.pose_embedder.encode(_tensor(aligned[0])).numpy(),
        )
    got = model.encode_frames(aligned[:3]).arrays
    for name, b in zip(("prepared", "code"), want, strict=True):
        np.testing.assert_allclose(got[name], b, atol=1e-3 * np.abs(b).max())
    single, fused = model.encode(aligned[0]).arrays["prepared"], got["prepared"]
    assert np.abs(single - fused).max() > 0.02 * np.abs(fused).max(), "other frames that bring nothing"


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_aligned_clip_gives_the_papers_picture_of_each_frame(
    backend: str, weights: Path, daegan: DaeGan, aligned: tuple[Image, ...], shown: list[Image], tmp_path: Path
) -> None:  # fmt: skip
    assert cv2.imwrite(str(tmp_path / "portrait.png"), aligned[0][:, :, ::-1])
    clip = write_video(tmp_path / "driver.mp4", list(aligned[1:]))
    command = [
        "render",
        str(tmp_path / "portrait.png"),
        str(clip),
        "-o",
        str(tmp_path / "out.mp4"),
        "--aligned",
    ]
    assert main([*command, "--model", str(weights), "--backend", backend]) == 0
    want = [_by_the_paper(daegan, aligned[0], timed.image) for timed in VideoFile(clip)]
    assert len(shown) == len(want) == len(aligned) - 1
    assert np.std(want[0]) > 10, "a flat picture would agree with anything"
    assert any(not _close(want[0], other) for other in want[1:]), "pictures that do not follow the driver"
    assert all(_close(got, picture) for got, picture in zip(shown, want, strict=True))


def test_a_portrait_enrolled_on_one_backend_serves_the_other(
    weights: Path, aligned: tuple[Image, ...]
) -> None:
    eager, compiled = (_open(weights, backend) for backend in BACKENDS)
    features, code = eager.encode(aligned[0]), eager.read_motion(aligned[1]).expression
    assert _close(
        compiled.generate(features, expression=code, pose=None),
        eager.generate(features, expression=code, pose=None),
    )


def test_portrait_only_networks_run_once(
    weights: Path, aligned: tuple[Image, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _open(weights, "torch")
    path = Pipeline(
        model=model, portrait=enroll(aligned[0], model=model, aligned=True), edit=EditSettings(),
        smooth=False, aligned=True,
    )  # fmt: skip
    ran: list[str] = []
    run = model._networks.run
    monkeypatch.setattr(
        model._networks, "run", lambda name, **inputs: (ran.append(name), run(name, **inputs))[1]
    )
    for seq in range(2):
        path.step(Frame(image=aligned[1 + seq], seq=seq, captured_ns=seq))
    assert ran == ["pose_encoder", "generator"] * 2


@pytest.mark.parametrize("mode", ["exp", "pose"])
def test_one_code_cannot_be_split_into_expression_and_pose(
    mode: str, weights: Path, aligned: tuple[Image, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cv2.imwrite(str(tmp_path / "face.png"), aligned[0][:, :, ::-1])
    picture, out = str(tmp_path / "face.png"), tmp_path / "out.png"
    command = ["render", picture, picture, "-o", str(out), "--aligned", "--model", str(weights)]
    assert main([*command, "--mode", mode]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"cannot be driven in mode {mode}: use both" in said
    assert not out.exists()
    model = _open(weights, "torch")
    path = Pipeline(model=model, portrait=enroll(aligned[0], model=model, aligned=True), edit=EditSettings())
    with pytest.raises(EngineError, match="use both"):
        path.set_edit(EditSettings(mode=Mode(mode)))


@pytest.mark.parametrize("crop", [[], ["--crop", "64", "--mode", "both"]], ids=["in place", "crop"])
def test_faces_of_a_video_are_not_edited_and_that_shows_before_people_are_followed(
    crop: list[str],
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(editing, "track_people", None)
    command = ["edit", str(demo_clip()), "-o", str(tmp_path / "out.mp4"), "--preset", "smile=0.5", *crop]
    assert main([*command, "--model", str(weights)]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.endswith("cannot edit faces in place: use --model compact, or a bundle of it")
    monkeypatch.setattr(workers._Worker, "load", None)
    workers.begin(str(weights), "openvino")
    with pytest.raises(EngineError, match="cannot edit faces"):
        workers.model_in_worker()


def test_the_studio_offers_no_own_face_and_one_mode(weights: Path) -> None:
    pytest.importorskip("aiortc", reason="the webrtc extra is not installed")
    from mimicam.engine.web.pipeline_pool import PipelinePool

    pool = PipelinePool(str(weights), "openvino")
    assert (pool.modes, pool.edits_own_face, pool.presets) == ((Mode.BOTH,), False, ())
    with pytest.raises(EngineError, match="cannot edit your own face"):
        pool.open_own_face(EditSettings(), (64, 64))


def test_gains_scale_the_way_from_the_portraits_own_code(weights: Path, aligned: tuple[Image, ...]) -> None:
    model = _open(weights, "torch")
    portrait = enroll(aligned[0], model=model, aligned=True)
    own, driver = model.own_codes(portrait.features).expression, model.read_motion(aligned[1]).expression

    def drawn(expression: float, pose: float) -> Image:
        edit = EditSettings(expression_gain=expression, pose_gain=pose)
        path = Pipeline(model=model, portrait=portrait, edit=edit, smooth=False, aligned=True)
        return path.step(Frame(image=aligned[1], seq=0, captured_ns=0)).image.copy()

    for gains, share in (((1.0, 1.0), 1.0), ((0.0, 0.0), 0.0), ((1.0, 0.0), 0.5)):
        code = (own + share * (driver - own)).astype(np.float32)
        assert _close(drawn(*gains), model.generate(portrait.features, expression=code, pose=None))


def test_the_compact_preset_draws_the_same_on_both_backends(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = CompactDaeGan(DAEGAN_COMPACT_64).eval()
    for head in (small.pose_embedder.displacement, *small.generator.heads):
        torch.nn.init.normal_(head.weight, std=0.02)
    save_daegan(small, tmp_path / "m.safetensors")
    rng = np.random.default_rng(1)
    crops = [cv2.resize(rng.integers(0, 256, (5, 5, 3), np.uint8), (64, 64)) for _ in range(3)]
    eager, compiled = (_open(tmp_path / "m.safetensors", backend) for backend in BACKENDS)
    features = eager.encode_frames(crops[:2])
    assert set(features.arrays) == {"prepared", "skip", "embedded_face", "own_gaze", "code"}
    pictures = []
    for crop in crops[1:]:
        codes = [model.read_motion(crop).expression for model in (eager, compiled)]
        np.testing.assert_allclose(codes[1], codes[0], atol=2e-3)
        drawn = [
            model.generate(features, expression=codes[0], pose=None).copy() for model in (eager, compiled)
        ]
        assert _close(*drawn)
        pictures.append(drawn[0])
    assert not _close(*pictures), "pictures that do not follow the driver"


def test_several_pictures_are_enrolled_as_one_face(weights: Path, tmp_path: Path) -> None:
    pictures = [str(path) for path in bundled_portraits()[:2]]
    assert main(["enroll", *pictures, "-o", str(tmp_path / "two"), "--model", str(weights)]) == 0
    model = _open(weights, "openvino")
    two = load_portrait(tmp_path / "two", model=model)
    want = model.encode_frames((two.crop, *two.others)).arrays
    assert len(two.others) == 1
    for name, array in want.items():
        np.testing.assert_allclose(two.features.arrays[name], array, atol=1e-5)
    assert np.abs(model.encode(two.crop).arrays["prepared"] - want["prepared"]).max() > 0.01


def test_the_model_enrolls_and_runs(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "anna", tmp_path / "out.mp4"
    anna = ASSETS / "portraits" / "anna.jpg"
    assert main(["enroll", str(anna), "-o", str(folder), "--model", str(weights)]) == 0
    live = ["run", "--source", "pattern", "--seconds", "0.5", "--sink", f"file:{out}"]
    assert main([*live, "--portrait", str(folder), "--model", str(weights), "--backend", "openvino"]) == 0
    assert "openvino" in capsys.readouterr().out
    assert out.stat().st_size > 0


def test_an_export_runs_as_the_weights_do(
    weights: Path, aligned: tuple[Image, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx", reason="mimicam export needs it")
    assert main(["export", "--model", str(weights), "-o", str(tmp_path / "export")]) == 0
    folder, file = _open(tmp_path / "export", "auto"), _open(weights, "torch")
    assert folder.sha256 == file.sha256
    a, b = folder.read_motion(aligned[0]).expression, file.read_motion(aligned[0]).expression
    np.testing.assert_allclose(a, b, atol=1e-3 * np.abs(b).max())
    monkeypatch.setattr(daegan_cache, "load_parts", None)  # the cache exists, so this is not called
    assert _open(weights, "openvino").backend.startswith("openvino")


def test_wrong_codes_and_damaged_files_are_refused(
    weights: Path, aligned: tuple[Image, ...], tmp_path: Path
) -> None:
    model = _open(weights, "torch")
    features = model.encode(aligned[0])
    code = model.read_motion(aligned[1]).expression
    for expression, pose in ((None, None), (code, code), (None, code)):
        with pytest.raises(ValueError, match="expression must be the code"):
            model.generate(features, expression=expression, pose=pose)
    with pytest.raises(ValueError, match="crops"):
        model.encode_frames(())
    (tmp_path / "bad.safetensors").write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(EngineError, match="damaged"):
        load_model(str(tmp_path / "bad.safetensors"))


def test_tensorrt_wants_an_export_in_one_line(weights: Path) -> None:
    with pytest.raises(EngineError) as raised:
        load_model(str(weights), "tensorrt")
    assert "\n" not in str(raised.value)
    assert _missing_gpu() in str(raised.value) if _missing_gpu() else "mimicam export" in str(raised.value)


def _missing_gpu() -> str:
    try:
        CudaGpu()
    except EngineError as error:
        return str(error)
    return ""


def test_the_specs_are_of_the_networks_that_the_model_runs(daegan: DaeGan) -> None:
    assert tuple(daegan_specs(daegan.config)) == NETWORKS


def test_networks_have_the_shapes_of_their_specs(daegan: DaeGan, aligned: tuple[Image, ...]) -> None:
    parts = daegan_parts.DaeGanParts(daegan)
    examples = parts.examples(_tensor(aligned[0]), _tensor(aligned[1]))
    for name, spec in parts.specs.items():
        outputs = parts.reference(name, examples[name])
        assert {n: tuple(v.shape) for n, v in examples[name].items()} == {
            t.name: t.shape for t in spec.inputs
        }
        assert {n: tuple(v.shape) for n, v in outputs.items()} == {t.name: t.shape for t in spec.outputs}
