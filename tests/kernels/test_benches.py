"""The kernel benchmarks compare like with like; no time is measured here."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mimicam.benchmarks.kernels import __main__ as command
from mimicam.benchmarks.kernels import measure as measuring
from mimicam.benchmarks.kernels.measure import Case, Timing
from tests.kernels.cases import apart

CASES = [(bench.__name__.rsplit(".", 1)[1], case) for bench in command.BENCHES for case in bench.cases("cpu")]


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{op} {case.name}") for op, case in CASES])
def test_both_sides_of_a_benchmark_run(case: Case) -> None:
    got, eager = case.kernel(), case.eager()
    assert type(got) is type(eager)
    assert case.bytes_moved > 0
    if isinstance(got, tuple):  # warp_blend: the eager side is the reference itself
        assert all(apart(a, b) <= 1e-6 for a, b in zip(got, eager, strict=True))


@pytest.mark.parametrize("case", [case for op, case in CASES if op == "bench_blur"], ids=lambda c: c.name)
def test_the_eager_blur_is_the_kernels_map(case: Case) -> None:
    got, eager = case.kernel(), case.eager()
    assert isinstance(got, torch.Tensor)
    assert isinstance(eager, torch.Tensor)
    assert apart(got, eager) <= 1e-3


def test_the_eager_paste_is_the_kernels_picture() -> None:
    case = next(case for op, case in CASES if op == "bench_paste_back" and case.name.endswith("720"))
    got, eager = case.kernel(), case.eager()
    assert (got.int() - eager.int()).abs().float().mean() < 0.05


def test_the_eager_layers_are_the_kernels_picture() -> None:
    """But for the crop's sides, where the kernel lets paint and motion fade."""
    case = next(case for op, case in CASES if op == "bench_warp_composite" and case.name.endswith("720"))
    got, eager = case.kernel(), case.eager()
    assert isinstance(got, torch.Tensor)
    assert isinstance(eager, torch.Tensor)
    middle = (slice(None), slice(40, -40), slice(340, -340))
    assert (got[middle].int() - eager[middle].int()).abs().float().mean() < 1.0


def test_a_timing_states_its_share_of_the_copy_bandwidth() -> None:
    timing = Timing(
        name="x", bytes_moved=8, floor_us=3, cold_us=4, cold_eager_us=12, graph_us=2, graph_eager_us=8
    )
    row = timing.as_dict()
    assert row["share_of_copy_bandwidth"] == 0.75
    assert row["times_faster_cold"] == 3
    assert row["times_faster_graph"] == 4


def test_cold_calls_exceed_the_cache_between_two_uses() -> None:
    for _, case in CASES:
        count = measuring.sets_needed(case.bytes_moved)
        assert count == 2000 or count * case.bytes_moved >= 200_000_000
        other = case.again()
        assert other.name == case.name
        ours, theirs = _addresses(case), _addresses(other)
        assert ours
        assert not ours & theirs, "the same buffers would stay in the cache"


def test_a_failed_case_loses_no_other_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    good = next(case for op, case in CASES if op == "bench_upsample_blur")
    bad = replace(good, name="bad", eager=fail, again=lambda: bad)
    kept: list[dict[str, Any]] = []
    benches = [SimpleNamespace(__name__=f"bench_{n}", cases=lambda _: [bad, good]) for n in "ab"]
    monkeypatch.setattr(command, "BENCHES", benches)
    monkeypatch.setattr(measuring, "copy_bandwidth", lambda: 1e9)
    out = tmp_path / "out.json"
    assert command.main([str(out), "--rehearse"]) == 1
    for rows in json.loads(out.read_text())["kernels"].values():
        assert "not permitted" in rows[0]["error"]
        assert rows[1]["cold_us"] > 0
    command.measure_all("cpu", lambda results: kept.append(json.loads(json.dumps(results))))
    assert [list(results["kernels"]) for results in kept] == [["a"], ["a", "b"]]


def _addresses(case: Case) -> set[int]:
    call = case.kernel
    assert isinstance(call, partial)
    found = [v for v in (*call.args, *call.keywords.values()) if isinstance(v, torch.Tensor)]
    return {tensor.data_ptr() for tensor in found}


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_nothing_is_measured_and_nothing_written(tmp_path: object) -> None:
    assert command.main([f"{tmp_path}/out.json"]) == 2
