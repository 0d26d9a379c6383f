from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimicam.engine.errors import EngineError, KernelBuildError
from mimicam.engine.models.base import Features
from mimicam.engine.models.compact import plans
from mimicam.engine.models.hot_swap import HotSwapModel, Progress
from mimicam.engine.types import Image, Mode

CROP = np.zeros((4, 4, 3), np.uint8)


class Fake:
    """Model that encodes its own name and reenacts with it."""

    name, size, modes = "m", 4, (Mode.EXP,)
    native_size, needs_face, smooth_recordings = True, False, False
    has_blendshapes = False

    def __init__(self, backend: str, sha256: str = "same") -> None:
        self.backend, self.sha256 = backend, sha256

    def feature_shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def encode(self, _crop: Image) -> Features:
        return Features(arrays={}, model=self.backend)

    def reenactor(self, *, smooth: bool, previous: object = None) -> tuple[str, bool, object]:
        return self.backend, smooth, previous


def test_sessions_are_notified_when_the_plan_is_ready() -> None:
    may_finish, told = threading.Event(), threading.Event()

    def build(progress: Progress) -> Fake:
        progress("tactics", 3, 4)
        told.set()
        assert may_finish.wait(10)
        return Fake("tensorrt")

    model, ready = HotSwapModel(Fake("openvino"), build), []
    model.on_ready(lambda built: ready.append(built.backend))
    assert told.wait(10)
    assert model.backend == "openvino; a TensorRT plan is being built: tactics 75 %"
    assert model.reenactor(smooth=True) == ("openvino", True, None)
    assert ready == []
    may_finish.set()
    assert model.finished.wait(10)
    assert ready == ["tensorrt"]
    assert model.backend == "tensorrt"
    assert model.reenactor(smooth=False, previous="before") == ("tensorrt", False, "before")
    assert model.encode(CROP).model == "tensorrt"
    model.on_ready(lambda built: ready.append(f"late {built.backend}"))
    assert ready == ["tensorrt", "late tensorrt"], "who comes later is told at once"


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (
            EngineError("the plan of generator differs from PyTorch"),
            "the plan of generator differs from PyTorch",
        ),
        (
            KernelBuildError("a.cu does not compile for this GPU:\na long log"),
            "a.cu does not compile for this GPU:",
        ),
    ],
)
def test_a_failed_build_is_reported_and_nothing_switches(error: Exception, note: str) -> None:
    may_finish = threading.Event()

    def build(_progress: Progress) -> Fake:
        assert may_finish.wait(10)
        raise error

    model, ready = HotSwapModel(Fake("openvino"), build), []
    model.on_ready(ready.append)
    may_finish.set()
    assert model.finished.wait(10)
    model.on_ready(ready.append)
    assert ready == []
    assert model.backend == f"openvino; TensorRT failed: {note}"
    assert model.encode(CROP).model == "openvino"


def test_late_progress_is_dropped() -> None:
    """TensorRT reports from threads of its own, so its last report may follow the switch."""
    late: list[Progress] = []

    def build(progress: Progress) -> Fake:
        late.append(progress)
        return Fake("tensorrt")

    model = HotSwapModel(Fake("openvino"), build)
    assert model.finished.wait(10)
    late[0]("tactics", 4, 4)
    assert model.backend == "tensorrt"


def test_other_weights_never_take_over() -> None:
    model = HotSwapModel(Fake("openvino"), lambda _progress: Fake("tensorrt", sha256="other"))
    assert model.finished.wait(10)
    assert model.encode(CROP).model == "openvino"
    assert "other weights" in model.backend


@pytest.mark.parametrize(
    ("built", "bundled", "meanwhile"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_an_export_starts_at_once_where_something_else_can_draw(
    built: bool, bundled: bool, meanwhile: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(plans, "_read_export", lambda _folder: None)
    monkeypatch.setattr(plans, "is_built", lambda *_folder, **_options: built)
    monkeypatch.setattr(plans, "_is_bundled", lambda _folder: bundled)
    monkeypatch.setattr(plans, "open_bundle_openvino", lambda: Fake("openvino"))
    monkeypatch.setattr(plans, "TensorRtCompact", lambda *_folder, **_options: Fake("tensorrt"))
    model = plans.start_compact(tmp_path, gpu=object(), api=object(), cache=object())
    assert isinstance(model, HotSwapModel) is meanwhile
    if meanwhile:
        assert model.finished.wait(10)
    assert model.backend == "tensorrt"


def test_a_response_is_measured_by_the_present_model() -> None:
    class Measuring(Fake):
        def measure_response(self, *_: object) -> str:
            return self.backend

    unused: Any = None
    model = HotSwapModel(Measuring("openvino"), lambda _progress: Measuring("tensorrt"))
    assert model.finished.wait(10)
    assert model.measure_response(unused, unused, unused, unused) == "tensorrt"
    plain = HotSwapModel(Fake("openvino"), lambda _progress: Fake("tensorrt"))
    assert plain.finished.wait(10)
    assert plain.measure_response(unused, unused, unused, unused) is None
