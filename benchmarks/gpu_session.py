"""Everything that wants a GPU, in one command: ``python benchmarks/gpu_session.py FILE.json``.

Kernel parity tests, compute-sanitizer, kernel benchmarks, frame steps by what runs them, several sessions, the paced
end-to-end benchmark. Each part is a process of its own with a limit; one that fails or is missing is written down as
such, and the others go on. Run it from a checkout: the tests are not part of the wheel.

--only WORD ...   the parts whose names have one of these words; others of an existing FILE.json are kept
--rehearse        without a GPU, at toy sizes: shows that every part runs; its figures mean nothing
--list            the parts
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_TAIL = 4000
_NOT_INSTALLED = 77
"""As test programs say it."""
_SMI_FIELDS = "name,driver_version,pstate,clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit,memory.used,memory.total"
_GPU_TESTS = ("tests/kernels", "tests/backends/test_gpu_networks.py")
_PYTEST = ("-m", "pytest", "-q", "-m", "gpu", "--timeout=600")
SANITIZERS = ("memcheck", "racecheck", "synccheck")
"""Not initcheck: it reports torch's own cached memory, which says nothing about our kernels."""
_LEAST = ("-k", "agrees and not 256")
"""What the sanitizers look at: every kernel against its reference; they are a hundred times slower."""
_STEPS = (
    "eager-fp32", "half", "half-fold", "compile", "compile-fold",
    "tensorrt", "tensorrt-plugin", "tensorrt-rtx", "torch-tensorrt",
)  # fmt: skip
_SESSIONS = ("half", "compile")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process of the session."""

    name: str
    command: tuple[str, ...]
    limit_s: int
    result: Path | None = None
    """JSON that the process writes."""


def parts(folder: Path, *, rehearse: bool = False) -> list[Part]:
    """What runs, in order: correctness before speed, what the acceptance asks for before what is nice to know."""
    python = sys.executable
    mark = ("--rehearse",) if rehearse else ()
    found = [Part(name="kernel parity", command=(python, *_PYTEST, *_GPU_TESTS), limit_s=600)]
    kernels = folder / "kernels.json"
    command = (python, "-m", "benchmarks.kernels", str(kernels), *mark)
    found.append(Part(name="kernel benchmarks", command=command, limit_s=600, result=kernels))
    session = (python, str(Path(__file__).resolve()), *mark)
    for variant in _STEPS:
        result = folder / f"steps-{variant}.json"
        command = (*session, "--part", "steps", variant, str(result))
        found.append(Part(name=f"frame steps, {variant}", command=command, limit_s=1800, result=result))
    for variant in _SESSIONS:
        result = folder / f"sessions-{variant}.json"
        command = (*session, "--part", "sessions", variant, str(result))
        found.append(Part(name=f"several sessions, {variant}", command=command, limit_s=900, result=result))
    paced = folder / "paced.json"
    main = "import sys; from engine.cli import main; sys.exit(main(sys.argv[1:]))"
    seconds = ("--seconds", "1") if rehearse else ()
    command = (python, "-c", main, "bench", "--backend", "torch", *seconds, "--json", str(paced))
    found.append(Part(name="end to end, paced", command=command, limit_s=300, result=paced))
    for tool in SANITIZERS:
        checked = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", python, *_PYTEST)
        command = (*checked, *_LEAST, _GPU_TESTS[0])
        found.append(Part(name=f"compute-sanitizer {tool}", command=command, limit_s=900))
    return found


def run_part(part: Part) -> dict[str, Any]:
    """Outcome of one part: ``passed``, ``failed``, ``out of time`` or ``not installed``, and what it wrote."""
    if shutil.which(part.command[0]) is None:
        return {"outcome": "not installed", "missing": part.command[0]}
    started = time.monotonic()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(_ROOT), os.environ.get("PYTHONPATH", "")))}
    try:
        done = subprocess.run(
            part.command, cwd=_ROOT, capture_output=True, text=True, timeout=part.limit_s, check=False,
            env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"outcome": "out of time", "limit_s": part.limit_s}
    words = {0: "passed", _NOT_INSTALLED: "not installed"}
    outcome: dict[str, Any] = {
        "outcome": words.get(done.returncode, "failed"),
        "code": done.returncode,
        "seconds": round(time.monotonic() - started, 1),
    }
    if part.result is not None and part.result.is_file():
        outcome["result"] = json.loads(part.result.read_text(encoding="utf-8"))
    if done.returncode or part.result is None:
        outcome["output"] = (done.stdout + done.stderr)[-_TAIL:]
    return outcome


def gpu_state() -> dict[str, str] | None:
    """Clocks, power and memory as the driver tells; None without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", f"--query-gpu={_SMI_FIELDS}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    values = done.stdout.splitlines()[0].split(",")
    return dict(zip(_SMI_FIELDS.split(","), map(str.strip, values), strict=True))


def run_session(
    out: Path,
    run: Callable[[Part], dict[str, Any]] = run_part,
    *,
    only: Sequence[str] = (),
    rehearse: bool = False,
) -> int:
    """Run parts; write ``out`` after each, so that a session cut short keeps what it has. 1 when one failed."""
    from benchmarks.machine import describe_machine

    report: dict[str, Any] = {"machine": describe_machine(), "rehearsal": rehearse, "gpu_before": gpu_state()}
    report["parts"] = _kept(out, rehearse) if only else {}
    with tempfile.TemporaryDirectory() as folder:
        chosen = [p for p in parts(Path(folder), rehearse=rehearse) if _wanted(p.name, only)]
        for part in chosen:
            report["parts"][part.name] = found = run(part)
            print(f"{part.name}: {found['outcome']}{_headline(found)}", flush=True)
            report["gpu_after"] = gpu_state()
            out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    ran = [report["parts"][part.name]["outcome"] for part in chosen]
    return int(any(outcome in ("failed", "out of time") for outcome in ran))


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
    if "modes" in result:
        modes = ((mode, values["networks_host_ms"]) for mode, values in result["modes"].items())
        return "; " + ", ".join(f"{mode} {ms['p50']:.3f} (p99 {ms['p99']:.3f}) ms" for mode, ms in modes)
    if "holds_sessions_at_30_fps" in result:
        return f"; holds {result['holds_sessions_at_30_fps']} sessions"
    return ""


def measure(what: str, variant: str, out: Path, *, rehearse: bool) -> int:
    """One part's figures, in this process."""
    from benchmarks import gpu_steps
    from engine.backends.cuda_gpu import CudaGpu
    from engine.errors import EngineError

    if rehearse and variant in gpu_steps.PLANS:
        raise EngineError(f"{variant} is not available in a rehearsal: plans run on a GPU only")
    gpu = gpu_steps.HostGpu() if rehearse else CudaGpu()
    scale = gpu_steps.REHEARSAL if rehearse else gpu_steps.Scale()
    run = gpu_steps.measure_variant if what == "steps" else gpu_steps.measure_sessions
    report = run(variant, gpu, scale)
    out.write_text(json.dumps(report | {"gpu_then": gpu_state()}, indent=2) + "\n", encoding="utf-8")
    return 0


def main(arguments: list[str]) -> int:
    """Exit code 0: every part passed or is not installed; 1: one failed; 2: no GPU, or wrong arguments."""
    sys.path.insert(0, str(_ROOT))
    from engine.errors import EngineError
    from kernels import KernelBuildError

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", metavar="FILE.json")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(part.name for part in parts(Path())))
        return 0
    try:
        if options.part:
            what, variant, result = options.part
            return measure(what, variant, Path(result), rehearse=options.rehearse)
        if options.out is None:
            parser.error("name the file to write")
        if gpu_state() is None and not options.rehearse:
            print(
                "no NVIDIA GPU here: nothing was run; --rehearse runs toy sizes on the CPU", file=sys.stderr
            )
            return 2
        return run_session(options.out, only=options.only, rehearse=options.rehearse)
    except (EngineError, KernelBuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _NOT_INSTALLED if "not available" in str(error) or "takes no plug-ins" in str(error) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
