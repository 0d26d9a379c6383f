"""Compare the figures of ``scripts/gpu_check.py`` with each target, and write a page beside the
JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mimicam.engine.files import write_atomically

_LARGEST = ("256x64x64 float16", "128x128x128 float16", "64x256x256 float16")
"""``warp_blend``'s three largest maps."""
_STEPS, _SESSIONS, _SMOKE = "frame steps, ", "several sessions, ", "training smoke run"
_TOP = 15
"""Rows of a profile on the page; the JSON has 30."""
_FAILURES = 12
"""Lines of a failed run of tests that the page shows."""
REFERENCE, _EAGER = "eager-fp32", ("eager-fp32", "eager-half")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A target and whether it is met."""

    name: str
    want: str
    got: str
    met: bool | None
    """None: it was not measured."""


def verdicts(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every target, in the order of the work's own description."""
    found = [
        _passed(parts, "kernel parity", ("kernel parity",)),
        _passed(parts, "compute-sanitizer clean", [name for name in parts if "sanitizer" in name]),
        *_latency(parts),
        *_warp(parts),
        *(_ratio(parts, eager) for eager in _EAGER),
    ]
    return [asdict(verdict) for verdict in found]


def page(report: Mapping[str, Any]) -> str:
    """Markdown: machine, targets, frames, sessions, kernels, what failed."""
    machine, gpu = report["machine"], report.get("gpu_before") or {}
    lines = [f"# GPU check: {gpu.get('name', 'no GPU')}", ""]
    if report.get("rehearsal"):
        lines += ["**A rehearsal on a machine without a GPU: every figure here is meaningless.**", ""]
    clocks = ("pstate", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit")
    facts = {
        "driver": gpu.get("driver_version"),
        **{name: gpu.get(name) for name in clocks},
        "CPU": machine["cpu"],
        "commit": machine["commit"],
    }
    lines += ["; ".join(f"{k} {v}" for k, v in facts.items() if v), ""]
    lines += [", ".join(f"{name} {version}" for name, version in machine["versions"].items()), ""]
    lines += _table(("target", "wanted", "measured", "met"), _verdict_rows(report["verdicts"]))
    lines += [
        "",
        "Milliseconds, p50 (p99). *networks*: encode, edit, generate; *step*: the whole frame's graph, from and to",
        "pinned memory and back, 1280x720; *GPU's part*: the same between two events; *frame*: with the host's copies;",
        "*paced*: 30 frames a second.",
        "",
    ]
    lines += _table(
        ("what runs it", "mode", "networks", "step", "GPU's part", "frame", "paced"),
        _step_rows(report["parts"]),
    )
    lines += ["", *_table(("several sessions", "held at 30 frames/s"), _session_rows(report["parts"]))]
    lines += [
        "",
        *_table(
            ("kernel", "us", "floor us", "of copy bandwidth", "times eager"), _kernel_rows(report["parts"])
        ),
    ]
    lines += ["", *_training_lines(report["parts"])]
    lines += _table(("profile", "kernel", "us", "calls"), _profile_rows(report["parts"]))
    lines += [
        "",
        "Not included: camera, tracking, sinks ('mimicam bench' has those). Weights are random.",
        "",
    ]
    lines += [f"- {name}: {_outcome(part)}" for name, part in report["parts"].items()]
    return "\n".join(lines) + "\n"


def write_page(path: Path, report: Mapping[str, Any]) -> None:
    """Beside the JSON, under the same name."""
    with write_atomically(path.with_suffix(".md")) as part:
        part.write_text(page(report), encoding="utf-8")


def best(parts: Mapping[str, Any], mode: str) -> tuple[str, dict[str, Any]] | None:
    """The variant whose whole step is fastest, and its figures; PyTorch's own operations do not
    count."""
    ran = [
        (name.removeprefix(_STEPS), part["result"]["modes"][mode])
        for name, part in parts.items()
        if name.startswith(_STEPS) and mode in part.get("result", {}).get("modes", {})
    ]
    ran = [(name, modes) for name, modes in ran if name not in _EAGER]
    return min(ran, key=lambda row: row[1]["step_host_ms"]["p50"], default=None)


def _passed(parts: Mapping[str, Any], name: str, of: Any) -> Verdict:
    outcomes = [parts[part]["outcome"] for part in of if part in parts]
    # A part that could not run leaves its target unmeasured; it does not fail it.
    ran = [outcome for outcome in outcomes if outcome in ("passed", "failed", "out of time")]
    met = None if not ran else set(ran) == {"passed"}
    return Verdict(name=name, want="passed", got=", ".join(outcomes) or "not run", met=met)


def _latency(parts: Mapping[str, Any]) -> Iterator[Verdict]:
    # Milliseconds; the targets of docs/gpu.md.
    for mode, quantile, most in (("exp", "p50", 1.0), ("exp", "p99", 1.3), ("both", "p50", 2.0)):
        name, found = f"{mode} {quantile}, whole step", best(parts, mode)
        if found is None:
            yield Verdict(name=name, want=f"at most {most} ms", got="not measured", met=None)
            continue
        # The host's clock, with the wait: what a session sees, not only what the GPU computes.
        value = found[1]["step_host_ms"][quantile]
        yield Verdict(
            name=name, want=f"at most {most} ms", got=f"{value:.3f} ms ({found[0]})", met=value <= most
        )


def _warp(parts: Mapping[str, Any]) -> Iterator[Verdict]:
    rows = parts.get("kernel benchmarks", {}).get("result", {}).get("kernels", {}).get("warp_blend", [])
    # The layout that the networks use: channels last.
    rows = [
        row
        for row in rows
        if "error" not in row and row["name"].startswith(_LARGEST) and row["name"].endswith("NHWC")
    ]
    # Cold, as in a frame: between two runs of one kernel the other networks' maps fill the cache.
    targets = (("times_faster_cold", 3.0, "warp_blend against the eager chain"),
               ("share_of_copy_bandwidth", 0.6, "warp_blend's share of the copy bandwidth"))  # fmt: skip
    for key, least, name in targets:
        values = [row[key] for row in rows]
        got = ", ".join(f"{value:.2f}" for value in values) or "not measured"
        # The worst map decides, and all must be there: the mean would hide one that is slow.
        met = min(values) >= least if len(values) == len(_LARGEST) else None
        yield Verdict(name=f"{name}, three largest maps", want=f"at least {least}", got=got, met=met)


def _ratio(parts: Mapping[str, Any], eager: str) -> Verdict:
    name = f"ratio to {eager}, exp"
    rows = parts.get(_STEPS + eager, {}).get("result", {}).get("modes", {})
    found = best(parts, "exp")
    if "exp" not in rows or found is None:
        return Verdict(name=name, want="stated", got="not measured", met=None)
    # Networks alone on both sides: crop and paste are kernels of ours in each variant.
    ratio = rows["exp"]["networks_host_ms"]["p50"] / found[1]["networks_host_ms"]["p50"]
    return Verdict(name=name, want="stated", got=f"{ratio:.1f} ({found[0]})", met=True)


def _verdict_rows(found: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    words = {True: "yes", False: "**no**", None: "not measured"}
    yield from ((row["name"], row["want"], row["got"], words[row["met"]]) for row in found)


def _step_rows(parts: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    keys = ("networks_host_ms", "step_host_ms", "step_gpu_ms", "frame_host_ms", "paced_frame_host_ms")
    for name, part in parts.items():
        for mode, row in part.get("result", {}).get("modes", {}).items():
            times = (f"{row[key]['p50']:.3f} ({row[key]['p99']:.3f})" if key in row else "" for key in keys)
            yield (name.removeprefix(_STEPS), mode, *times)


def _session_rows(parts: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, part in parts.items():
        if name.startswith(_SESSIONS) and "result" in part:
            yield name.removeprefix(_SESSIONS), str(part["result"]["holds_sessions_at_30_fps"])


def _kernel_rows(parts: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    kernels = parts.get("kernel benchmarks", {}).get("result", {}).get("kernels", {})
    for op, rows in kernels.items():
        for row in rows:
            name = f"{op} {row['name']}"
            if "error" in row:
                yield name, "**failed**", "", "", row["error"].splitlines()[0].replace("|", "/")
                continue
            share, times = row["share_of_copy_bandwidth"], row["times_faster_cold"]
            yield (
                name,
                f"{row['cold_us']:.1f}",
                f"{row['floor_us']:.1f}",
                f"{100 * share:.0f} %",
                f"{times:.1f}",
            )


def _profile_rows(parts: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, part in parts.items():
        for row in part.get("result", {}).get("top", [])[:_TOP]:
            yield name, row["name"].replace("|", "/"), f"{row['us']:.0f}", f"{row['calls']:.1f}"


def _training_lines(parts: Mapping[str, Any]) -> list[str]:
    found = parts.get(_SMOKE, {}).get("result", {})
    if "steps_per_s" not in found:
        return []
    return [
        f"Training: {found['steps_per_s']:.2f} steps/s of {found['batch']} samples"
        f" ({found['samples_per_s']:.0f} samples/s), {100 * found['waiting_share']:.0f} % of the time waiting for data.",
        *_busy(found),
        "",
    ]


def _busy(found: Mapping[str, Any]) -> list[str]:
    """State how long the GPU works in a step; the rest it waits for the host."""
    if "all_us" not in found:
        return []
    step_ms, gpu_ms = 1e3 / found["steps_per_s"], found["all_us"] / 1e3
    return [f"A step takes {step_ms:.0f} ms; its kernels take {gpu_ms:.0f} ms of it."]


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return [f"| {line} |" for line in lines]


def _outcome(part: Mapping[str, Any]) -> str:
    seconds = f", {part['seconds']} s" if "seconds" in part else ""
    missing = f": {part['missing']}" if "missing" in part else ""
    failures = "".join(f"\n  - `{line}`" for line in part.get("failures", ())[:_FAILURES])
    return f"{part['outcome']}{missing}{seconds}{failures}"
