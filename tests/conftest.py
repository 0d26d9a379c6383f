"""What makes the whole suite quick: two processes, one thread a library, and bundled networks that are compiled once."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

# The tests' networks are toys: at their sizes threads wait for each other, and took most of the suite's time. Set before
# PyTorch, NumPy and ONNX Runtime are imported; programs that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shells start programs in the background with Ctrl-C ignored. The tests send it to themselves.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
"""False on a bare GPU machine, where a test puts an empty module in its place."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep a file's tests in one process, for its fixtures.

    The studio's calls, browsers and attacks run in real time: never two at once, so that folder is as one file.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/web" if nodeid.startswith("tests/web/") else super()._split_scope(nodeid)

    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def _bundled_networks_are_compiled_once() -> Iterator[None]:
    if not _HAS_OPENVINO:
        yield
        return
    from tests.compiled_once import share

    with pytest.MonkeyPatch.context() as patch:
        share(patch)
        yield
