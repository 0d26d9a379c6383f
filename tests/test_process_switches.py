"""Memory goes back to the system. Each test needs a process of its own, whose heap is new."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_USE_AND_RETURN = """
import re
import threading
from pathlib import Path

import numpy as np

from mimicam.engine.process_switches import limit_heaps, return_free_memory


def anonymous_kb():
    rows = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"Anonymous: +([0-9]+) kB", rows)[1])


def call():
    # Once 16 MB were freed, glibc takes smaller arrays from its heaps.
    first = np.ones(16 << 20, np.uint8)
    del first
    pictures = [np.ones((720, 640), np.uint8) for _ in range(40)]
    pictures.clear()


limit_heaps()
return_free_memory()
before = anonymous_kb()
threads = [threading.Thread(target=call) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
return_free_memory()
print(anonymous_kb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps heaps per thread")
def test_what_threads_have_freed_goes_back_to_the_system() -> None:
    """They free 17 MB each."""
    run = subprocess.run(
        [sys.executable, "-c", _USE_AND_RETURN], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(run.stdout) < 4096
