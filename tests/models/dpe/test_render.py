"""``mimicam render`` and ``run`` with DPE weights: the paper's pictures, on each backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mimicam.engine.assets_manifest import ASSETS
from mimicam.engine.commands import main
from mimicam.engine.models.base import ImageDrivenModel
from mimicam.engine.models.load import load_model
from mimicam.engine.pipeline import Observation, Pipeline
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import Frame, Image
from tests.videos import write_video

Edit = Callable[[Image, Image, str], Image]
FRAMES = 10
ANNA = ASSETS / "portraits" / "anna.jpg"


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


def _save(path: Path, image: Image) -> Path:
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


def _load(path: Path) -> Image:
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))


def _close(got: Image, want: Image) -> bool:
    """Whether pictures are equal within rounding.

    The folded form differs by 1e-5, which may fall on either side of a half.
    """
    return got.shape == want.shape and int(np.abs(got.astype(int) - want.astype(int)).max()) <= 1


@pytest.mark.parametrize(
    ("backend", "mode"), [("torch", "exp"), ("torch", "pose"), ("torch", "both"), ("openvino", "both")]
)
def test_an_aligned_clip_gives_the_papers_picture_of_each_frame(
    backend: str, mode: str, weights: Path, aligned: tuple[Image, ...], by_the_paper: Edit,
    shown: list[Image], tmp_path: Path,
) -> None:  # fmt: skip
    portrait = _save(tmp_path / "portrait.png", aligned[0])
    clip = write_video(tmp_path / "driver.mp4", list(aligned[1 : 1 + FRAMES]))
    driving = [timed.image for timed in VideoFile(clip)]
    command = ["render", str(portrait), str(clip), "-o", str(tmp_path / "out.mp4"), "--aligned"]
    assert main([*command, "--model", str(weights), "--backend", backend, "--mode", mode]) == 0
    want = [by_the_paper(aligned[0], picture, mode) for picture in driving]
    assert len(shown) == len(driving) == FRAMES
    assert np.std(want[0]) > 10, "a flat picture would agree with anything"
    assert any(not _close(want[0], other) for other in want[1:]), "pictures that do not follow the driver"
    assert all(_close(got, picture) for got, picture in zip(shown, want, strict=True))


@pytest.mark.parametrize("mode", ["exp", "pose", "both"])
def test_an_aligned_picture_gives_the_papers_picture(
    mode: str, weights: Path, aligned: tuple[Image, ...], by_the_paper: Edit, tmp_path: Path
) -> None:
    portrait, driver = (_save(tmp_path / f"{i}.png", aligned[i]) for i in range(2))
    out = tmp_path / "out.png"
    command = ["render", str(portrait), str(driver), "-o", str(out), "--aligned", "--mode", mode]
    assert main([*command, "--model", str(weights), "--backend", "openvino"]) == 0
    assert _close(_load(out), by_the_paper(aligned[0], aligned[1], mode))


def test_the_three_modes_give_three_pictures(aligned: tuple[Image, ...], by_the_paper: Edit) -> None:
    exp, pose, both = (by_the_paper(aligned[0], aligned[1], mode) for mode in ("exp", "pose", "both"))
    assert not _close(exp, pose)
    assert not _close(exp, both)
    assert not _close(pose, both)


def test_faces_are_searched_for_where_pictures_are_not_aligned(
    weights: Path, aligned: tuple[Image, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = _save(tmp_path / "driver.png", aligned[1])
    out = tmp_path / "out.png"
    assert main(["render", str(driver), str(driver), "-o", str(out), "--model", str(weights)]) == 1
    assert "shows no face" in capsys.readouterr().err
    samir = ASSETS / "portraits" / "samir.jpg"
    assert main(["render", str(ANNA), str(samir), "-o", str(out), "--model", str(weights)]) == 0
    assert _load(out).shape == (64, 64, 3)


def test_an_imported_checkpoint_is_enrolled_with_and_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from mimicam.engine.models.dpe import weights as checkpoint
    from mimicam.engine.models.dpe.config import DEBUG
    from tests.models.conftest import pseudo_state

    torch.save({"gen": pseudo_state(DEBUG)}, tmp_path / "dpe.pt")
    convert = checkpoint.import_published
    monkeypatch.setattr(checkpoint, "import_published", lambda file, out: convert(file, out, config=DEBUG))
    model, folder = str(tmp_path / "dpe.safetensors"), str(tmp_path / "anna")
    assert main(["models", "import", str(tmp_path / "dpe.pt"), "-o", model]) == 0
    assert main(["enroll", str(ANNA), "-o", folder, "--model", model]) == 0
    out = tmp_path / "out.mp4"
    live = ["run", "--source", "pattern", "--seconds", "0.5", "--sink", f"file:{out}", "--portrait", folder]
    assert main([*live, "--model", model, "--backend", "torch"]) == 0
    assert "torch" in capsys.readouterr().out
    assert out.stat().st_size > 0


def test_a_portrait_enrolled_on_one_backend_serves_the_other(
    weights: Path, aligned: tuple[Image, ...]
) -> None:
    eager, compiled = load_model(str(weights), "torch"), load_model(str(weights), "openvino")
    assert isinstance(eager, ImageDrivenModel)
    assert isinstance(compiled, ImageDrivenModel)
    features, codes = eager.encode(aligned[0]), eager.read_motion(aligned[1])
    drive = {"expression": codes.expression, "pose": codes.pose}
    assert _close(compiled.generate(features, **drive), eager.generate(features, **drive))


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_own_codes_equal_those_of_a_driver_with_that_face(
    backend: str, weights: Path, aligned: tuple[Image, ...]
) -> None:
    model = load_model(str(weights), backend)
    assert isinstance(model, ImageDrivenModel)
    own, read = model.own_codes(model.encode(aligned[0])), model.read_motion(aligned[0])
    for a, b in ((own.expression, read.expression), (own.pose, read.pose)):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())
    assert np.abs(own.expression - own.pose).max() > 0.1 * np.abs(own.pose).max(), "branches that are one"


def test_a_target_without_any_branch_is_refused(weights: Path, aligned: tuple[Image, ...]) -> None:
    model = load_model(str(weights), "torch")
    assert isinstance(model, ImageDrivenModel)
    with pytest.raises(ValueError, match="expression and pose"):
        model.generate(model.encode(aligned[0]), expression=None, pose=None)


def test_switching_portraits_to_and_fro_draws_the_one_in_use(
    weights: Path, aligned: tuple[Image, ...], by_the_paper: Edit
) -> None:
    model = load_model(str(weights), "torch")
    assert isinstance(model, ImageDrivenModel)
    codes = model.read_motion(aligned[2])
    features = [model.encode(aligned[i]) for i in range(2)]
    for which in (0, 1, 0):
        got = model.generate(features[which], expression=codes.expression, pose=None)
        assert _close(got, by_the_paper(aligned[which], aligned[2], "exp"))
