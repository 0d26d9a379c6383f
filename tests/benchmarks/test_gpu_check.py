"""The GPU session's own logic, without a GPU."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_session
from benchmarks.gpu_session import Part, run_part, run_session


def test_correctness_is_shown_before_speed_and_every_variant_is_measured(tmp_path: Path) -> None:
    from benchmarks import gpu_steps

    names = [part.name for part in gpu_session.parts(tmp_path)]
    assert names[0] == "kernel parity"
    assert any("end to end" in name for name in names)
    assert {name.removeprefix("frame steps, ") for name in names if name.startswith("frame")} == set(
        gpu_steps.VARIANTS
    )
    assert [name for name in names if "sanitizer" in name], "and the kernels under compute-sanitizer"


def test_a_later_command_adds_to_what_an_earlier_one_measured(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    run_session(out, lambda _part: {"outcome": "passed", "by": 1}, only=["parity", "memcheck"])
    run_session(out, lambda _part: {"outcome": "passed", "by": 2}, only=["memcheck", "kernel bench"])
    report = json.loads(out.read_text())
    assert {name: part["by"] for name, part in report["parts"].items()} == {
        "kernel parity": 1, "compute-sanitizer memcheck": 2, "kernel benchmarks": 2,
    }  # fmt: skip
    run_session(out, lambda _part: {"outcome": "passed", "by": 3}, only=["parity"], rehearse=True)
    assert list(json.loads(out.read_text())["parts"]) == ["kernel parity"], (
        "a rehearsal keeps no real figures"
    )


def test_a_part_whose_runtime_is_missing_is_no_failure() -> None:
    code = f"import sys; sys.exit({gpu_session._NOT_INSTALLED})"
    outcome = run_part(Part(name="x", command=(sys.executable, "-c", code), limit_s=60))
    assert outcome["outcome"] == "not installed"


def test_the_first_figures_stand_in_the_line_that_is_printed() -> None:
    for key in ("networks_host_ms", "step_host_ms"):
        modes = {"exp": {key: {"p50": 0.8, "p99": 0.9}}}
        assert gpu_session._headline({"result": {"modes": modes}}) == "; exp 0.800 (p99 0.900) ms"
    assert gpu_session._headline({"result": {"holds_sessions_at_30_fps": 7}}) == "; holds 7 sessions"
    assert gpu_session._headline({}) == ""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_part_runs_at_toy_sizes_without_a_gpu(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "out.json"
    assert gpu_session.main([str(out), "--rehearse"]) == 0
    report = json.loads(out.read_text())
    assert report["rehearsal"] is True
    outcomes = {name: part["outcome"] for name, part in report["parts"].items()}
    assert set(outcomes.values()) <= {"passed", "not installed"}, outcomes
    for name in (
        "kernel benchmarks",
        "frame steps, half",
        "several sessions, half",
        "end to end, paced",
        "live path, half",
    ):
        assert outcomes[name] == "passed"
    assert "Every figure here is meaningless".lower() in out.with_suffix(".md").read_text().lower()


def test_a_part_that_is_not_installed_says_so() -> None:
    outcome = run_part(Part(name="x", command=("no-such-program",), limit_s=1))
    assert outcome == {"outcome": "not installed", "missing": "no-such-program"}


def test_a_part_that_fails_keeps_its_output() -> None:
    code = "import sys; print('what went wrong'); sys.exit(3)"
    outcome = run_part(Part(name="x", command=(sys.executable, "-c", code), limit_s=60))
    assert outcome["outcome"] == "failed"
    assert outcome["code"] == 3
    assert "what went wrong" in outcome["output"]


def test_a_part_that_hangs_is_stopped() -> None:
    command = (sys.executable, "-c", "import threading; threading.Event().wait()")
    assert run_part(Part(name="x", command=command, limit_s=1))["outcome"] == "out of time"


def test_a_parts_own_figures_are_taken_up(tmp_path: Path) -> None:
    result = tmp_path / "r.json"
    code = f"open({str(result)!r}, 'w').write('{{\"p50\": 1}}')"
    outcome = run_part(Part(name="x", command=(sys.executable, "-c", code), limit_s=60, result=result))
    assert outcome["result"] == {"p50": 1}


@pytest.mark.parametrize(("bad", "code"), [("failed", 1), ("out of time", 1), ("not installed", 0)])
def test_one_bad_part_stops_none_and_decides_the_exit_code(tmp_path: Path, bad: str, code: int) -> None:
    def run(part: Part) -> dict[str, Any]:
        return {"outcome": bad if "racecheck" in part.name else "passed"}

    assert run_session(tmp_path / "out.json", run) == code
    report = json.loads((tmp_path / "out.json").read_text())
    assert list(report["parts"]) == [part.name for part in gpu_session.parts(tmp_path)]
    assert "versions" in report["machine"]


def test_a_session_cut_short_keeps_what_it_has(tmp_path: Path) -> None:
    def run(part: Part) -> dict[str, Any]:
        if "racecheck" in part.name:
            raise KeyboardInterrupt
        return {"outcome": "passed"}

    with pytest.raises(KeyboardInterrupt):
        run_session(tmp_path / "out.json", run)
    assert "kernel parity" in json.loads((tmp_path / "out.json").read_text())["parts"]


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="says what happens without a GPU")
def test_without_a_gpu_nothing_runs_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu_session.main([str(tmp_path / "out.json")]) == 2
    assert "no NVIDIA GPU" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_what_does_not_fit_into_the_time_is_left_out_and_comes_with_the_rest(tmp_path: Path) -> None:
    out, ran = tmp_path / "out.json", []

    def run(part: Part) -> dict[str, Any]:
        ran.append(part.name)
        assert part.limit_s <= 60
        return {"outcome": "passed"}

    assert run_session(out, run, minutes=0.6) == 0
    report = json.loads(out.read_text())
    left = [name for name, part in report["parts"].items() if part["outcome"] == "no time left"]
    assert "kernel parity" in ran
    assert "frame steps, half" in left, "fifty seconds do not fit into thirty-six"
    again: list[str] = []
    run_session(out, lambda part: (again.append(part.name), {"outcome": "passed"})[1], rest=True)
    assert again == left
    assert {p["outcome"] for p in json.loads(out.read_text())["parts"].values()} == {"passed"}


def test_a_part_that_needs_what_a_bare_machine_lacks_is_not_installed() -> None:
    part = Part(name="x", command=(sys.executable, "-c", ""), limit_s=60, needs=("no_such_module",))
    assert run_part(part) == {"outcome": "not installed", "missing": "no_such_module"}


def test_a_sanitizer_that_does_not_know_the_device_is_no_failure_of_ours() -> None:
    code = "import sys; print('Error: Device not supported'); sys.exit(1)"
    command = (sys.executable, "-c", code)
    assert run_part(Part(name="compute-sanitizer memcheck", command=command, limit_s=60))["outcome"] == (
        "not possible here"
    )
    assert run_part(Part(name="kernel parity", command=command, limit_s=60))["outcome"] == "failed"


def test_a_page_that_cannot_be_made_loses_no_figures(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    run_session(
        out,
        lambda _part: {"outcome": "passed", "result": {"kernels": {"warp_blend": [{}]}}},
        only=["kernel bench"],
    )
    report = json.loads(out.read_text())
    assert "KeyError" in report["page_error"]
    assert report["parts"]["kernel benchmarks"]["outcome"] == "passed"
