"""What a kernel can fail with, apart from a caller's mistake (``ValueError``)."""

from __future__ import annotations


class KernelBuildError(Exception):
    """A CUDA kernel could not be compiled or loaded on this machine.

    One line says what happened and what to do; the compiler's log follows where there is one. The command
    line prints it as it prints ``EngineError``. It is never answered by running something slower.
    """
