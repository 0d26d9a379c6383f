"""Figures of other processes, as the growth benchmark reports them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mimicam.benchmarks.process_memory import ProcessSample, TimedSample, growth, sample_process
from mimicam.engine.errors import EngineError

_ROLLUP = """\
55d0c0a4e000-7ffd1c5f6000 ---p 00000000 00:00 0                          [rollup]
Rss:               20480 kB
Pss:               10240 kB
Shared_Clean:      12288 kB
Private_Clean:      1024 kB
Private_Dirty:      7168 kB
Anonymous:          6144 kB
"""
_SAMPLE = ProcessSample(
    resident_mb=20.0, proportional_mb=10.0, private_mb=8.0, anonymous_mb=6.0, threads=2, files=3
)


def test_a_process_is_measured_as_its_system_shows_it(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    for name in ("task/7", "task/8", "fd/0", "fd/1", "fd/2"):
        (folder / name).mkdir(parents=True)
    (folder / "smaps_rollup").write_text(_ROLLUP)
    assert sample_process(7, tmp_path) == _SAMPLE


def test_a_process_that_has_ended_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="process 7 cannot be measured"):
        sample_process(7, tmp_path)


def test_growth_counts_from_the_end_of_the_warm_up() -> None:
    private = [1.0, 5.0, 9.0, 6.5]
    samples = [
        TimedSample(at_s=10.0 * n, process=replace(_SAMPLE, private_mb=mb)) for n, mb in enumerate(private)
    ]
    facts = growth(samples, 1)
    assert facts["counted_s"] == 20.0
    assert facts["at_start"]["private_mb"] == 5.0
    assert (facts["growth"]["private_mb"], facts["highest_growth"]["private_mb"]) == (1.5, 4.0)
    assert facts["growth"]["threads"] == 0
    assert [row["at_s"] for row in facts["samples"]] == [0.0, 10.0, 20.0, 30.0]
