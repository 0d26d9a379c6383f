"""Write the corpus again: ``python -m tests.fuzz.seeds``. Examples that once failed are kept."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from aiortc.codecs import vpx
from aiortc.rtp import RtpPacket

from mimicam.engine.portrait import Portrait, save_portrait
from mimicam.engine.provenance import EDITED
from mimicam.engine.render import write_picture
from mimicam.engine.sinks.video_writer import VideoWriter
from mimicam.engine.types import CropBox, HeadPose, Image, MotionCode
from tests.fuzz.mutate import CORPUS
from tests.fuzz.pictures import SmallModel
from tests.heif_files import write_heic
from tests.web.clients import Driver, watcher_offer

_SIDE = 32
_VIDEOS = {
    "h264.mp4": "libx264",
    "mpeg4.avi": "mpeg4",
    "vp8.webm": "libvpx",
    "mjpeg.mov": "mjpeg",
    "gif.gif": "gif",
}
_SOUNDS = {"aac.mp4": "aac", "opus.mkv": "libopus", "pcm.avi": "pcm_s16le", "mp3.mkv": "libmp3lame"}
_FORMATS = {"gif": "rgb8", "mjpeg": "yuvj420p"}


def _picture(number: int = 0) -> Image:
    ramp = np.tile(np.linspace(0, 255, _SIDE, dtype=np.uint8), (_SIDE, 1))
    return np.stack([np.roll(ramp, 4 * number, 1), ramp.T, np.full_like(ramp, 90)], 2)


def _video(path: Path, codec: str, sound: str | None = None) -> None:
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=25)
        stream.width = stream.height = _SIDE
        stream.pix_fmt = _FORMATS.get(codec, "yuv420p")
        tone: Any = (
            out.add_stream(sound, rate=48_000 if sound == "libopus" else 16_000, layout="mono")
            if sound
            else None
        )
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(_picture(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if tone is not None:
            _tone(out, tone)


def _tone(out: Any, stream: Any) -> None:
    rate = stream.rate
    resampler = av.AudioResampler(
        format=stream.format, layout="mono", rate=rate, frame_size=stream.codec_context.frame_size or 960
    )
    wave = (8000 * np.sin(np.arange(rate // 8) / rate * 2760)).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    for part in resampler.resample(frame):
        out.mux(stream.encode(part))
    out.mux(stream.encode(None))


def _portraits(folder: Path) -> None:
    image = _picture()
    alpha = np.dstack([image, np.full((_SIDE, _SIDE), 200, np.uint8)])
    for name, content in {
        "a.jpg": image,
        "a.png": alpha,
        "a.webp": alpha,
        "a.bmp": image,
        "a.tiff": image,
    }.items():
        (folder / name).write_bytes(cv2.imencode(Path(name).suffix, content)[1].tobytes())
    (folder / "deep.png").write_bytes(cv2.imencode(".png", alpha.astype(np.uint16) * 257)[1].tobytes())
    (folder / "a.heic").write_bytes(write_heic(image, tile=16))
    (folder / "a.gif").write_bytes((CORPUS / "video" / "gif.gif").read_bytes())


def _marks(folder: Path) -> None:
    marks = replace(EDITED, source="a" * 64, drivers=("b" * 64,), model="c" * 64)
    for suffix in ("png", "jpg", "webp"):
        write_picture(folder / f"marked.{suffix}", _picture(), marks)
    for suffix in ("mp4", "mkv", "avi"):
        writer = VideoWriter(folder / f"marked.{suffix}", size=(_SIDE, _SIDE), fps=25, provenance=marks)
        writer.write(_picture(), 0.0)
        writer.finish()


def _enrolled(folder: Path) -> None:
    model, zeros = SmallModel(), np.zeros
    pose = HeadPose(rotation=np.eye(3, dtype=np.float32), translation=zeros(2, np.float32), scale=0.4)
    motion = MotionCode(expression=zeros(52, np.float32), pose=pose, shape=zeros((478, 3), np.float32))
    crop = np.full((16, 16, 3), 90, np.uint8)
    portrait = Portrait(
        name="me", picture=_picture(), box=CropBox(x_px=0.0, y_px=0.0, size_px=32.0), crop=crop, motion=motion,
        features=model.encode(crop),
    )  # fmt: skip
    save_portrait(portrait, folder)


async def _offers(folder: Path) -> None:
    viewer = await watcher_offer()
    driver = Driver(None, "")  # type: ignore[arg-type]
    await driver.pc.setLocalDescription(await driver.pc.createOffer())
    for name, pc in {"viewer.sdp": viewer, "driver.sdp": driver.pc}.items():
        lines = [line for line in pc.localDescription.sdp.splitlines() if not line.startswith("a=candidate")]
        at = max(n for n, line in enumerate(lines) if line.startswith("a=end-of-candidates"))
        lines.insert(at, "a=candidate:1 1 udp 2130706431 127.0.0.1 50000 typ host")
        text = re.sub(r"c=IN IP4 \S+", "c=IN IP4 0.0.0.0", "\n".join(lines))
        (folder / name).write_text(f"{text}\n")
        await pc.close()


def _rtp(folder: Path) -> None:
    for codec, name in (("libvpx", "vp8"), ("libx264", "h264")):
        encoder: Any = av.CodecContext.create(codec, "w")
        encoder.width = encoder.height = _SIDE
        encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
        frame = av.VideoFrame.from_ndarray(_picture(), format="rgb24")
        data = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
        (folder / f"{name}-frame.bin").write_bytes(data)
    payload = vpx.VpxPayloadDescriptor(partition_start=1, partition_id=0, picture_id=7, tl0picidx=1)
    (folder / "vp8-payload.bin").write_bytes(bytes(payload) + data[:40])
    (folder / "h264-payload.bin").write_bytes(b"\x78\0\x04\x67\1\2\3\0\x03\x68\1\2")
    packet = RtpPacket(
        payload_type=97, sequence_number=7, timestamp=3000, ssrc=1, payload=b"\x90\x80\x07" + data[:40]
    )
    (folder / "vp8-packet.bin").write_bytes(packet.serialize())


def _messages(folder: Path) -> None:
    settings = {
        "mode": "exp",
        "expression_gain": 1.2,
        "mirror": False,
        "height": 480,
        "badge": "off",
        "portrait": "x",
    }
    preset = {"type": "preset", "name": "smile", "amount": 0.5}
    for message in ({"type": "set", "settings": settings}, {"type": "ping", "t": 1.5}, preset):
        (folder / f"{message['type']}.json").write_text(json.dumps(message))


def main() -> None:
    """Write all folders of the corpus."""
    folders = {
        name: CORPUS / name for name in ("video", "sound", "portraits", "marks", "offers", "rtp", "messages")
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    for name, codec in _VIDEOS.items():
        _video(folders["video"] / name, codec)
    for name, codec in _SOUNDS.items():
        _video(folders["sound"] / name, "mpeg4", codec)
    _portraits(folders["portraits"])
    _enrolled(CORPUS / "enrolled")
    _marks(folders["marks"])
    asyncio.run(_offers(folders["offers"]))
    _rtp(folders["rtp"])
    _messages(folders["messages"])


if __name__ == "__main__":
    main()
