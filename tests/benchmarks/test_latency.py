"""The benchmark: what it counts, and what its JSON holds."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from mimicam.benchmarks.latency import Bench, Measurement, _to_and_fro, burst, fit, load_images, paced
from mimicam.engine.commands import main
from mimicam.engine.concurrency.timings import Timings
from mimicam.engine.report import Report
from tests.session.fakes import PassThrough
from tests.videos import grey, write_video

FACTS = {
    "scenario", "mode", "expression_gain", "eyes_gain", "brows_gain", "mouth_gain", "jaw_gain", "pose_gain",
    "expression_motion", "response", "pose_motion", "covered", "mirror",
    "source", "input_size", "size", "fps", "seconds", "warm_up_s", "frames_in", "frames_out", "drops",
    "delivered_fps", "late_ms", "late_percent", "frame_age_ms", "stages_ms", "model", "backend", "weights_sha256",
    "machine", "memory_mb", "model_size_px", "backend_asked", "cold_start_s", "not_included", "gpu_before", "gpu_after",
    "gpu_memory_mb",
}  # fmt: skip
IMAGES = [grey(i) for i in range(5)]


def _run(scenario: str, pipeline: PassThrough) -> Report:
    options = Bench(scenario=scenario, fps=200.0, seconds=0.2, warm_up=0.0)  # type: ignore[arg-type]
    measure = paced if scenario == "paced" else burst
    what = Measurement(
        options=options, images=IMAGES, size=(64, 48), timings=Timings(), on_counting=lambda: None
    )
    return measure(what, pipeline)


def test_a_burst_drops_nothing_and_keeps_the_pipeline_busy() -> None:
    seen: list[int] = []
    report = _run("burst", PassThrough(lambda frame: seen.append(frame.seq)))
    assert set(report.drops) <= {"stopped", "null"}, "a frame was lost before the pipeline"
    assert seen == list(range(len(seen)))
    assert len(seen) > 2, "the second frame never followed the first"


def test_paced_frames_are_stepped_or_counted_as_dropped() -> None:
    report = _run("paced", PassThrough())
    lost = report.drops.get("inference", 0) + report.drops.get("stopped", 0)
    assert report.frames_in == report.frames_out + lost


def test_the_clip_is_played_to_and_fro_without_a_jump() -> None:
    levels = [int(image[0, 0, 0]) for image in _to_and_fro(IMAGES)]
    assert levels == [0, 1, 2, 3, 4, 3, 2, 1]


def test_pictures_are_fitted_without_distortion() -> None:
    out = fit(np.full((360, 640, 3), 200, np.uint8), (640, 480))
    assert out.shape == (480, 640, 3)
    assert (out[:60] == 0).all()
    assert (out[60:420] == 200).all()
    assert (out[420:] == 0).all()


def test_a_videos_pictures_are_decoded_before_the_start(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [grey(50)] * 3)
    assert [image.shape for image in load_images(str(path), (64, 64))] == [(64, 64, 3)] * 3


@pytest.mark.parametrize("scenario", ["paced", "burst"])
def test_the_whole_command_writes_all_figures(tmp_path: Path, scenario: str) -> None:
    out = tmp_path / "bench.json"
    arguments = ["bench", "--scenario", scenario, "--seconds", "1", "--warm-up", "0.1", "--json", str(out)]
    assert main(arguments) == 0
    facts = json.loads(out.read_text())
    assert set(facts) == FACTS
    assert set(facts["frame_age_ms"]) == {"p50", "p90", "p95", "p99", "max"}
    assert {"track", "generate"} <= set(facts["stages_ms"])
    assert {"cpu", "cores", "gpu", "system", "python", "versions", "commit"} <= set(facts["machine"])
    assert set(facts["memory_mb"]) == {"peak", "growth"}
    assert len(facts["weights_sha256"]) == 64
    assert list(facts["cold_start_s"]) == ["model_and_portrait", "pipeline", "first_frame"]
    assert all(seconds > 0 for seconds in facts["cold_start_s"].values())
    assert "camera" in facts["not_included"]


def test_a_wrong_rate_is_refused() -> None:
    assert main(["bench", "--fps", "0"]) == 1


def test_the_options_are_the_contract() -> None:
    assert {f.name for f in dataclasses.fields(Bench)} == {
        "scenario", "mode", "expression_gain", "eyes_gain", "brows_gain", "mouth_gain", "jaw_gain", "pose_gain",
    "expression_motion", "response", "pose_motion", "covered", "mirror",
        "fps", "seconds", "warm_up", "source", "input_size", "size", "portrait", "model", "backend",
        "late_ms", "json",
    }  # fmt: skip


@pytest.mark.parametrize("backend", ["torch-half", "torch-compile", "tensorrt"])
def test_a_backend_that_is_asked_for_and_is_not_there_is_an_error(
    backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("says what happens without a GPU")
    assert main(["bench", "--backend", backend, "--seconds", "1", "--source", "pattern"]) == 1
    assert "error: " in capsys.readouterr().err


def test_a_gpus_state_is_read_as_its_driver_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    from types import SimpleNamespace

    from mimicam.benchmarks import machine

    line = "NVIDIA H200, 580.1, P0, 1980 MHz, 3201 MHz, 1980 MHz, 3201 MHz, 120.1 W, 700 W, 40, 900 MiB, 143771 MiB"
    monkeypatch.setattr(machine.shutil, "which", lambda _name: "nvidia-smi")
    monkeypatch.setattr(
        machine.subprocess, "run", lambda *_a, **_k: SimpleNamespace(returncode=0, stdout=line + "\n")
    )
    state = machine.gpu_state()
    assert state is not None
    assert state["pstate"] == "P0"
    assert state["clocks.sm"] == "1980 MHz"
    assert state["memory.used"] == "900 MiB"

    def hang(*_a: object, **_k: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 20)

    monkeypatch.setattr(machine.subprocess, "run", hang)
    assert machine.gpu_state() is None


def test_a_processor_has_a_name_without_openvino() -> None:
    from mimicam.benchmarks.machine import _system_cpu_name

    assert _system_cpu_name()
