"""Write an edit into the samples that the source stores.

A conversion to RGB and back would change every pixel. Only the edit's difference is converted, and
added to the source's own samples: outside the edit they stay bit for bit, in ten bits too.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from av import VideoFrame

from mimicam.engine.sinks.video_writer import Look, supports
from mimicam.engine.sources.video import VideoFile, quarter_turns
from mimicam.engine.types import Float, Image

_PLANAR = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p",
                     "yuv420p10le", "yuv422p10le", "yuv444p10le"})  # fmt: skip
"""Pixel formats that are edited as they are; others become `_USUAL` first."""
_USUAL, _USUAL_10 = "yuv420p", "yuv420p10le"
_LUMA = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
"""Weights of red and blue in the luma, by FFmpeg's number of the matrix: BT.709 and BT.2020."""
_LUMA_601 = (0.299, 0.114)
_FULL_RANGE = 2


class NativeFrames:
    """Turns decoded frames of one video into frames for its encoder."""

    def __init__(self, first: VideoFrame, encoder: str) -> None:
        """Choose the pixel format; ``first``: the video's first frame."""
        self._size = (first.width, first.height)
        ten_bits = any(component.bits > 8 for component in first.format.components)
        own = first.format.name if first.format.name in _PLANAR else _USUAL_10 if ten_bits else _USUAL
        # The same samples under the name that states no range, which the frames state themselves.
        names = (own, _without_range(own), _USUAL)
        self.pix_fmt = next(name for name in names if name == _USUAL or supports(encoder, name))
        self._turned = quarter_turns(first) % 2 == 1
        if self._turned and "422" in self.pix_fmt:
            self.pix_fmt = _USUAL  # turned by 90 degrees, its chroma would be halved the other way

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright frames, even."""
        width, height = self._size[::-1] if self._turned else self._size
        return width & ~1, height & ~1

    def keeps(self, frame: VideoFrame) -> bool:
        """Return whether a frame's samples are stored as they are."""
        layouts = [_without_range(name) for name in (frame.format.name, self.pix_fmt)]
        return layouts[0] == layouts[1] and (frame.width, frame.height) == self._size

    def start(self, frame: VideoFrame) -> NativeFrame:
        """Return an upright copy of a frame, of even size."""
        width, height = self._size
        kept = self.keeps(frame)
        stored = frame if kept else frame.reformat(width=width, height=height, format=self.pix_fmt)
        turns = quarter_turns(frame)
        planes = [np.rot90(samples, turns) for samples in _samples(stored)]
        return NativeFrame(planes, stored, self.pix_fmt)


class NativeFrame:
    """Upright copy of one frame, into which edits are added."""

    def __init__(self, planes: list[np.ndarray], stored: VideoFrame, pix_fmt: str) -> None:
        self._planes = [plane.copy() for plane in planes]
        self._stored, self._pix_fmt = stored, pix_fmt
        self._depth = stored.format.components[0].bits

    def add(self, before: Image, after: Image, rows: slice, columns: slice) -> None:
        """Add the difference of two pictures in a part of the frame.

        Args:
            before, after: upright RGB, uint8 ``[H, W, 3]``, equal outside the part.
            rows, columns: the part.
        """
        # Whole chroma samples.
        rows, columns = (slice(part.start & ~1, part.stop + (part.stop & 1)) for part in (rows, columns))
        # Only the difference is converted: unedited samples never pass through RGB, which rounds.
        change = after[rows, columns].astype(np.float32) - before[rows, columns]
        for plane, part in zip(self._planes, self._as_yuv(change), strict=True):
            down, across = (round(len(self._planes[0]) / len(plane)),
                            round(self._planes[0].shape[1] / plane.shape[1]))  # fmt: skip
            target = plane[
                rows.start // down : -(-rows.stop // down),
                columns.start // across : -(-columns.stop // across),
            ]
            size = target.shape[1::-1]
            scaled = (
                part if size == part.shape[1::-1] else cv2.resize(part, size, interpolation=cv2.INTER_AREA)
            )
            total = target + np.rint(scaled)
            np.copyto(target, np.clip(total, 0, (1 << self._depth) - 1), casting="unsafe")

    def finish(self) -> VideoFrame:
        """Return the frame, of even size, in the source's pixel format."""
        height, width = (side & ~1 for side in self._planes[0].shape)
        out = VideoFrame(width, height, self._pix_fmt)
        for plane, samples in zip(out.planes, self._planes, strict=True):
            # FFmpeg's rows are padded to its alignment; the padding is not part of the picture.
            padded = np.zeros((plane.height, plane.line_size // samples.itemsize), samples.dtype)
            padded[:, : plane.width] = samples[: plane.height, : plane.width]
            plane.update(padded.tobytes())
        out.colorspace, out.color_range = self._stored.colorspace, _range_of(self._stored)
        return out

    def _as_yuv(self, change: Float) -> list[Float]:
        """Convert a difference of RGB to differences of luma and chroma samples."""
        red, blue = _LUMA.get(int(self._stored.colorspace), _LUMA_601)
        full = _range_of(self._stored) == _FULL_RANGE
        # 10 bits hold the same range in steps of a quarter.
        deep = (1 << self._depth) / 256
        luma_range, chroma_range = (1.0, 1.0) if full else (219 / 255, 224 / 255)
        luma = change @ np.array([red, 1 - red - blue, blue], np.float32)
        cb, cr = ((change[..., index] - luma) / (2 * (1 - weight)) for index, weight in ((2, blue), (0, red)))
        return [
            luma * np.float32(luma_range * deep),
            *(c * np.float32(chroma_range * deep) for c in (cb, cr)),
        ]


def look_of(video: VideoFile, first: VideoFrame, pix_fmt: str) -> Look:
    """Return how the frames of a video are shown, for its upright copy."""
    aspect = video.sample_aspect
    look = Look(
        pix_fmt=pix_fmt,
        sample_aspect=1 / aspect if quarter_turns(first) % 2 else aspect,
        colorspace=int(first.colorspace),
        color_range=_range_of(first),
    )
    return replace(look, primaries=int(first.color_primaries), transfer=int(first.color_trc))


def _without_range(pix_fmt: str) -> str:
    """Return the name of the same layout of samples that states no range."""
    return pix_fmt.replace("yuvj", "yuv")


def _range_of(frame: VideoFrame) -> int:
    """Return FFmpeg's number of a frame's range; the names of some formats state it too."""
    return _FULL_RANGE if frame.format.name.startswith("yuvj") else int(frame.color_range)


def _samples(frame: VideoFrame) -> list[np.ndarray]:
    """Return the samples of each plane without its padding."""
    kind = np.dtype(np.uint16 if frame.format.components[0].bits > 8 else np.uint8)
    return [
        np.frombuffer(bytes(plane), kind).reshape(plane.height, plane.line_size // kind.itemsize)[
            :, : plane.width
        ]
        for plane in frame.planes
    ]
