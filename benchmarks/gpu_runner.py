"""Runs the parts of ``scripts/gpu_check.py`` in time; JSON and page are complete after each of
them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mimicam.benchmarks.gpu_parts import ROOT, Part, Plan, parts
from mimicam.engine.files import write_atomically

NOT_INSTALLED = 77
"""Exit code of a process that lacks what it needs, as test programs use it."""
_TAIL = 4000
_LEFT_OUT = "no time left"
_AGAIN = (_LEFT_OUT, "out of time")
_FAILURE = re.compile(r"^(?:FAILED|ERROR) .*|^E  .*", re.M)
"""Lines of pytest that name a failed test and its reason."""
_PATIENCE = 5
_GRACE_S = 5.0
"""Between the request to end and the kill: time in which a process writes what it has."""

Run = Callable[[Part], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which parts run, and for how long."""

    minutes: float = math.inf
    only: tuple[str, ...] = ()
    """Words of names; others that an existing report has are kept."""
    rest: bool = False
    """Those that an existing report lacks, cut short, or left out."""
    skip: tuple[str, ...] = ()
    """Words of names that do not run."""


def run_parts(out: Path, plan: Plan, choice: Choice, run: Run | None = None) -> int:
    """Run parts; write ``out`` and its page after each. 1 when one failed or was out of time."""
    from mimicam.benchmarks.machine import describe_machine, gpu_state

    run = run or run_part
    # The monotonic clock: a machine that sets its clock after booting would move the end.
    end_s = time.monotonic() + 60 * choice.minutes
    report: dict[str, Any] = {
        "machine": describe_machine(),
        "rehearsal": plan.rehearse,
        "gpu_before": gpu_state(),
    }
    report["parts"] = _kept(out, plan.rehearse) if choice.only or choice.rest else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    _write(out, report)
    with tempfile.TemporaryDirectory() as folder:
        chosen = _chosen(parts(replace(plan, folder=Path(folder))), choice, report["parts"])
        for part in chosen:
            if plan.rehearse:  # a processor is slow, and a shared one slower
                part = replace(part, limit_s=_PATIENCE * part.limit_s, tests=False)
            report["parts"][part.name] = found = _run_in_time(part, run, end_s - time.monotonic())
            print(f"{part.name}: {found['outcome']}{_headline(found)}", flush=True)
            report["gpu_after"] = gpu_state()
            _write(out, report)
    ran = [report["parts"][part.name]["outcome"] for part in chosen]
    return int(any(outcome in ("failed", "out of time") for outcome in ran))


def run_part(part: Part) -> dict[str, Any]:
    """Outcome of one part: ``passed``, ``failed``, ``out of time``, ``not installed`` or ``not
    possible here``, and what it wrote, also where it was cut short."""
    missing = [name for name in part.needs if not _found(name)]
    if shutil.which(part.command[0]) is None:
        # compute-sanitizer is a program of the CUDA toolkit, which a bare machine may lack.
        missing.append(part.command[0])
    if missing:
        return {"outcome": "not installed", "missing": missing[0].split("|")[0]}
    started = time.monotonic()
    code, text = _run_group(part)
    outcome: dict[str, Any] = {
        "outcome": _outcome(part, code, text),
        "seconds": round(time.monotonic() - started, 1),
    }
    outcome |= {"limit_s": part.limit_s} if code is None else {"code": code}
    if part.result is not None and part.result.is_file():
        outcome |= _figures(part.result)
    if code != 0 or part.result is None:
        outcome["output"] = text[-_TAIL:]
    if part.tests and code != 0:
        outcome["failures"] = _FAILURE.findall(text)
    return outcome


def _found(name: str) -> bool:
    return any(importlib.util.find_spec(one) is not None for one in name.split("|"))


def _figures(path: Path) -> dict[str, Any]:
    try:
        return {"result": json.loads(path.read_text(encoding="utf-8"))}
    except ValueError:  # killed while it wrote
        return {}


def _run_group(part: Part) -> tuple[int | None, str]:
    """Exit code, None at the limit, and output of a process that leaves no children behind.

    What a killed tool started would go on using the GPU and disturb every later figure.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    # Wide, or pytest cuts the reasons of failures off.
    environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "240"}
    # A file, not a pipe: a pipe that nobody reads fills up and blocks the process that is timed.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            # A session of its own: its group then holds all that the process starts.
            part.command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )  # fmt: skip
        code: int | None = None
        try:
            code = process.wait(part.limit_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end_group(process)
        output.seek(0)
        return code, output.read()


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: asked first, so that it writes what it has."""
    if process.poll() is None:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    # Also after a good end: children that outlive their parent are in the group.
    _signal_group(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if os.name != "posix":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _outcome(part: Part, code: int | None, text: str) -> str:
    if code is None:
        return "out of time"
    # Some virtual machines give the tool no access to the GPU: no fault of a kernel.
    if code and "sanitizer" in part.name and "Device not supported" in text:
        return "not possible here"
    # On a machine whose GPU is not found every test is skipped, and pytest ends with 0.
    if code == 0 and part.tests and not re.search(r"\b[1-9]\d* passed", text):
        return "failed"
    return {0: "passed", NOT_INSTALLED: "not installed"}.get(code, "failed")


def _chosen(every: Sequence[Part], choice: Choice, done: dict[str, Any]) -> list[Part]:
    def wanted(name: str) -> bool:
        chosen = not choice.only or any(word in name for word in choice.only)
        again = not choice.rest or done.get(name, {}).get("outcome", _LEFT_OUT) in _AGAIN
        return chosen and again and not any(word in name for word in choice.skip)

    return [part for part in every if wanted(part.name)]


def _run_in_time(part: Part, run: Run, left_s: float) -> dict[str, Any]:
    if left_s < part.expect_s:
        return {"outcome": _LEFT_OUT}
    # A part may begin with less than its limit left; then what it has written by the end counts.
    return run(part if left_s > part.limit_s else replace(part, limit_s=max(int(left_s - _GRACE_S), 1)))


def _write(out: Path, report: dict[str, Any]) -> None:
    """JSON and page, each complete or not at all. A page that cannot be made must not lose the
    figures."""
    from mimicam.benchmarks.gpu_report import verdicts, write_page

    report.pop("page_error", None)
    try:
        report["verdicts"] = verdicts(report["parts"])
        write_page(out, report)
    except (KeyError, TypeError, ValueError) as error:
        report["page_error"] = f"{type(error).__name__}: {error}"
    with write_atomically(out) as part:
        part.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _kept(out: Path, rehearse: bool) -> dict[str, Any]:
    """Parts that an earlier command measured in the same way."""
    if not out.is_file():
        return {}
    earlier = json.loads(out.read_text(encoding="utf-8"))
    same = earlier.get("rehearsal", False) == rehearse
    return dict(earlier["parts"]) if same else {}


def _headline(found: dict[str, Any]) -> str:
    """Name the most important figure of a part."""
    if "missing" in found:
        return f": {found['missing']}"
    result = found.get("result", {})
    for key in ("step_host_ms", "networks_host_ms"):
        rows = {mode: row[key] for mode, row in result.get("modes", {}).items() if key in row}
        if rows:
            return "; " + ", ".join(f"{m} {ms['p50']:.3f} (p99 {ms['p99']:.3f}) ms" for m, ms in rows.items())
    if "steps_per_s" in result:
        return f"; {result['steps_per_s']:.2f} steps/s, {result['samples_per_s']:.0f} samples/s"
    if "holds_sessions_at_30_fps" in result:
        return f"; holds {result['holds_sessions_at_30_fps']} sessions"
    return ""
