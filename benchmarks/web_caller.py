"""A camera and a caller made of aiortc: calls the studio without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import cv2
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from av import VideoFrame

from mimicam.engine.errors import EngineError
from mimicam.engine.types import Image


class ClipCamera(VideoStreamTrack):
    """Sends pictures forwards and backwards, 30 a second."""

    def __init__(self, images: list[Image]) -> None:
        super().__init__()
        self._images = [*images, *images[::-1]]
        self._sent = 0

    async def recv(self) -> VideoFrame:
        """Wait until the next picture is due."""
        # aiortc's own pacing sleeps until the picture is due, at 30 a second.
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame.from_ndarray(self._images[self._sent % len(self._images)], format="rgb24")
        self._sent += 1
        frame.pts, frame.time_base = pts, time_base
        return frame


def read_clip(path: Path, size: tuple[int, int], most: int) -> list[Image]:
    """Decode the first pictures of a video, scaled to a size."""
    video = cv2.VideoCapture(str(path))
    images: list[Image] = []
    while len(images) < most and (read := video.read())[0]:
        images.append(
            cv2.cvtColor(cv2.resize(read[1], size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
        )
    video.release()
    return images


@asynccontextmanager
async def call(http: aiohttp.ClientSession, url: str, images: list[Image]) -> AsyncIterator[Any]:
    """Call the studio as its page does, and hang up at the end.

    Args:
        http: carries the token.
        url: of the studio, without token.
        images: pictures of the camera.

    Yields:
        The track of results.

    Raises:
        EngineError: the call was refused.
    """
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: list[Any] = []
    pc.on("track", tracks.append)
    try:
        pc.addTrack(ClipCamera(images))
        # Before the offer: a channel added later needs a second negotiation.
        pc.createDataChannel("mimicam")
        await pc.setLocalDescription(await pc.createOffer())
        offer = {"sdp": pc.localDescription.sdp, "type": "offer"}
        async with http.post(f"{url}/offer", json=offer) as response:
            answer = await response.json()
        if response.status != 200:
            raise EngineError(f"the studio refused the call: {answer.get('message', response.status)}")
        await pc.setRemoteDescription(RTCSessionDescription(sdp=answer["sdp"], type="answer"))
        yield tracks[0]
    finally:
        await pc.close()


async def calls_now(http: aiohttp.ClientSession, url: str) -> int:
    """Read the number of calls from the studio's metrics."""
    async with http.get(f"{url}/metrics") as response:
        text = await response.text()
    line = next(line for line in text.splitlines() if line.startswith("mimicam_calls "))
    return int(float(line.split()[1]))


async def wait_for_no_call(http: aiohttp.ClientSession, url: str, limit_s: float = 10.0) -> None:
    """Wait until the studio has no call.

    Raises:
        EngineError: it still has one after ``limit_s``.
    """
    end_s = asyncio.get_running_loop().time() + limit_s
    # From the server's own count: the caller's connection closes before the server has cleaned up.
    while await calls_now(http, url):
        if asyncio.get_running_loop().time() > end_s:
            raise EngineError(f"a call did not end within {limit_s:.0f} s: see the server's log")
        await asyncio.sleep(0.05)
