"""How many cores there are for this process."""

import os
import sys
from pathlib import Path

import pytest

from mimicam.engine.concurrency import cores
from mimicam.engine.concurrency.cores import usable_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux pins processes so")
def test_a_pinned_process_counts_its_own_cores() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("50000 100000\n", 1), ("150000 100000\n", 2), ("max 100000\n", 8), ("", 8), ("0 0 0", 8)],
)
def test_a_containers_quota_is_kept(
    text: str, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(text)
    monkeypatch.setattr(cores, "_QUOTA", file)
    monkeypatch.setattr(cores, "_pinned_to", lambda: 8)
    assert usable_cores() == wanted


def test_without_a_quota_all_cores_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "none")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1, f"on {sys.platform}"
