"""Pictures of a driver that are larger than a camera's."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from aiortc import RTCDataChannel
from aiortc.jitterbuffer import JitterFrame

from mimicam.engine.web.aiortc_patches import picture_limits
from mimicam.engine.web.aiortc_patches.picture_limits import LimitedDecoder, TooLarge, is_too_large
from mimicam.engine.web.call import Call
from tests.web.clients import Driver, Painted
from tests.web.conftest import Run, studio_running

_NAMES = {"VP8": "libvpx", "H264": "libx264"}


def _decoder(name: str) -> LimitedDecoder:
    return LimitedDecoder(SimpleNamespace(name=name, mimeType=f"video/{name}"))


def _encoded(name: str, width: int, height: int) -> JitterFrame:
    encoder: Any = av.CodecContext.create(_NAMES[name], "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.options = (
        {"deadline": "realtime"} if name == "VP8" else {"preset": "ultrafast", "tune": "zerolatency"}
    )
    encoder.time_base = Fraction(1, 30)
    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 90, np.uint8), format="rgb24")
    data = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    return JitterFrame(data=data, timestamp=0)


@pytest.mark.parametrize(
    ("size", "wrong"),
    [
        ((1920, 1080), False),
        ((1080, 1920), False),
        ((1920, 1088), False),
        ((1922, 64), True),
        ((1920, 1200), True),
    ],
)
def test_full_hd_in_either_orientation_is_the_limit(size: tuple[int, int], wrong: bool) -> None:
    assert is_too_large(TooLarge(*size)) == wrong


def test_a_large_vp8_picture_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = _decoder("VP8")
    assert [(picture.width, picture.height) for picture in decoder.decode(_encoded("VP8", 1920, 32))] == [
        (1920, 32)
    ]
    monkeypatch.setattr(decoder._decoder, "decode", lambda _: pytest.fail("it was decoded"))
    assert decoder.decode(_encoded("VP8", 2048, 32)) == [TooLarge(2048, 32)]


@pytest.mark.parametrize("data", [b"", b"\0\0\0\x9d\x01\x2a\0", b"\1\0\0\x9d\x01\x2a" + b"\xff" * 9])
def test_what_is_no_key_frame_has_no_size(data: bytes) -> None:
    assert picture_limits._vp8_size(data) is None


def test_a_huge_h264_picture_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_limits, "MAX_DECODED_PIXELS", 256 * 256)
    assert _decoder("H264").decode(_encoded("H264", 256, 256))
    with pytest.raises(av.FFmpegError):
        _decoder("H264").decode(_encoded("H264", 272, 256))


def test_a_camera_with_too_many_pixels_ends_the_call_with_a_line(run: Run, drawn_portraits: Path) -> None:
    run(_call_with_a_wide_camera(drawn_portraits))


def test_a_channel_that_opens_after_the_first_picture_still_gets_the_line(
    run: Run, drawn_portraits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Call._on_channel

    def late(call: Call, channel: RTCDataChannel) -> None:
        call._loop.call_later(0.7, opened, call, channel)

    monkeypatch.setattr(Call, "_on_channel", late)
    run(_call_with_a_wide_camera(drawn_portraits))


async def _call_with_a_wide_camera(portraits: Path) -> None:
    async with studio_running(portraits) as live:
        driver = Driver(live.http, live.url)
        driver.camera = Painted((2048, 64))
        driver.pc.getSenders()[0].replaceTrack(driver.camera)
        assert await driver.call() == 200
        line = await asyncio.wait_for(driver.message("error"), 10)
        assert "2048x64 pixels: choose 1920x1080" in line["message"]
        assert (await asyncio.wait_for(driver.message("bye"), 10))["reason"] == "failed"
        await driver.hang_up()
