"""Units for a real Ray cluster. They are imported by its workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from mimicam.engine import silent_imports


def work(folder: Path, name: str, deaths: int) -> float:
    """Note where it runs; kill its own process as ``kill -9`` does, the first times. Two meet before they end."""
    node = silent_imports.ray().get_runtime_context().get_node_id()
    with (folder / f"{name}.ran").open("a") as file:
        file.write(f"{node}\n")
    runs = (folder / f"{name}.ran").read_text().count("\n")
    if runs <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return float(runs)


def meet(folder: Path, name: str, others: int) -> float:
    """Wait until ``others`` more units run at the same time."""
    (folder / f"{name}.here").touch()
    end_s = time.monotonic() + 60.0
    while len(list(folder.glob("*.here"))) <= others:
        assert time.monotonic() < end_s, "the others run elsewhere at the same time"
        time.sleep(0.02)  # other processes: there is no event to wait for
    return work(folder, name, 0)
