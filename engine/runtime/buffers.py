"""Picture buffers that are used again once nobody holds them."""

from __future__ import annotations

import sys

import numpy as np

from engine.types import Image


class BufferPool:
    """Hands out pictures of one shape. A buffer is free when only the pool refers to it.

    Frames are values that several sinks may hold for as long as they like, so nobody gives a buffer back:
    the reference count says it. Not thread-safe: one writer per pool.
    """

    def __init__(self, shape: tuple[int, int, int], count: int = 6) -> None:
        """Allocate ``count`` buffers: one being filled, one waiting, one in work, one each in three sinks."""
        self.shape = shape
        """Height, width, channels."""
        self._buffers: list[Image] = [np.zeros(shape, np.uint8) for _ in range(count)]
        # How many references a free buffer shows differs between Python versions: measure it here.
        self._free_count = min(self._references(index) for index in range(count))
        self._next = 0

    def take(self) -> Image:
        """A buffer nobody holds, with old content. When all are held the pool grows by one."""
        for step in range(len(self._buffers)):
            index = (self._next + step) % len(self._buffers)
            if self._references(index) == self._free_count:
                self._next = index + 1
                return self._buffers[index]
        self._buffers.append(np.zeros(self.shape, np.uint8))
        return self._buffers[-1]

    @property
    def size(self) -> int:
        """Buffers allocated so far."""
        return len(self._buffers)

    def _references(self, index: int) -> int:
        return sys.getrefcount(self._buffers[index])
