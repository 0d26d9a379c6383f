from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mimicam.benchmarks import __main__ as command
from mimicam.benchmarks.compare import compare

REPORT: dict[str, Any] = {
    "machine": {"load_at_start": 1.0},
    "parts": {
        "kernels": {"result": {"warp_blend": [{"name": "64x256", "cold_us": 10.0, "floor_us": 6.0}]}},
        "steps": {"result": {"exp": {"networks_host_ms": {"p50": 0.8, "p99": 0.9}}, "frames": 2000}},
        "sessions": {"result": {"holds_sessions_at_30_fps": 32}},
    },
}


def _changed(**values: float) -> dict[str, Any]:
    after = json.loads(json.dumps(REPORT))
    parts = after["parts"]
    parts["kernels"]["result"]["warp_blend"][0]["cold_us"] = values.get("cold_us", 10.0)
    parts["steps"]["result"]["exp"]["networks_host_ms"]["p99"] = values.get("p99", 0.9)
    parts["sessions"]["result"]["holds_sessions_at_30_fps"] = values.get("holds", 32)
    after["machine"]["load_at_start"] = 9.0
    return after


def test_only_figures_with_a_known_better_side_are_compared() -> None:
    assert {change.name.rsplit("/", 1)[1] for change in compare(REPORT, REPORT)} == {
        "cold_us", "p50", "p99", "holds_sessions_at_30_fps",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({}, 0, "4 figures: 0 worse, 0 better, 4 within 5 %"),
        ({"p99": 0.94}, 0, "0 worse"),
        ({"p99": 1.2}, 1, "p99: 0.9 -> 1.2 (33.3 % worse)"),
        ({"cold_us": 5.0}, 0, "cold_us: 10 -> 5 (50.0 % better)"),
        ({"holds": 16}, 1, "holds_sessions_at_30_fps: 32 -> 16 (50.0 % worse)"),
        ({"holds": 48}, 0, "(50.0 % better)"),
    ],
)
def test_what_became_worse_is_named_and_decides_the_exit_code(
    change: dict[str, float], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, report in (("a", REPORT), ("b", _changed(**change))):
        (tmp_path / name).write_text(json.dumps(report))
    assert command.main(["--compare", str(tmp_path / "a"), str(tmp_path / "b")]) == code
    assert words in capsys.readouterr().out


def test_a_wider_tolerance_lets_more_pass(tmp_path: Path) -> None:
    for name, report in (("a", REPORT), ("b", _changed(p99=1.0))):
        (tmp_path / name).write_text(json.dumps(report))
    arguments = ["--compare", str(tmp_path / "a"), str(tmp_path / "b")]
    assert command.main(arguments) == 1
    assert command.main([*arguments, "--tolerance", "0.2"]) == 0


@pytest.mark.parametrize("content", ["not json", "{}", "[" * 100_000])
def test_what_cannot_be_compared_is_an_error(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_text(json.dumps(REPORT))
    (tmp_path / "b").write_text(content)
    assert command.main(["--compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "error: " in capsys.readouterr().err
