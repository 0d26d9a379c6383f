"""WHIP and WHEP with GStreamer's webrtcbin, in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.web.browser import serving
from tests.web.conftest import TOKEN, Hidden

_SCRIPT = Path(__file__).parents[2] / "examples" / "gstreamer_whip_whep.py"
_NEEDED = ("webrtcbin", "nicesrc", "dtlssrtpenc", "srtpenc", "vp8enc", "rtpvp8pay", "videotestsrc")
_HAS = f"""
import gi
for name, version in (("Gst", "1.0"), ("GstWebRTC", "1.0"), ("GstSdp", "1.0")):
    gi.require_version(name, version)
from gi.repository import Gst
Gst.init(None)
missing = [name for name in {_NEEDED!r} if Gst.ElementFactory.find(name) is None]
assert not missing, missing
"""


def _python_with_gstreamer() -> str:
    """The system's Python, which has Debian's bindings."""
    for name in ("/usr/bin/python3", shutil.which("python3")):
        if name and Path(name).exists():
            found = subprocess.run([name, "-c", _HAS], capture_output=True, timeout=60, check=False)
            if found.returncode == 0:
                return name
    pytest.skip("no GStreamer with webrtcbin for Python (see examples/gstreamer_whip_whep.py)")


def test_gstreamer_sends_by_whip_and_watches_by_whep(drawn_portraits: Path) -> None:
    python = _python_with_gstreamer()
    with serving(drawn_portraits, pool=Hidden()) as server:
        done = subprocess.run(
            [python, str(_SCRIPT), server.url, TOKEN, "--pictures", "20", "--seconds", "60"],
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        studio = server.studio
        assert studio is not None
        assert (studio.calls, studio.viewers) == ([], 0), "both hung up"
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["size"] == [640, 480]
    assert 60 < seen["grey_from"] < seen["grey_to"] < 160, "the colour bars came through"
