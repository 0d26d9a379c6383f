"""Everything that wants a GPU, in one command: ``python benchmarks/gpu_session.py FILE.json``.

Kernel parity tests, kernel benchmarks, frame steps by what runs them, compute-sanitizer, several sessions, the live path,
the paced end-to-end benchmark; then FILE.md, which says for each target whether it is met. Each part is a process of its
own with a limit; one that fails or is missing is written down as such, and the others go on. Run it from a checkout: the
tests are not part of the wheel. It needs PyTorch built for CUDA, CuPy, onnx, safetensors, OpenCV, rich, pytest and
pytest-timeout; the end-to-end parts and TensorRT's also what mimicam itself needs.

--minutes N       stop in time: parts that would not fit are left out, and said to be
--rest            the parts that an existing FILE.json lacks, was too short for, or says were out of time
--only WORD ...   the parts whose names have one of these words; others of an existing FILE.json are kept
--rehearse        without a GPU, at toy sizes: shows that every part runs; its figures mean nothing
--list            the parts
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_TAIL = 4000
_NOT_INSTALLED = 77
"""As test programs say it."""
_LEFT_OUT = "no time left"
_PATIENCE = 5
_AGAIN = (_LEFT_OUT, "out of time")
_GPU_TESTS = ("tests/kernels", "tests/backends/test_frame_drawer.py")
_PYTEST = ("-m", "pytest", "-q", "-m", "gpu", "--timeout=300", "-p", "no:cacheprovider")
SANITIZERS = ("memcheck", "racecheck", "synccheck")
"""Not initcheck: it reports torch's own cached memory, which says nothing about our kernels."""
_FIRST_STEPS = ("half", "eager-fp32")
_MORE_STEPS = ("compile", "half-fold", "compile-fold")
_PLAN_STEPS = ("tensorrt", "tensorrt-plugin", "tensorrt-rtx", "torch-tensorrt")
_COMPACT = (
    "compact-half",
    "compact-eager-fp32",
    "compact-compile",
    "compact-tensorrt",
    "compact-tensorrt-rtx",
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process of the session."""

    name: str
    command: tuple[str, ...]
    limit_s: int
    expect_s: int = 0
    """With less time left it is not begun."""
    result: Path | None = None
    """JSON that the process writes."""
    needs: tuple[str, ...] = ()
    """Modules without which it cannot run, beside what every part needs."""


def parts(folder: Path, *, rehearse: bool = False) -> list[Part]:
    """What runs, in order: correctness before speed, what the acceptance asks for before what is nice to know."""
    python = sys.executable
    mark = ("--rehearse",) if rehearse else ()
    kernels = folder / "kernels.json"
    command = (python, "-m", "benchmarks.kernels", str(kernels), *mark)
    own = partial(_own_parts, folder, mark)
    return [
        Part(name="kernel parity", command=(python, *_PYTEST, *_GPU_TESTS), limit_s=240, expect_s=30),
        Part(name="kernel benchmarks", command=command, limit_s=180, expect_s=30, result=kernels),
        *own("steps", _FIRST_STEPS, limit_s=240, expect_s=50),
        _sanitizer(SANITIZERS[0]),
        *own("sessions", ("half",), limit_s=240, expect_s=40),
        *own("live", ("half",), limit_s=240, expect_s=50),
        *own("compact", _COMPACT[:2], limit_s=180, expect_s=25),
        *own("steps", _MORE_STEPS[:2], limit_s=900, expect_s=90),
        *map(_sanitizer, SANITIZERS[1:]),
        *own("steps", (_MORE_STEPS[2], *_PLAN_STEPS), limit_s=1800, expect_s=90),
        *own("compact", _COMPACT[2:], limit_s=600, expect_s=60),
        *own("sessions", ("compile",), limit_s=900, expect_s=90),
        *_end_to_end(folder, rehearse),
    ]


_NAMES = {
    "steps": "frame steps, ", "sessions": "several sessions, ", "live": "live path, ", "compact": "compact steps, ",
}  # fmt: skip


def _own_parts(
    folder: Path, mark: tuple[str, ...], what: str, variants: Sequence[str], *, limit_s: int, expect_s: int
) -> Iterator[Part]:
    """Parts that this file runs itself, in a process of their own."""
    for variant in variants:
        result = folder / f"{what}-{variant}.json"
        command = (sys.executable, str(Path(__file__).resolve()), *mark, "--part", what, variant, str(result))
        yield Part(
            name=_NAMES[what] + variant, command=command, limit_s=limit_s, expect_s=expect_s, result=result
        )


def _sanitizer(tool: str) -> Part:
    command = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", sys.executable)
    return Part(
        name=f"compute-sanitizer {tool}", command=(*command, "-m", "tests.kernels.on_gpu"), limit_s=420,
        expect_s=45,
    )  # fmt: skip


def _end_to_end(folder: Path, rehearse: bool) -> Iterator[Part]:
    main = "import sys; from engine.cli import main; sys.exit(main(sys.argv[1:]))"
    backend, seconds = ("torch", ("--seconds", "1")) if rehearse else ("torch-half", ("--seconds", "10"))
    for scenario in ("paced", "burst"):
        result = folder / f"{scenario}.json"
        options = ("--scenario", scenario, "--backend", backend, *seconds, "--json", str(result))
        command = (sys.executable, "-c", main, "bench", *options)
        needs = ("openvino", "av", "tyro")
        yield Part(
            name=f"end to end, {scenario}",
            command=command,
            limit_s=180,
            expect_s=30,
            result=result,
            needs=needs,
        )


def run_part(part: Part) -> dict[str, Any]:
    """Outcome of one part: ``passed``, ``failed``, ``out of time``, ``not installed`` or ``not possible here``, and what it
    wrote."""
    missing = [name for name in part.needs if importlib.util.find_spec(name) is None]
    if shutil.which(part.command[0]) is None:
        missing.append(part.command[0])
    if missing:
        return {"outcome": "not installed", "missing": missing[0]}
    started = time.monotonic()
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH", ""))))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    try:
        done = subprocess.run(
            part.command, cwd=_ROOT, capture_output=True, text=True, timeout=part.limit_s, check=False,
            env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        text = "".join(_text(stream) for stream in (late.stdout, late.stderr))
        return {"outcome": "out of time", "limit_s": part.limit_s, "output": text[-_TAIL:]}
    text = done.stdout + done.stderr
    outcome: dict[str, Any] = {
        "outcome": _outcome(part, done.returncode, text),
        "code": done.returncode,
        "seconds": round(time.monotonic() - started, 1),
    }
    if part.result is not None and part.result.is_file():
        outcome["result"] = json.loads(part.result.read_text(encoding="utf-8"))
    if done.returncode or part.result is None:
        outcome["output"] = text[-_TAIL:]
    return outcome


def _outcome(part: Part, code: int, text: str) -> str:
    if code and "sanitizer" in part.name and "Device not supported" in text:
        return "not possible here"
    return {0: "passed", _NOT_INSTALLED: "not installed"}.get(code, "failed")


def _text(stream: str | bytes | None) -> str:
    return stream.decode(errors="replace") if isinstance(stream, bytes) else stream or ""


def run_session(
    out: Path,
    run: Callable[[Part], dict[str, Any]] = run_part,
    *,
    only: Sequence[str] = (),
    rest: bool = False,
    minutes: float = math.inf,
    rehearse: bool = False,
) -> int:
    """Run parts; write ``out`` and its page after each, so that a session cut short keeps what it has. 1 when one failed."""
    from benchmarks.machine import describe_machine, gpu_state

    end_s = time.monotonic() + 60 * minutes
    report: dict[str, Any] = {"machine": describe_machine(), "rehearsal": rehearse, "gpu_before": gpu_state()}
    report["parts"] = _kept(out, rehearse) if only or rest else {}
    with tempfile.TemporaryDirectory() as folder:
        chosen = [p for p in parts(Path(folder), rehearse=rehearse) if _wanted(p.name, only)]
        if rehearse:  # a processor is slow, and a shared one slower
            chosen = [replace(part, limit_s=_PATIENCE * part.limit_s) for part in chosen]
        if rest:
            chosen = [
                p for p in chosen if report["parts"].get(p.name, {}).get("outcome", _LEFT_OUT) in _AGAIN
            ]
        for part in chosen:
            report["parts"][part.name] = found = _run_in_time(part, run, end_s - time.monotonic())
            print(f"{part.name}: {found['outcome']}{_headline(found)}", flush=True)
            report["gpu_after"] = gpu_state()
            _write(out, report)
    ran = [report["parts"][part.name]["outcome"] for part in chosen]
    return int(any(outcome in ("failed", "out of time") for outcome in ran))


def _run_in_time(part: Part, run: Callable[[Part], dict[str, Any]], left_s: float) -> dict[str, Any]:
    if left_s < part.expect_s:
        return {"outcome": _LEFT_OUT}
    return run(part if left_s > part.limit_s else replace(part, limit_s=max(int(left_s), 1)))


def _write(out: Path, report: dict[str, Any]) -> None:
    """JSON and page. A page that cannot be made must not lose the figures."""
    from benchmarks.gpu_report import verdicts, write_page

    try:
        report["verdicts"] = verdicts(report["parts"])
        write_page(out, report)
    except (KeyError, TypeError, ValueError) as error:
        report["page_error"] = f"{type(error).__name__}: {error}"
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _wanted(name: str, only: Sequence[str]) -> bool:
    return not only or any(word in name for word in only)


def _kept(out: Path, rehearse: bool) -> dict[str, Any]:
    """Parts that an earlier command measured in the same way."""
    if not out.is_file():
        return {}
    earlier = json.loads(out.read_text(encoding="utf-8"))
    same = earlier.get("rehearsal", False) == rehearse
    return dict(earlier["parts"]) if same else {}


def _headline(found: dict[str, Any]) -> str:
    """The figure that a person looks for first."""
    result = found.get("result", {})
    if "modes" in result and "step_host_ms" in next(iter(result["modes"].values())):
        modes = ((mode, values["step_host_ms"]) for mode, values in result["modes"].items())
        return "; " + ", ".join(f"{mode} {ms['p50']:.3f} (p99 {ms['p99']:.3f}) ms" for mode, ms in modes)
    if "modes" in result:
        modes = ((mode, values["networks_host_ms"]) for mode, values in result["modes"].items())
        return "; " + ", ".join(f"{mode} {ms['p50']:.3f} (p99 {ms['p99']:.3f}) ms" for mode, ms in modes)
    if "holds_sessions_at_30_fps" in result:
        return f"; holds {result['holds_sessions_at_30_fps']} sessions"
    return ""


def measure(what: str, variant: str, out: Path, *, rehearse: bool) -> int:
    """One part's figures, in this process."""
    from benchmarks import gpu_compact, gpu_steps
    from benchmarks.machine import gpu_state
    from engine.backends.cuda_gpu import CudaGpu
    from engine.errors import EngineError

    if rehearse and variant in (*gpu_steps.PLANS, *gpu_compact.PLANS):
        raise EngineError(f"{variant} is not available in a rehearsal: plans run on a GPU only")
    gpu = gpu_steps.HostGpu() if rehearse else CudaGpu()
    scale = gpu_steps.REHEARSAL if rehearse else gpu_steps.Scale()
    run: Callable[..., dict[str, Any]] = gpu_steps.measure_variant
    if what == "sessions":
        run = gpu_steps.measure_sessions
    elif what == "compact":
        run = gpu_compact.measure_compact
    elif what == "live":
        from benchmarks.gpu_live import measure_live

        run = measure_live
    report = run(variant, gpu, scale)
    out.write_text(json.dumps(report | {"gpu_then": gpu_state()}, indent=2) + "\n", encoding="utf-8")
    return 0


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", metavar="FILE.json")
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--rest", action="store_true")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.out is None and not (options.list or options.part):
        parser.error("name the file to write")
    return options


def main(arguments: list[str]) -> int:
    """Exit code 0: every part passed or is not installed; 1: one failed; 2: no GPU, or wrong arguments."""
    sys.path.insert(0, str(_ROOT))
    from benchmarks.machine import gpu_state
    from engine.errors import EngineError
    from kernels import KernelBuildError

    options = _arguments(arguments)
    if options.list:
        print("\n".join(part.name for part in parts(Path())))
        return 0
    try:
        if options.part:
            what, variant, result = options.part
            return measure(what, variant, Path(result), rehearse=options.rehearse)
        if gpu_state() is None and not options.rehearse:
            print(
                "no NVIDIA GPU here: nothing was run; --rehearse runs toy sizes on the CPU", file=sys.stderr
            )
            return 2
        return run_session(
            options.out,
            only=options.only,
            rest=options.rest,
            minutes=options.minutes,
            rehearse=options.rehearse,
        )
    except ModuleNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return _NOT_INSTALLED
    except (EngineError, KernelBuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _NOT_INSTALLED if "not available" in str(error) or "takes no plug-ins" in str(error) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
