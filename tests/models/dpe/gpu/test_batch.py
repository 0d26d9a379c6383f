"""Several sessions on one GPU, which is the processor here: each sees what it would see alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the GPU path needs torch")

from mimicam.benchmarks.host_gpu import HostGpu  # noqa: E402
from mimicam.engine.backends.cuda import device as cuda_device  # noqa: E402
from mimicam.engine.concurrency.mailbox import Closed  # noqa: E402
from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.engine.models.base import ImageDrivenModel  # noqa: E402
from mimicam.engine.models.dpe.folded import FoldedDpe  # noqa: E402
from mimicam.engine.models.dpe.gpu import batch as shared  # noqa: E402
from mimicam.engine.models.dpe.gpu.batch import SharedModel  # noqa: E402
from mimicam.engine.models.dpe.gpu.device_reenactor import DeviceReenactor  # noqa: E402
from mimicam.engine.models.dpe.gpu.networks import torch_networks  # noqa: E402
from mimicam.engine.models.dpe.gpu.slots import SlotStep  # noqa: E402
from mimicam.engine.models.dpe.model import DpeModel  # noqa: E402
from mimicam.engine.models.dpe.weights import save_dpe  # noqa: E402
from mimicam.engine.models.load import open_shared  # noqa: E402
from mimicam.engine.pipeline import Pipeline  # noqa: E402
from mimicam.engine.portrait import Portrait  # noqa: E402
from mimicam.engine.types import EditSettings, Frame, Mode, MotionReference  # noqa: E402
from tests.fake_tracker import FakeTracker  # noqa: E402
from tests.models.dpe.gpu.test_frame_graph import (  # noqa: E402
    FACTS,
    SIDE,
    SINGLE,
    folded,
    picture,
    portraits,
    reference,
    unseen,
)

__all__ = ["folded", "portraits", "reference"]  # fixtures


class Noting:
    """A step that notes which slots ran together."""

    def __init__(self, step: SlotStep) -> None:
        self._step, self.slots = step, step.slots
        self.batches: list[set[int]] = []

    def __call__(self, requests: dict) -> dict:
        self.batches.append(set(requests))
        return self._step(requests)


@pytest.fixture
def step(folded: FoldedDpe) -> Noting:
    gpu = HostGpu()
    return Noting(SlotStep(torch_networks(folded, SINGLE, gpu, batch=3), gpu))


@pytest.fixture
def model(step: Noting) -> Iterator[SharedModel]:
    found = SharedModel(step, FACTS, wait_s=5.0)  # type: ignore[arg-type]
    yield found
    found.close()


def test_batched_sessions_get_what_each_would_get_alone(
    model: SharedModel, step: Noting, reference: DpeModel, portraits: list[Portrait]
) -> None:
    frames = 6
    results: dict[int, list[np.ndarray]] = {}
    model.expect(3)

    def play(own: int, source: object) -> list[np.ndarray]:
        edit = EditSettings(mode=list(Mode)[own], pose_motion=MotionReference.ABSOLUTE)
        pipeline = Pipeline(
            model=source, portrait=portraits[own % 2], edit=edit,  # type: ignore[arg-type]
            size=(96, 64), aligned=True, track=unseen(),
        )  # fmt: skip
        shown = []
        for seq in range(frames):
            if seq == 3:
                pipeline.set_edit(replace(edit, mode=list(Mode)[(own + 1) % 3]))
            pipeline.set_standby(seq == 4)
            image = picture(60 + 10 * own + seq, SIDE, SIDE)
            shown.append(
                pipeline.step(Frame(image=image, seq=seq, captured_ns=seq * 40_000_000)).image.copy()
            )
        return shown

    sessions = [model.session() for _ in range(3)]
    threads = [
        threading.Thread(target=lambda own=own: results.update({own: play(own, sessions[own])}))  # type: ignore[misc]
        for own in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 3
    for own, shown in results.items():
        for seq, (got, want) in enumerate(zip(shown, play(own, reference), strict=True)):
            assert np.abs(got.astype(int) - want).max() <= 3, (own, seq)
    assert len(step.batches) == frames, (
        "with all three there nobody waits for the deadline, and nobody goes alone"
    )


def test_a_session_only_draws_whole_frames(model: SharedModel, portraits: list[Portrait]) -> None:
    session = model.session()
    assert session.backend == "test, batches of up to 3"
    assert isinstance(session.reenactor(smooth=False), DeviceReenactor)
    own = session.own_codes(portraits[0].features)
    assert np.array_equal(own.pose, portraits[0].features.arrays["pose_code"][0])
    assert not isinstance(session, ImageDrivenModel), "portraits are enrolled with another model"


def test_there_are_no_more_sessions_than_slots(model: SharedModel) -> None:
    for _ in range(3):
        model.session()
    with pytest.raises(EngineError, match="holds 3 sessions"):
        model.session()


def test_a_gpu_that_fails_ends_every_session_with_its_error(portraits: list[Portrait]) -> None:
    class Broken:
        slots = 2

        def __call__(self, _requests: object) -> dict:
            raise RuntimeError("CUDA error: unspecified launch failure")

    model = SharedModel(Broken(), FACTS, wait_s=0.0)  # type: ignore[arg-type]
    model.expect(1)
    frame = Frame(image=picture(1, SIDE, SIDE), seq=0, captured_ns=0)
    for _ in range(2):
        pipeline = Pipeline(
            model=model.session(),
            portrait=portraits[0],
            edit=EditSettings(pose_motion=MotionReference.ABSOLUTE),
            aligned=True,
            track=unseen(),
        )
        with pytest.raises(RuntimeError, match="unspecified launch failure"):
            pipeline.step(frame)
    model.close()


def test_a_server_that_stops_tells_its_sessions(model: SharedModel, portraits: list[Portrait]) -> None:
    session = model.session()
    model.close()
    pipeline = Pipeline(
        model=session,
        portrait=portraits[0],
        edit=EditSettings(pose_motion=MotionReference.ABSOLUTE),
        aligned=True,
        track=unseen(),
    )
    with pytest.raises(Closed):
        pipeline.step(Frame(image=picture(1, SIDE, SIDE), seq=0, captured_ns=0))


def test_calls_of_the_studio_borrow_slots_and_give_them_back(
    model: SharedModel, portraits: list[Portrait], monkeypatch: pytest.MonkeyPatch, reference: DpeModel
) -> None:
    pytest.importorskip("aiortc")
    from mimicam.engine.web import pipeline_pool

    monkeypatch.setattr(pipeline_pool, "FaceDetector", object)
    monkeypatch.setattr("mimicam.engine.pipeline.FaceTracker", FakeTracker)
    monkeypatch.setattr(pipeline_pool, "load_model", lambda *_name, **_options: reference)
    expected: list[int] = []
    monkeypatch.setattr(model, "expect", expected.append)
    pool = pipeline_pool.PipelinePool("dpe.safetensors", "torch-half", shared=model)
    assert pool.modes == tuple(Mode)
    paths = [pool.open(portraits[0], EditSettings(), (96, 64)) for _ in range(3)]
    for path in paths:
        pool.close(path)
    assert expected == [1, 2, 3, 2, 1, 0]
    pool.open(portraits[1], EditSettings(), (96, 64))  # a slot that was given back
    assert "batches of up to 3" in pool.open(portraits[1], EditSettings(), (96, 64)).status.backend


def test_published_weights_are_shared_on_a_gpu_and_only_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mimicam.engine.models.dpe.config import DEBUG
    from mimicam.engine.models.dpe.network import Dpe

    path = tmp_path / "dpe.safetensors"
    save_dpe(Dpe(DEBUG), path)
    assert open_shared(str(path), "torch", slots=2, wait_s=0.001) is None
    assert open_shared("compact", "auto", slots=2, wait_s=0.001) is None
    monkeypatch.setattr(cuda_device, "CudaGpu", HostGpu)
    found = open_shared(str(path), "torch-half", slots=2, wait_s=0.001)
    assert isinstance(found, shared.SharedModel)
    assert found.slots == 2
    found.close()
