"""Reuse arrays once no other code refers to them."""

from __future__ import annotations

import sys
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

S = TypeVar("S", bound=np.generic)


class BufferPool(Generic[S]):
    """Hands out arrays of one shape. A buffer is free when only the pool refers to it, or to a view
    of it.

    Frames are values that other code may hold for any time, so no one returns a buffer: the
    reference count decides. Not thread-safe: one writer per pool.
    """

    def __init__(self, shape: tuple[int, ...], dtype: type[S], count: int = 6) -> None:
        """Allocate ``count`` buffers, at least one.

        Six serve the frame path: one being filled, one waiting, one in work, one each in three
        sinks.
        """
        self.shape, self._dtype = shape, dtype
        self._buffers: list[npt.NDArray[S]] = [np.zeros(shape, dtype) for _ in range(count)]
        # How many references a free buffer shows differs between Python versions: measure it here.
        self._free_count = min(self._references(index) for index in range(count))
        self._next = 0

    def take(self) -> npt.NDArray[S]:
        """Take a free buffer, with old content. When all are in use the pool grows by one."""
        for step in range(len(self._buffers)):
            # Round robin: the buffer that was handed out longest ago is the likeliest to be free.
            index = (self._next + step) % len(self._buffers)
            if self._references(index) == self._free_count:
                self._next = index + 1
                return self._buffers[index]
        # Growing is safe; waiting for a slow reader would stop the frame path.
        self._buffers.append(np.zeros(self.shape, self._dtype))
        return self._buffers[-1]

    @property
    def size(self) -> int:
        """Number of buffers allocated so far."""
        return len(self._buffers)

    def _references(self, index: int) -> int:
        return sys.getrefcount(self._buffers[index])
