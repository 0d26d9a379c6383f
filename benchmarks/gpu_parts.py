"""The parts of ``scripts/gpu_check.py``, in order. Each is a process of its own with a limit."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMOKE, PROFILE = "training smoke run", "profile"
SMOKE_S = 45
"""Training time of the smoke run: 20 s to choose convolutions and warm up, the rest to count steps
in."""
_GPU_TESTS = (
    "tests/kernels",
    "tests/models/dpe/gpu/test_frame_graph.py",
    "tests/models/compact/test_frame_graph.py",
)
_PYTEST = ("-m", "pytest", "-q", "-m", "gpu", "--timeout=300", "-p", "no:cacheprovider")
SANITIZERS = ("memcheck", "racecheck", "synccheck")
"""Tools of compute-sanitizer. Not initcheck: it reports torch's own cached memory, not our
kernels."""
_PLANS = {
    "tensorrt": ("tensorrt", "openvino"),
    "tensorrt-plugin": ("tensorrt", "openvino"),
    "tensorrt-rtx": ("tensorrt_rtx|tensorrt_rtx_bindings", "openvino"),
    "torch-tensorrt": ("torch_tensorrt",),
}
"""Modules that each variant with plans needs; see ``Part.needs``."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process of the session."""

    name: str
    command: tuple[str, ...]
    limit_s: int
    expect_s: int = 0
    """Seconds. With less time left the part is not started."""
    result: Path | None = None
    """JSON that the process writes, complete after each of its figures."""
    needs: tuple[str, ...] = ()
    """Modules without which it cannot run, beside what every part needs; ``a|b``: one of the
    two."""
    tests: bool = False
    """A run of pytest: on a GPU it fails unless at least one test passed."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Folder that parts write to, and their scale."""

    folder: Path
    pack: Path | None = None
    """Pack of the training smoke run; None: drawn noise."""
    rehearse: bool = False

    @property
    def mark(self) -> tuple[str, ...]:
        """Option of a process that rehearses."""
        return ("--rehearse",) if self.rehearse else ()


def parts(plan: Plan) -> list[Part]:
    """List every part: correctness first, then the figures that decide what is done next, then the
    rest.

    All up to ``half-fold`` are expected to fit into 6 minutes. Sanitizers are last: they are slow
    and measure no speed.
    """
    python = sys.executable
    kernels = plan.folder / "kernels.json"
    bench = (python, "-m", "mimicam.benchmarks.kernels", str(kernels), *plan.mark)
    # Processes, since a kernel that faults leaves its CUDA context unusable.
    return [
        # Before any speed: a wrong kernel's time is worthless, and the session may end early.
        Part(name="kernel parity", command=(python, *_PYTEST, *_GPU_TESTS), limit_s=150, expect_s=30, tests=True),
        _smoke(plan),
        Part(name="kernel benchmarks", command=bench, limit_s=120, expect_s=30, result=kernels),
        *_own(plan, "steps", ("half",), limit_s=150, expect_s=50),
        *_own(plan, "compact", ("compact-half",), limit_s=90, expect_s=15),
        *_own(plan, "steps", ("compile",), limit_s=300, expect_s=85),
        *_own(plan, PROFILE, ("exp",), limit_s=90, expect_s=15),
        *_own(plan, "steps", ("half-fold",), limit_s=150, expect_s=50),
        *_own(plan, "live", ("half",), limit_s=150, expect_s=40),
        *_own(plan, "sessions", ("half",), limit_s=150, expect_s=40),
        *_own(plan, "steps", ("eager-fp32", "eager-half"), limit_s=150, expect_s=40),
        *_own(plan, "compact", ("compact-eager-fp32",), limit_s=90, expect_s=20),
        *_own(plan, "steps", ("compile-fold",), limit_s=600, expect_s=60),
        *_own(plan, "compact", ("compact-compile",), limit_s=300, expect_s=40),
        *_own(plan, "sessions", ("compile",), limit_s=600, expect_s=90),
        *_planned(plan),
        *_end_to_end(plan),
        *map(_sanitizer, SANITIZERS),
    ]  # fmt: skip


_NAMES = {
    "steps": "frame steps, ", "sessions": "several sessions, ", "live": "live path, ", "compact": "compact steps, ",
    PROFILE: "profile, ",
}  # fmt: skip


def _own(plan: Plan, what: str, variants: Sequence[str], *, limit_s: int, expect_s: int) -> Iterator[Part]:
    """Parts that `benchmarks.gpu_part` measures."""
    for variant in variants:
        result = plan.folder / f"{what}-{variant}.json"
        command = (
            sys.executable,
            "-m",
            "mimicam.benchmarks.gpu_part",
            what,
            variant,
            str(result),
            *plan.mark,
        )
        name = _NAMES[what] + variant
        yield Part(name=name, command=command, limit_s=limit_s, expect_s=expect_s, result=result)


def _smoke(plan: Plan) -> Part:
    """A short training run: how many steps a second the machine makes, and how long it waits for
    data."""
    result = plan.folder / "smoke.json"
    command = (sys.executable, str(ROOT / "scripts" / "gpu_train.py"), "--smoke", str(result), *plan.mark)
    pack = () if plan.pack is None else ("--pack", str(plan.pack))
    return Part(
        name=SMOKE, command=(*command, *pack), limit_s=SMOKE_S + 60, expect_s=SMOKE_S + 25, result=result
    )


def _planned(plan: Plan) -> Iterator[Part]:
    for variant, needs in _PLANS.items():
        for part in _own(plan, "steps", (variant,), limit_s=1800, expect_s=90):
            yield _needing(part, needs)
    for variant in ("tensorrt", "tensorrt-rtx"):
        for part in _own(plan, "compact", (f"compact-{variant}",), limit_s=600, expect_s=60):
            yield _needing(part, _PLANS[variant])


def _needing(part: Part, needs: tuple[str, ...]) -> Part:
    return Part(
        name=part.name, command=part.command, limit_s=part.limit_s, expect_s=part.expect_s, result=part.result,
        needs=needs,
    )  # fmt: skip


def _sanitizer(tool: str) -> Part:
    """Our kernels under compute-sanitizer.

    Errors of API calls are not reported: PyTorch and CuPy probe for things that are not there, and
    handle the answer.
    """
    from mimicam.kernels._launch import OPS

    # Our kernels alone: instrumented, those of PyTorch would take most of the time.
    ours = [word for op in OPS for word in ("--kernel-name", f"kns={op}")]
    options = ("--tool", tool, "--report-api-errors", "no", "--error-exitcode", "9", *ours)
    command = ("compute-sanitizer", *options, sys.executable, "-m", "tests.kernels.on_gpu")
    return Part(name=f"compute-sanitizer {tool}", command=command, limit_s=100, expect_s=45)


def _end_to_end(plan: Plan) -> Iterator[Part]:
    main = "import sys; from mimicam.engine.commands import main; sys.exit(main(sys.argv[1:]))"
    backend, seconds = ("torch", ("--seconds", "1")) if plan.rehearse else ("torch-half", ("--seconds", "10"))
    for scenario in ("paced", "burst"):
        result = plan.folder / f"{scenario}.json"
        options = ("--scenario", scenario, "--backend", backend, *seconds, "--json", str(result))
        yield Part(
            name=f"end to end, {scenario}",
            command=(sys.executable, "-c", main, "bench", *options),
            limit_s=180,
            expect_s=30,
            result=result,
            needs=("openvino", "av", "tyro"),
        )
