"""A drawn face that moves, with the time of its making painted into the pixels."""

from __future__ import annotations

import math
import threading
import zlib

import cv2
import numpy as np

from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.concurrency.clock import Clock
from mimicam.engine.types import Frame, Image

CODE_BITS = 48
_CELL_PX = 10
"""Side of one bit; survives 4:2:0 chroma, JPEG and H.264 at common rates."""
_CELLS_PER_ROW = 32
_VALUE_BITS = 40
_MARGIN_CELLS = 1
_CODE_WIDTH_PX = _CELL_PX * (_CELLS_PER_ROW + 2 * _MARGIN_CELLS)
_CODE_ROWS = -(-CODE_BITS // _CELLS_PER_ROW)
_CODE_HEIGHT_PX = _CELL_PX * (_CODE_ROWS + 2 * _MARGIN_CELLS)

_SKIN, _LIP, _WHITE, _DARK, _HAIR = (
    (214, 170, 142),
    (178, 70, 74),
    (245, 245, 245),
    (40, 32, 30),
    (70, 45, 30),
)


def paint_code(image: Image, value: int) -> None:
    """Write a number into the top left corner, in place.

    Args:
        image: uint8 ``[H, W, 3]``, at least 340x40.
        value: its lowest 40 bits are written, with 8 bits of CRC-32 behind them.
    """
    value %= 1 << _VALUE_BITS
    # 8 check bits: a wrong number would be a wrong frame age, a missing one is only left out.
    bits = (value << 8) | _check(value)
    cells = np.array([(bits >> (CODE_BITS - 1 - i)) & 1 for i in range(CODE_BITS)], np.uint8) * 255
    image[:_CODE_HEIGHT_PX, :_CODE_WIDTH_PX] = 128
    for row in range(_CODE_ROWS):
        line = cells[row * _CELLS_PER_ROW : (row + 1) * _CELLS_PER_ROW]
        top, left = _CELL_PX * (row + _MARGIN_CELLS), _CELL_PX * _MARGIN_CELLS
        wide = np.repeat(line, _CELL_PX)
        image[top : top + _CELL_PX, left : left + wide.size] = wide[None, :, None]


def read_code(image: Image) -> int | None:
    """The number that ``paint_code`` wrote, or None when the check bits do not fit."""
    if image.shape[0] < _CODE_HEIGHT_PX or image.shape[1] < _CODE_WIDTH_PX:
        return None
    bits = 0
    for index in range(CODE_BITS):
        row, column = divmod(index, _CELLS_PER_ROW)
        y = _CELL_PX * (row + _MARGIN_CELLS) + 3
        x = _CELL_PX * (column + _MARGIN_CELLS) + 3
        # The middle 4x4 pixels of a cell: its edges are blurred by compression.
        bits = bits << 1 | int(image[y : y + 4, x : x + 4].mean() > 127)
    value = bits >> 8
    return value if _check(value) == bits & 0xFF else None


def _check(value: int) -> int:
    return zlib.crc32(value.to_bytes(5, "big")) & 0xFF


def draw_face(image: Image, phase: float) -> None:
    """Draw a frontal face that sways, blinks and opens its mouth, in place. ``phase`` in
    seconds."""
    height, width = image.shape[:2]
    unit = height / 480
    x = width / 2 + 40 * unit * math.sin(phase)
    y = height * 0.54 + 10 * unit * math.sin(0.7 * phase)
    mouth = 4 + 14 * (0.5 + 0.5 * math.sin(2.3 * phase))
    lid = 2 if phase % 3 < 0.15 else 9

    def oval(dx: float, dy: float, rx: float, ry: float, colour: tuple[int, int, int]) -> None:
        centre = (round(x + dx * unit), round(y + dy * unit))
        axes = (round(rx * unit), round(ry * unit))
        cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    image[:] = (92, 110, 128)
    oval(0, -30, 118, 150, _HAIR)
    oval(0, 0, 100, 130, _SKIN)
    for side in (-1, 1):
        oval(side * 38, -28, 20, lid, _WHITE)
        oval(side * 38, -28, 8, min(lid, 8), _DARK)
        oval(side * 38, -54, 24, 4, _HAIR)
        oval(side * 8, 26, 6, 4, (150, 100, 84))
    oval(0, 10, 12, 22, (202, 152, 124))
    oval(0, 66, 36, mouth + 6, _LIP)
    oval(0, 66, 28, mouth, _DARK)


class PatternSource:
    """The drawn face at a steady rate; each frame carries its ``captured_ns`` in microseconds."""

    def __init__(self, *, clock: Clock, fps: float = 30.0, size: tuple[int, int] = (640, 480)) -> None:
        """``size``: width, height, at least 340x40."""
        if size[0] < _CODE_WIDTH_PX or size[1] < _CODE_HEIGHT_PX:
            raise ValueError(f"size must be at least {_CODE_WIDTH_PX}x{_CODE_HEIGHT_PX}, got {size}")
        self.name = f"pattern {size[0]}x{size[1]}"
        self.fps = fps
        self.status = ""
        self._clock = clock
        self._pool = BufferPool((size[1], size[0], 3), np.uint8)
        self._seq = 0
        self._start_ns: int | None = None

    def read(self, stop: threading.Event) -> Frame | None:
        if self._start_ns is None:
            self._start_ns = self._clock.now_ns()
        # From the start, not from the frame before: rounding must not add up.
        due_ns = self._start_ns + round(self._seq * 1e9 / self.fps)
        image = self._pool.take()
        draw_face(image, self._seq / self.fps)
        paint_code(image, due_ns // 1000)
        if self._clock.wait_until(due_ns, stop):
            return None
        frame = Frame(image=image, seq=self._seq, captured_ns=due_ns)
        self._seq += 1
        return frame

    def close(self) -> None:
        """Do nothing: there is no device."""
