"""``mimicam evaluate`` measures whatever the engine loads, side by side."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mimicam.engine.errors import EngineError
from mimicam.engine.models.base import ImageDrivenModel, Model
from mimicam.engine.models.daegan.config import DAEGAN_DEBUG
from mimicam.engine.models.daegan.network import DaeGan
from mimicam.engine.models.daegan.weights import save_daegan
from mimicam.engine.models.dpe.config import DEBUG
from mimicam.engine.models.dpe.network import Dpe
from mimicam.engine.models.dpe.weights import save_dpe
from mimicam.engine.models.load import load_model
from mimicam.engine.stages.crop import cut
from mimicam.engine.types import CropBox, Image, Mode
from mimicam.training.commands.evaluate import Evaluate
from mimicam.training.evaluation.clips import Clip
from mimicam.training.evaluation.methods import model_method
from tests.training.evaluation.conftest import FRAMES


@pytest.fixture(scope="session")
def dpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "dpe.safetensors"
    save_dpe(Dpe(DEBUG), path)
    return path


@pytest.fixture(scope="session")
def daegan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "daegan.safetensors"
    save_daegan(DaeGan(DAEGAN_DEBUG), path)
    return path


def _crop(image: Image, size: int) -> Image:
    return cut(image, CropBox(x_px=0.0, y_px=0.0, size_px=float(len(image))), size)


def _by_hand(model: Model, portrait: Image, driver: Image, mode: Mode) -> Image:
    """The paper's equations 3 to 7: the driver's own codes, added."""
    assert isinstance(model, ImageDrivenModel)
    features = model.encode(_crop(portrait, model.size))
    codes = model.read_motion(_crop(driver, model.size))
    expression = None if mode is Mode.POSE else codes.expression
    pose = None if mode is Mode.EXP else codes.pose
    picture = model.generate(features, expression=expression, pose=pose)
    return np.asarray(cv2.resize(picture, portrait.shape[:2]))


@pytest.mark.parametrize("mode", list(Mode))
def test_a_model_that_reads_the_picture_is_driven_by_it(dpe: Path, clips: list[Clip], mode: Mode) -> None:
    model = load_model(str(dpe), "torch")
    portrait, driver = clips[0].images[0], clips[1].images[3]
    motion = clips[0].motions[0]  # of nobody's interest
    got = model_method(model).generate(portrait, motion, driver, motion, mode)
    assert got.shape == portrait.shape
    want = _by_hand(model, portrait, driver, mode)
    assert np.abs(got.astype(int) - want).max() <= 1
    other = model_method(model).generate(portrait, motion, clips[0].images[3], motion, mode)
    assert not np.array_equal(got, other)


def test_behind_the_filter_it_starts_anew_with_each_portrait(dpe: Path, clips: list[Clip]) -> None:
    made = model_method(load_model(str(dpe), "torch"))
    motion = clips[0].motions[0]

    def drawn(portrait: Image, driver: Image) -> Image:
        return made.smoothed(portrait, motion, driver, motion, Mode.BOTH)

    one, two, driver = clips[0].images[0], clips[1].images[0], clips[1].images[3]
    first = drawn(one, driver)
    for image in clips[1].images[4:6]:
        drawn(one, image)
    assert not np.array_equal(drawn(one, driver), first), "a filter that remembers nothing"
    drawn(two, driver)
    assert np.array_equal(drawn(one, driver), first)


def test_models_stand_side_by_side_in_the_modes_they_have(
    pack_folder: Path, dpe: Path, daegan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Evaluate(
        pack=pack_folder, model=str(dpe), compare_to=(str(daegan),), backend="torch", pairs=1, frames=3,
        json=tmp_path / "figures.json", grid=tmp_path / "grid.png",
    ).run()  # fmt: skip
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["model"] == "dpe.safetensors"
    assert found["beside"][str(daegan)]["model"] == "daegan.safetensors"
    columns = found["figures"]
    assert list(columns) == ["model", str(daegan), "copy source", "copy driver"]
    settings = {"exp cross", "pose cross", "both cross", "exp same", "pose same", "both same", "still driver"}
    assert (
        columns["model"].keys() == columns["copy source"].keys() == columns["copy driver"].keys() == settings
    )
    assert columns[str(daegan)].keys() == {"both cross", "both same", "still driver"}
    assert all("lost_share" in columns[str(daegan)][name] for name in ("both cross", "both same"))
    assert columns["model"]["both same"]["psnr"] < columns["copy source"]["both same"]["psnr"], (
        "it is untrained"
    )
    shown = capsys.readouterr().out
    assert all(setting in shown for setting in settings)
    side = 192
    assert cv2.imread(str(tmp_path / "grid.png")).shape == (side * (1 + 3 + 1), side * 7, 3)


@pytest.mark.parametrize("others", [("a", "a"), ("model",), ("copy source",)])
def test_columns_need_names_of_their_own(others: tuple[str, ...], pack_folder: Path) -> None:
    with pytest.raises(EngineError, match="--compare-to takes different models"):
        Evaluate(pack=pack_folder, compare_to=others, frames=FRAMES).run()


def test_the_lively_set_is_measured_through_the_pipeline(
    pack_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The calm set has tests of its own, and takes three times as long.
    monkeypatch.setattr("mimicam.training.commands.evaluate.measure", lambda *_: {})
    out = tmp_path / "figures.json"
    Evaluate(
        pack=pack_folder,
        frames=FRAMES,
        pairs=1,
        lively=1,
        lively_frames=FRAMES,
        floors=False,
        threads=1,
        json=out,
    ).run()
    facts = json.loads(out.read_text())
    assert facts["lively_pairs"] == 1
    for mode in Mode:
        found = facts["figures"]["model"][f"{mode.value} lively"]
        assert {
            "distance",
            "distance_copying",
            "jitter",
            "lost_share",
            "pose_from_portrait_deg",
        } <= found.keys()


def test_a_pack_too_short_for_the_lively_set_says_so(pack_folder: Path) -> None:
    with pytest.raises(EngineError, match="fewer --lively-frames"):
        Evaluate(pack=pack_folder, frames=FRAMES, pairs=1, lively=1, floors=False, threads=1).run()
