"""Drive the studio from Python: send a clip or a camera, change settings, save the result.

    pip install 'mimicam[webrtc]'
    mimicam serve --no-browser                      # prints http://127.0.0.1:8443/?token=...
    python examples/studio_client.py 'http://127.0.0.1:8443/?token=...' clip.mp4 result.mp4

Other languages use the same messages; see /schema.json and docs/studio.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from fractions import Fraction
from urllib.parse import parse_qs, urlsplit

import aiohttp
import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack


async def drive(link: str, source: str, result: str, seconds: float, settings: dict[str, object]) -> None:
    """Send ``source`` for ``seconds``, and write the returned video to ``result``."""
    parts = urlsplit(link)
    server, token = f"{parts.scheme}://{parts.netloc}", parse_qs(parts.query)["token"][0]
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    saving: list[asyncio.Task[int]] = []
    channel = pc.createDataChannel("mimicam")

    @channel.on("message")
    def received(text: str) -> None:
        message = json.loads(text)
        if message["type"] == "stats":
            print(f"{message['face']}: {message['fps_out']} fps, {message['age_p50_ms']} ms on the server")
        elif message["type"] == "error":
            print(message["message"])

    @channel.on("open")
    def opened() -> None:
        channel.send(json.dumps({"type": "calibrate"}))

    @pc.on("track")
    def started(track: MediaStreamTrack) -> None:
        saving.append(asyncio.ensure_future(save(track, result)))

    pc.addTrack(MediaPlayer(source).video)
    await pc.setLocalDescription(await pc.createOffer())
    offer = {"sdp": pc.localDescription.sdp, "type": "offer", "settings": settings}
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{server}/offer", json=offer) as response,
    ):
        answer = await response.json()
        if response.status != 200:
            raise SystemExit(answer["message"])
    print(f"watch it: {server}/view#{answer['view']}")
    await pc.setRemoteDescription(RTCSessionDescription(sdp=answer["sdp"], type="answer"))
    await asyncio.sleep(seconds)
    await pc.close()  # ends the result's track, and so save()
    print(f"{sum(await asyncio.gather(*saving))} pictures in {result}")


async def save(track: MediaStreamTrack, path: str) -> int:
    """Write a track to a file with its own timestamps. Returns the number of pictures."""
    first, last, count = None, -1, 0
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=30)
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 90_000)
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                break
            if first is None:
                first, stream.width, stream.height = frame.pts, frame.width, frame.height
            if frame.pts - first > last and (frame.width, frame.height) == (stream.width, stream.height):
                frame.pts = last = frame.pts - first
                frame.time_base, count = Fraction(1, 90_000), count + 1
                file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return count


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("link", help="link that mimicam serve printed")
    parser.add_argument("source", help="clip, or a camera such as /dev/video0")
    parser.add_argument("result", help="file to write, for instance result.mp4")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--mode", choices=("both", "exp", "pose"), default="both")
    options = parser.parse_args()
    settings: dict[str, object] = {"mode": options.mode}
    asyncio.run(drive(options.link, options.source, options.result, options.seconds, settings))


if __name__ == "__main__":
    main()
