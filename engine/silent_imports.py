"""Imports libraries that report their use to their makers, with that switched off. The only place
that does.

Import OpenVINO from here: ``from mimicam.engine.silent_imports import ov``. A test finds every
import that does not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# ``import openvino`` sends an event with a lasting client id to Google Analytics
# (openvino/tools/ovc/__init__.py), which it keeps in the home folder. Where its telemetry package
# cannot be imported, it takes a stub of its own that does nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402

__all__ = ["no_way_out", "onnxruntime", "ov", "ray"]

_NOWHERE = "http://127.0.0.1:9"
"""The port of RFC 863's discard service, on which nothing listens."""
_PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY")


def onnxruntime() -> Any:
    """Import ONNX Runtime, with the reports switched off that it sends to Microsoft on Windows.

    Raises:
        ImportError: it is not installed.
    """
    import onnxruntime as module

    module.disable_telemetry_events()
    return module


def ray() -> Any:
    """Import Ray and Ray Data, with the usage reports switched off that a cluster sends to Ray's makers.

    What starts a cluster does so within `no_way_out`.

    Raises:
        ImportError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters is raised
    # Switched off, a cluster of ``ray start`` still reports that it is off (usage_stats_head.py in Ray 2.60).
    os.environ["RAY_USAGE_STATS_REPORT_URL"] = _NOWHERE
    import ray as module
    import ray.data

    return module


@contextmanager
def no_way_out() -> Iterator[None]:
    """Give programs that are started meanwhile a proxy for HTTP that is not there.

    A starting cluster asks three clouds whether it runs in them, by name and by address, even if it
    reports nothing. Ray's own connections use no proxy.
    """
    before = {name: os.environ.get(name) for name in _PROXIES}
    for name in _PROXIES:
        os.environ[name] = "" if name.lower() == "no_proxy" else _NOWHERE
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
