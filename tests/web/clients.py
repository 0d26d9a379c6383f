"""A driver and a viewer made of aiortc, for tests without a browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from av import VideoFrame

from mimicam.benchmarks.bad_network import BadNetwork
from mimicam.engine.web import timecode


class Painted(VideoStreamTrack):
    """Grey pictures with a counter painted on top."""

    def __init__(self, size: tuple[int, int] = (320, 240)) -> None:
        super().__init__()
        self.size, self.sent = size, 0

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        image = np.full((self.size[1], self.size[0], 3), 128, np.uint8)
        timecode.paint(image, self.sent)
        self.sent += 1
        frame = VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Driver:
    """Makes a call as the page does."""

    def __init__(self, http: aiohttp.ClientSession, url: str, network: BadNetwork | None = None) -> None:
        self._http, self._url, self._network = http, url, network
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.camera = Painted()
        self.pc.addTrack(self.camera)
        self.channel = self.pc.createDataChannel("mimicam")
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.channel.on("message", lambda text: self.messages.put_nowait(json.loads(text)))
        self.answer: dict[str, Any] = {}
        self.result: Any = None
        self.pc.on("track", lambda track: setattr(self, "result", track))

    async def call(self, **body: Any) -> int:
        """Send the offer. Returns the status of the answer."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        sdp, network = self.pc.localDescription.sdp, self._network
        offer = {"sdp": network.offer_through(sdp) if network else sdp, "type": "offer", **body}
        async with self._http.post(f"{self._url}/offer", json=offer) as response:
            self.answer = await response.json()
            if response.status == 200:
                sdp = network.answer_through(self.answer["sdp"]) if network else self.answer["sdp"]
                await self.pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
            return response.status

    async def message(
        self, kind: str, where: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> dict[str, Any]:
        """Wait for a message of a kind that fulfils a condition."""
        while True:
            message = await self.messages.get()
            if message["type"] == kind and where(message):
                return message

    def send(self, **message: Any) -> None:
        self.channel.send(json.dumps(message))

    async def frame(self) -> np.ndarray:
        """Wait for the next result, in RGB."""
        return (await self.result.recv()).to_ndarray(format="rgb24")

    async def frame_where(self, fits: Callable[[np.ndarray], bool]) -> np.ndarray:
        """Wait for a result that fulfils a condition."""
        while True:
            image = await self.frame()
            if fits(image):
                return image

    async def hang_up(self) -> None:
        await self.pc.close()


async def watcher_offer() -> RTCPeerConnection:
    """Make a connection that receives video, with its offer."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver("video", direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    return pc
