from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.errors import EngineError, KernelBuildError
from mimicam.engine.models.base import Features, LatentCodes, PictureModel
from mimicam.engine.models.compact import plans
from mimicam.engine.models.hot_swap import CanvasMeanwhile, Meanwhile, PictureMeanwhile, Progress
from mimicam.engine.types import Float, Image, Mode

FEATURES = Features(arrays={"latent": np.zeros(1, np.float32)}, model="same")


class Fake:
    """Paints with its own colour."""

    name, size, modes = "m", 4, (Mode.EXP,)

    def __init__(self, backend: str, colour: int, sha256: str = "same") -> None:
        self.backend, self.sha256, self._colour = backend, sha256, colour

    def encode(self, _crop: Image) -> Features:
        return FEATURES

    def generate(self, _features: Features, _drive: tuple[Float | None, ...]) -> Image:
        return np.full((4, 4, 3), self._colour, np.uint8)

    def read_motion(self, _crop: Image) -> LatentCodes:
        return LatentCodes(expression=np.full(1, self._colour, np.float32), pose=np.zeros(1, np.float32))

    def own_codes(self, _features: Features) -> LatentCodes:
        return self.read_motion(np.zeros((4, 4, 3), np.uint8))


def test_frames_come_from_the_other_until_the_plan_is_there_and_it_is_shown() -> None:
    may_finish, told = threading.Event(), threading.Event()

    def build(progress: Progress) -> Fake:
        progress("tactics", 3, 4)
        told.set()
        assert may_finish.wait(10)
        return Fake("tensorrt", 200)

    model = CanvasMeanwhile(Fake("openvino", 100), build)
    assert told.wait(10)
    assert model.backend == "openvino; a TensorRT plan is being built: tactics 75 %"
    assert model.generate(FEATURES, {}).max() == 100
    may_finish.set()
    assert model.finished.wait(10)
    assert model.generate(FEATURES, {}).max() == 200
    assert model.backend == "tensorrt"


def test_a_failed_build_is_shown_and_frames_go_on() -> None:
    def build(_progress: Progress) -> Fake:
        raise EngineError("the plan of generator differs from PyTorch")

    model = CanvasMeanwhile(Fake("openvino", 100), build)
    assert model.finished.wait(10)
    assert model.backend == "openvino; TensorRT failed: the plan of generator differs from PyTorch"
    assert model.generate(FEATURES, {}).max() == 100


def test_what_a_build_says_too_late_is_not_shown() -> None:
    """TensorRT reports from threads of its own: the last report may come when the plan draws already."""
    late: list[Progress] = []

    def build(progress: Progress) -> Fake:
        late.append(progress)
        return Fake("tensorrt", 200)

    model = CanvasMeanwhile(Fake("openvino", 100), build)
    assert model.finished.wait(10)
    late[0]("tactics", 3, 4)
    assert model.generate(FEATURES, {}).max() == 200
    late[0]("tactics", 4, 4)
    assert model.backend == "tensorrt"


def test_a_kernel_that_does_not_compile_is_shown_and_frames_go_on() -> None:
    def build(_progress: Progress) -> Fake:
        raise KernelBuildError("warp_blend.cu does not compile for this GPU:\na long log")

    model = CanvasMeanwhile(Fake("openvino", 100), build)
    assert model.finished.wait(10)
    assert model.backend == "openvino; TensorRT failed: warp_blend.cu does not compile for this GPU:"
    assert model.generate(FEATURES, {}).max() == 100


def test_whole_frames_are_drawn_on_the_gpu_once_the_plans_are_there() -> None:
    may_finish, drawer = threading.Event(), object()

    class Whole(Fake):
        def open_frames(self) -> object:
            return drawer

    def build(_progress: Progress) -> Whole:
        assert may_finish.wait(10)
        return Whole("tensorrt", 200)

    model = PictureMeanwhile(Fake("openvino", 100), build)
    assert model.open_frames() is None
    may_finish.set()
    assert model.finished.wait(10)
    assert model.open_frames() is drawer


def test_other_weights_never_take_over() -> None:
    model = CanvasMeanwhile(Fake("openvino", 100), lambda _progress: Fake("tensorrt", 200, sha256="other"))
    assert model.finished.wait(10)
    assert model.generate(FEATURES, {}).max() == 100
    assert "other weights" in model.backend


@pytest.mark.parametrize("kind", [CanvasMeanwhile, PictureMeanwhile])
def test_it_is_the_kind_of_model_that_it_stands_for(kind: type) -> None:
    model = kind(Fake("openvino", 100), lambda _progress: Fake("tensorrt", 200))
    assert isinstance(model, PictureModel) is (kind is PictureMeanwhile)
    assert model.finished.wait(10)
    if kind is PictureMeanwhile:
        assert model.read_motion(np.zeros((4, 4, 3), np.uint8)).expression[0] == 200
        assert model.own_codes(FEATURES).expression[0] == 200
        assert model.modes == (Mode.EXP,)


@pytest.mark.parametrize(
    ("built", "bundled", "meanwhile"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_an_export_starts_at_once_where_something_else_can_draw(
    built: bool, bundled: bool, meanwhile: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(plans, "is_built", lambda *_folder, **_options: built)
    monkeypatch.setattr(plans, "_is_bundled", lambda _folder: bundled)
    monkeypatch.setattr(plans, "open_bundle_openvino", lambda: Fake("openvino", 100))
    monkeypatch.setattr(plans, "TensorRtCompact", lambda *_folder, **_options: Fake("tensorrt", 200))
    model = plans.start_compact(tmp_path, gpu=object(), api=object(), cache=object())
    assert isinstance(model, Meanwhile) is meanwhile
    if meanwhile:
        assert model.finished.wait(10)
    assert model.generate(FEATURES, {}).max() == 200
    assert model.backend == "tensorrt"
