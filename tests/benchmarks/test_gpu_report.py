"""Targets are judged by the figures that they name, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from mimicam.benchmarks.gpu_report import page, verdicts


def _modes(exp: float, p99: float, both: float) -> dict[str, Any]:
    def row(p50: float, p99: float) -> dict[str, Any]:
        times = {"p50": p50, "p99": p99}
        return {"step_host_ms": times, "networks_host_ms": {"p50": p50 / 2, "p99": p99 / 2}}

    return {"outcome": "passed", "result": {"modes": {"exp": row(exp, p99), "both": row(both, both)}}}


def _kernels(times: float, share: float) -> dict[str, Any]:
    names = ("256x64x64 float16", "128x128x128 float16", "64x256x256 float16")
    rows = [
        {"name": f"{name} {layout}", "times_faster_cold": times, "share_of_copy_bandwidth": share, "cold_us": 2.0,
         "floor_us": 1.0}
        for name in names for layout in ("NHWC", "NCHW")
    ]  # fmt: skip
    small = rows[0] | {"name": "512x8x8 float16 NHWC", "share_of_copy_bandwidth": 0.01}
    return {"outcome": "passed", "result": {"kernels": {"warp_blend": [*rows, small]}}}


def _report() -> dict[str, Any]:
    return {
        "kernel parity": {"outcome": "passed"},
        "compute-sanitizer memcheck": {"outcome": "passed"},
        "compute-sanitizer racecheck": {"outcome": "passed"},
        "kernel benchmarks": _kernels(3.5, 0.7),
        "frame steps, half": _modes(1.2, 1.5, 2.5),
        "frame steps, compile": _modes(0.9, 1.2, 1.9),
        "frame steps, eager-fp32": _modes(9.0, 9.9, 20.0),
        "frame steps, eager-half": _modes(4.5, 4.9, 9.0),
    }


def _met(parts: dict[str, Any]) -> dict[str, bool | None]:
    return {row["name"]: row["met"] for row in verdicts(parts)}


def test_the_fastest_variant_is_judged_and_the_reference_is_not() -> None:
    rows = verdicts(_report())
    assert all(row["met"] for row in rows)
    found = {row["name"]: row["got"] for row in rows}
    assert found["exp p50, whole step"] == "0.900 ms (compile)"
    assert found["ratio to eager-fp32, exp"] == "10.0 (compile)"
    assert found["ratio to eager-half, exp"] == "5.0 (compile)"


@pytest.mark.parametrize(
    ("part", "value", "name"),
    [
        ("frame steps, compile", _modes(1.01, 1.2, 1.9), "exp p50, whole step"),
        ("frame steps, compile", _modes(0.9, 1.31, 1.9), "exp p99, whole step"),
        ("frame steps, compile", _modes(0.9, 1.2, 2.01), "both p50, whole step"),
        ("kernel benchmarks", _kernels(2.9, 0.7), "warp_blend against the eager chain, three largest maps"),
        ("kernel benchmarks", _kernels(3.5, 0.59), "warp_blend's share of the copy bandwidth, three largest maps"),
        ("kernel parity", {"outcome": "failed"}, "kernel parity"),
        ("compute-sanitizer racecheck", {"outcome": "failed"}, "compute-sanitizer clean"),
    ],
)  # fmt: skip
def test_a_target_that_is_missed_says_so_and_no_other_does(
    part: str, value: dict[str, Any], name: str
) -> None:
    met = _met(_report() | {part: value})
    assert [key for key, found in met.items() if not found] == [name]


def test_what_was_not_measured_is_not_met() -> None:
    assert set(_met({}).values()) == {None}
    assert _met({"kernel parity": {"outcome": "not installed"}})["kernel parity"] is None
    only_reference = {"frame steps, eager-fp32": _modes(0.1, 0.1, 0.1)}
    assert _met(only_reference)["exp p50, whole step"] is None


def test_the_page_names_targets_figures_and_failures() -> None:
    parts = _report() | {"live path, half": {"outcome": "failed", "seconds": 3.0}}
    machine = {"cpu": "a processor", "commit": "abc", "versions": {"torch": "2.11"}}
    report = {"machine": machine, "gpu_before": {"name": "NVIDIA H200"}, "parts": parts, "rehearsal": False}
    text = page(report | {"verdicts": verdicts(parts)})
    assert "# GPU check: NVIDIA H200" in text
    assert "| exp p50, whole step | at most 1.0 ms | 0.900 ms (compile) | yes |" in text
    assert "| warp_blend 64x256x256 float16 NHWC | 2.0 | 1.0 | 70 % | 3.5 |" in text
    assert "- live path, half: failed, 3.0 s" in text
    assert "meaningless" not in text


def test_the_page_has_training_profile_and_failed_cases() -> None:
    parts = _report()
    parts["kernel benchmarks"]["result"]["kernels"]["layers"] = [
        {"name": "x", "error": "RuntimeError: a|b\nmore"}
    ]
    smoke = {"steps_per_s": 15.0, "samples_per_s": 1440.0, "waiting_share": 0.05, "batch": 96}
    parts["training smoke run"] = {"outcome": "passed", "result": smoke}
    top = [{"name": "conv_kernel", "us": 812.0, "calls": 12.0}]
    parts["profile, exp"] = {"outcome": "passed", "result": {"top": top}}
    machine = {"cpu": "a processor", "commit": "abc", "versions": {"torch": "2.11"}}
    gpu = {"name": "NVIDIA H200", "clocks.sm": "1980 MHz"}
    text = page({"machine": machine, "gpu_before": gpu, "parts": parts, "verdicts": verdicts(parts)})
    assert "Training: 15.00 steps/s of 96 samples (1440 samples/s), 5 % of the time waiting for data." in text
    assert "| profile, exp | conv_kernel | 812 | 12.0 |" in text
    assert "| layers x | **failed** |  |  | RuntimeError: a/b |" in text
    assert "clocks.sm 1980 MHz" in text
