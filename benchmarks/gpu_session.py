"""Everything that wants a GPU, in one command: ``python benchmarks/gpu_session.py FILE.json``.

Kernel parity tests, compute-sanitizer, kernel benchmarks, frame steps by backend, the paced end-to-end benchmark. Each
part is a process of its own with a limit; one that fails or is missing is written down as such, and the others go on.
Run it from a checkout: the tests are not part of the wheel.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_TAIL = 4000
_SMI_FIELDS = "name,driver_version,pstate,clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit,memory.used,memory.total"
_PYTEST = ("-m", "pytest", "-q", "-m", "gpu", "tests/kernels", "--timeout=600")
SANITIZERS = ("memcheck", "racecheck", "synccheck")
"""Not initcheck: it reports torch's own cached memory, which says nothing about our kernels."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process of the session."""

    name: str
    command: tuple[str, ...]
    limit_s: int
    result: Path | None = None
    """JSON that the process writes."""


def parts(folder: Path) -> list[Part]:
    """What runs, in order: correctness before speed."""
    python = sys.executable
    session = (python, str(Path(__file__).resolve()))
    found = [Part(name="kernel parity", command=(python, *_PYTEST), limit_s=600)]
    for tool in SANITIZERS:
        checked = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", python, *_PYTEST)
        found.append(Part(name=f"compute-sanitizer {tool}", command=checked, limit_s=900))
    kernels = folder / "kernels.json"
    command = (python, "-m", "benchmarks.kernels", str(kernels))
    found.append(Part(name="kernel benchmarks", command=command, limit_s=600, result=kernels))
    for backend in ("torch", "tensorrt", "tensorrt-rtx"):
        result = folder / f"steps-{backend}.json"
        command = (*session, "--steps", backend, str(result))
        found.append(Part(name=f"frame steps, {backend}", command=command, limit_s=1800, result=result))
    paced = folder / "paced.json"
    main = "import sys; from engine.cli import main; sys.exit(main(sys.argv[1:]))"
    command = (python, "-c", main, "bench", "--backend", "torch", "--json", str(paced))
    found.append(Part(name="end to end, paced", command=command, limit_s=300, result=paced))
    return found


def run_part(part: Part) -> dict[str, Any]:
    """Outcome of one part: ``passed``, ``failed``, ``out of time`` or ``not installed``, and what it wrote."""
    if shutil.which(part.command[0]) is None:
        return {"outcome": "not installed", "missing": part.command[0]}
    try:
        done = subprocess.run(
            part.command, cwd=_ROOT, capture_output=True, text=True, timeout=part.limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return {"outcome": "out of time", "limit_s": part.limit_s}
    outcome: dict[str, Any] = {
        "outcome": "passed" if done.returncode == 0 else "failed",
        "code": done.returncode,
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


def run_session(out: Path, run: Callable[[Part], dict[str, Any]] = run_part) -> int:
    """Run all parts; write ``out`` after each, so that a session cut short keeps what it has. 1 when one failed."""
    from benchmarks.machine import describe_machine

    report: dict[str, Any] = {"machine": describe_machine(), "gpu_before": gpu_state(), "parts": {}}
    with tempfile.TemporaryDirectory() as folder:
        for part in parts(Path(folder)):
            report["parts"][part.name] = run(part)
            print(f"{part.name}: {report['parts'][part.name]['outcome']}", flush=True)
            report["gpu_after"] = gpu_state()
            out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return int(any(found["outcome"] in ("failed", "out of time") for found in report["parts"].values()))


def measure_steps(backend: str, out: Path) -> int:
    """The published preset's frame on one backend: its times, and the memory it takes."""
    import torch

    from benchmarks import gpu_steps
    from engine.backends.tensorrt import CudaGpu
    from engine.backends.tensorrt_api import find

    gpu = CudaGpu()
    with tempfile.TemporaryDirectory() as folder:
        if backend == "torch":
            modes = gpu_steps.measure_modes(lambda: gpu_steps.torch_nets("published", "cuda"), gpu)
            name = f"torch {torch.__version__} fp32, captured"
        else:
            api = find("tensorrt" if backend == "tensorrt" else "tensorrt-rtx")
            make = lambda: gpu_steps.tensorrt_nets("published", Path(folder), api, gpu, "fp16")  # noqa: E731
            modes, name = gpu_steps.measure_modes(make, gpu), f"{api.name} fp16"
    memory = torch.cuda.mem_get_info()
    report = {"backend": name, "modes": modes, "vram_used_mb": (memory[1] - memory[0]) / 1e6}
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def main(arguments: list[str]) -> int:
    """Exit code 0: every part passed or is not installed; 1: one failed; 2: no GPU, or wrong arguments."""
    sys.path.insert(0, str(_ROOT))
    from engine.errors import EngineError, KernelBuildError

    try:
        if len(arguments) == 3 and arguments[0] == "--steps":
            return measure_steps(arguments[1], Path(arguments[2]))
        if len(arguments) != 1:
            print("usage: python benchmarks/gpu_session.py FILE.json", file=sys.stderr)
            return 2
        if gpu_state() is None:
            print("no NVIDIA GPU here: nothing was run", file=sys.stderr)
            return 2
        return run_session(Path(arguments[0]))
    except (EngineError, KernelBuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
