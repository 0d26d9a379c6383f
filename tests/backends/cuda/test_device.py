"""What stands around PyTorch's calls on a GPU; the calls themselves need one."""

from __future__ import annotations

import ctypes
import gc
import subprocess
from typing import Any

import pytest

pytest.importorskip("torch", reason="the GPU path needs torch")

from mimicam.engine.backends.cuda import device as cuda_device


class Event:
    """Is reached after so many questions."""

    def __init__(self, questions: int) -> None:
        self.left, self.slept = questions, False

    def query(self) -> bool:
        self.left -= 1
        return self.left < 0

    def synchronize(self) -> None:
        self.slept = True


def _wait(event: Any) -> None:
    cuda_device._wait(event)


def test_a_wait_polls_first_and_then_sleeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter(range(0, 1 << 40, 1_000_000)).__next__  # a millisecond a question
    monkeypatch.setattr(cuda_device.time, "perf_counter_ns", now)
    soon, late = Event(1), Event(50)
    _wait(soon)
    assert not soon.slept
    _wait(late)
    assert late.slept
    assert late.left > 40, "after about two milliseconds"


def test_garbage_collection_pauses_during_a_capture() -> None:
    seen = []
    assert gc.isenabled()
    with cuda_device.no_collection():
        seen.append(gc.isenabled())
    seen.append(gc.isenabled())
    gc.disable()
    try:
        with cuda_device.no_collection():
            pass
        seen.append(gc.isenabled())
    finally:
        gc.enable()
    assert seen == [False, True, False]


def test_a_capture_that_fails_leaves_collection_on() -> None:
    with pytest.raises(RuntimeError), cuda_device.no_collection():
        raise RuntimeError
    assert gc.isenabled()


def _absent(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


@pytest.mark.parametrize(
    ("tool", "code", "output", "version"),
    [
        ("nvidia-smi", 0, "580.159.04\n", "580.159.04"),
        ("nvidia-smi", 9, "", "unknown"),
        ("nvidia-smi", 0, "", "unknown"),
        (None, 0, "", "unknown"),
    ],
)
def test_a_missing_management_library_closes_no_gpu(
    tool: str | None, code: int, output: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the driver lies in a folder of its own: only plans ask for its version."""
    done = subprocess.CompletedProcess([], code, output, "")
    monkeypatch.setattr(ctypes, "CDLL", _absent)
    monkeypatch.setattr(cuda_device.shutil, "which", lambda _: tool)
    monkeypatch.setattr(cuda_device.subprocess, "run", lambda *_, **__: done)
    assert cuda_device.driver_version() == version
