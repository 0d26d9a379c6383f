"""The GPU check's own logic, without a GPU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mimicam.benchmarks import gpu_parts, gpu_runner
from mimicam.benchmarks.gpu_parts import Part, Plan
from mimicam.benchmarks.gpu_runner import Choice, run_part
from scripts import gpu_check
from tests import bare

QUICK = ("training smoke run", "profile, exp", "end to end, paced")


def run_parts(
    out: Path, run: Callable[[Part], dict[str, Any]] | None = None, *, rehearse: bool = False, **choice: Any
) -> int:
    return gpu_runner.run_parts(out, Plan(folder=out.parent, rehearse=rehearse), Choice(**choice), run)


def _rehearse(out: Path, *options: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/gpu_check.py", "--out", str(out), "--rehearse", *options]
    return subprocess.run(
        command, cwd=gpu_parts.ROOT, capture_output=True, text=True, timeout=timeout_s, check=False,
        env=bare.environment(out),
    )  # fmt: skip


def parts(folder: Path) -> list[Part]:
    return gpu_parts.parts(Plan(folder=folder))


def test_correctness_comes_first_and_no_variant_is_missing(tmp_path: Path) -> None:
    from mimicam.benchmarks import gpu_steps

    names = [part.name for part in parts(tmp_path)]
    assert names[0] == "kernel parity"
    assert any("end to end" in name for name in names)
    assert {name.removeprefix("frame steps, ") for name in names if name.startswith("frame")} == set(
        gpu_steps.VARIANTS
    )
    assert [name for name in names if "sanitizer" in name], "and the kernels under compute-sanitizer"


def test_a_later_command_adds_to_what_an_earlier_one_measured(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    run_parts(out, lambda _part: {"outcome": "passed", "by": 1}, only=("parity", "memcheck"))
    run_parts(out, lambda _part: {"outcome": "passed", "by": 2}, only=("memcheck", "kernel bench"))
    report = json.loads(out.read_text())
    assert {name: part["by"] for name, part in report["parts"].items()} == {
        "kernel parity": 1, "kernel benchmarks": 2, "compute-sanitizer memcheck": 2,
    }  # fmt: skip
    run_parts(out, lambda _part: {"outcome": "passed", "by": 3}, only=("parity",), rehearse=True)
    assert list(json.loads(out.read_text())["parts"]) == ["kernel parity"], (
        "a rehearsal keeps no real figures"
    )


def test_a_part_whose_runtime_is_missing_is_no_failure() -> None:
    code = f"import sys; sys.exit({gpu_runner.NOT_INSTALLED})"
    outcome = run_part(Part(name="x", command=(sys.executable, "-c", code), limit_s=60))
    assert outcome["outcome"] == "not installed"


def test_the_first_figures_stand_in_the_line_that_is_printed() -> None:
    for key in ("networks_host_ms", "step_host_ms"):
        modes = {"exp": {key: {"p50": 0.8, "p99": 0.9}}}
        assert gpu_runner._headline({"result": {"modes": modes}}) == "; exp 0.800 (p99 0.900) ms"
    assert gpu_runner._headline({"result": {"holds_sessions_at_30_fps": 7}}) == "; holds 7 sessions"
    assert gpu_runner._headline({}) == ""


@pytest.mark.slow
def test_parts_rehearse_with_little_more_than_pytorch(tmp_path: Path) -> None:
    """The quick ones; all of them, at length, below."""
    pytest.importorskip("torch")
    done = _rehearse(tmp_path, "--only", *QUICK, timeout_s=110)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    report = json.loads((tmp_path / gpu_check.NAME).read_text())
    assert {name: part["outcome"] for name, part in report["parts"].items()} == {
        "training smoke run": "passed", "profile, exp": "passed", "end to end, paced": "not installed",
    }  # fmt: skip
    assert report["parts"]["end to end, paced"]["missing"] == "openvino"
    smoke = report["parts"]["training smoke run"]["result"]
    assert smoke["steps_per_s"] > 0
    assert smoke["top"]
    page = (tmp_path / "gpu_check.md").read_text()
    assert "every figure here is meaningless" in page
    assert "end to end, paced: not installed: openvino" in page
    assert "samples/s" in page


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_part_rehearses_with_little_more_than_pytorch(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = _rehearse(tmp_path, timeout_s=880)
    report = json.loads((tmp_path / gpu_check.NAME).read_text())
    outcomes = {name: part["outcome"] for name, part in report["parts"].items()}
    assert done.returncode == 0, outcomes
    assert list(outcomes) == [part.name for part in parts(tmp_path)]
    assert set(outcomes.values()) <= {"passed", "not installed"}, outcomes
    lacks = {name: part["missing"] for name, part in report["parts"].items() if "missing" in part}
    assert set(outcomes) - set(lacks) == {name for name, outcome in outcomes.items() if outcome == "passed"}


def test_a_part_that_is_not_installed_says_so() -> None:
    outcome = run_part(Part(name="x", command=("no-such-program",), limit_s=1))
    assert outcome == {"outcome": "not installed", "missing": "no-such-program"}


def test_a_part_that_fails_keeps_its_output() -> None:
    code = "import sys; print('what went wrong'); sys.exit(3)"
    outcome = run_part(Part(name="x", command=(sys.executable, "-c", code), limit_s=60))
    assert outcome["outcome"] == "failed"
    assert outcome["code"] == 3
    assert "what went wrong" in outcome["output"]


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_runner, "_GRACE_S", 0.5)


@pytest.mark.usefixtures("no_grace")
def test_a_part_that_hangs_is_stopped() -> None:
    command = (sys.executable, "-c", "import threading; threading.Event().wait()")
    assert run_part(Part(name="x", command=command, limit_s=1))["outcome"] == "out of time"


@pytest.mark.usefixtures("no_grace")
@pytest.mark.skipif(os.name != "posix", reason="Windows has no process groups")
def test_what_a_stopped_part_had_started_is_stopped_too(tmp_path: Path) -> None:
    """A sanitizer's child would go on using the GPU and disturb every later figure."""
    alive = tmp_path / "fifo"
    os.mkfifo(alive)
    child = "import signal, threading; signal.signal(15, signal.SIG_IGN); threading.Event().wait()"
    code = (
        "import subprocess, sys, threading;"
        f" end = open({str(alive)!r}, 'wb');"
        f" subprocess.Popen([sys.executable, '-c', {child!r}], pass_fds=[end.fileno()]);"
        " threading.Event().wait()"
    )
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    try:
        part = Part(name="x", command=(sys.executable, "-c", code), limit_s=6)
        assert run_part(part)["outcome"] == "out of time"
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b"", "end of file: nobody holds the other end any more"
    finally:
        os.close(reader)


@pytest.mark.usefixtures("no_grace")
def test_a_part_that_is_cut_short_keeps_what_it_measured(tmp_path: Path) -> None:
    result = tmp_path / "r.json"
    code = f"open({str(result)!r}, 'w').write('{{\"modes\": 1}}'); import threading; threading.Event().wait()"
    outcome = run_part(Part(name="x", command=(sys.executable, "-c", code), limit_s=6, result=result))
    assert outcome["outcome"] == "out of time"
    assert outcome["result"] == {"modes": 1}


@pytest.mark.parametrize(
    ("summary", "outcome"),
    [("3 passed, 9 skipped", "passed"), ("115 skipped", "failed"), ("0 passed", "failed")],
)
def test_tests_that_were_all_skipped_are_no_parity(summary: str, outcome: str) -> None:
    command = (sys.executable, "-c", f"print('{summary} in 2.00s')")
    assert run_part(Part(name="kernel parity", command=command, limit_s=60, tests=True))["outcome"] == outcome
    assert run_part(Part(name="other", command=command, limit_s=60))["outcome"] == "passed"


def test_in_six_minutes_what_decides_comes_first(tmp_path: Path) -> None:
    names = [part.name for part in parts(tmp_path)]
    assert names[:6] == [
        "kernel parity", "training smoke run", "kernel benchmarks", "frame steps, half", "compact steps, compact-half",
        "frame steps, compile",
    ]  # fmt: skip
    assert all("sanitizer" in name for name in names[-3:])


def test_sanitizers_check_our_kernels_alone(tmp_path: Path) -> None:
    from mimicam.kernels._launch import OPS

    part = next(part for part in parts(tmp_path) if "racecheck" in part.name)
    text = " ".join(part.command)
    assert "--report-api-errors no" in text
    assert all(f"--kernel-name kns={op}" in text for op in OPS)


def test_plans_ask_for_their_runtime_before_a_process_is_started(tmp_path: Path) -> None:
    needs = {part.name: part.needs for part in parts(tmp_path)}
    assert needs["frame steps, tensorrt"][0] == "tensorrt"
    assert needs["compact steps, compact-tensorrt-rtx"][0] == "tensorrt_rtx|tensorrt_rtx_bindings"
    part = Part(
        name="x", command=("no-such-program",), limit_s=1, needs=("json|no_such_module", "no_such_module")
    )
    assert run_part(part)["missing"] == "no_such_module"


def test_a_parts_own_figures_are_taken_up(tmp_path: Path) -> None:
    result = tmp_path / "r.json"
    code = f"open({str(result)!r}, 'w').write('{{\"p50\": 1}}')"
    outcome = run_part(Part(name="x", command=(sys.executable, "-c", code), limit_s=60, result=result))
    assert outcome["result"] == {"p50": 1}


@pytest.mark.parametrize(("bad", "code"), [("failed", 1), ("out of time", 1), ("not installed", 0)])
def test_one_bad_part_stops_none_and_decides_the_exit_code(tmp_path: Path, bad: str, code: int) -> None:
    def run(part: Part) -> dict[str, Any]:
        return {"outcome": bad if "racecheck" in part.name else "passed"}

    assert run_parts(tmp_path / "out.json", run) == code
    report = json.loads((tmp_path / "out.json").read_text())
    assert list(report["parts"]) == [part.name for part in parts(tmp_path)]
    assert "versions" in report["machine"]


def test_a_session_cut_short_keeps_what_it_has(tmp_path: Path) -> None:
    def run(part: Part) -> dict[str, Any]:
        if "racecheck" in part.name:
            raise KeyboardInterrupt
        return {"outcome": "passed"}

    with pytest.raises(KeyboardInterrupt):
        run_parts(tmp_path / "out.json", run)
    assert "kernel parity" in json.loads((tmp_path / "out.json").read_text())["parts"]


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="says what happens without a GPU")
def test_without_a_gpu_nothing_runs_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu_check.main(["--out", str(tmp_path / "out")]) == 2
    assert "no NVIDIA GPU" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_parts_without_time_left_run_with_rest(tmp_path: Path) -> None:
    out, ran = tmp_path / "out.json", []

    def run(part: Part) -> dict[str, Any]:
        ran.append(part.name)
        assert part.limit_s <= 36
        return {"outcome": "passed"}

    assert run_parts(out, run, minutes=0.6) == 0
    report = json.loads(out.read_text())
    left = [name for name, part in report["parts"].items() if part["outcome"] == "no time left"]
    assert "kernel parity" in ran
    assert "training smoke run" in left, "forty-five seconds do not fit into thirty-six"
    again: list[str] = []
    run_parts(out, lambda part: (again.append(part.name), {"outcome": "passed"})[1], rest=True)
    assert again == left
    assert {p["outcome"] for p in json.loads(out.read_text())["parts"].values()} == {"passed"}


def test_a_part_without_its_modules_is_not_installed() -> None:
    part = Part(name="x", command=(sys.executable, "-c", ""), limit_s=60, needs=("no_such_module",))
    assert run_part(part) == {"outcome": "not installed", "missing": "no_such_module"}


def test_a_sanitizer_without_support_is_no_failure() -> None:
    code = "import sys; print('Error: Device not supported'); sys.exit(1)"
    command = (sys.executable, "-c", code)
    assert run_part(Part(name="compute-sanitizer memcheck", command=command, limit_s=60))["outcome"] == (
        "not possible here"
    )
    assert run_part(Part(name="kernel parity", command=command, limit_s=60))["outcome"] == "failed"


def test_a_page_that_cannot_be_made_loses_no_figures(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    run_parts(
        out,
        lambda _part: {"outcome": "passed", "result": {"kernels": {"warp_blend": [{}]}}},
        only=("kernel bench",),
    )
    report = json.loads(out.read_text())
    assert "KeyError" in report["page_error"]
    assert report["parts"]["kernel benchmarks"]["outcome"] == "passed"
