"""Errors of kernels, apart from a caller's mistake (``ValueError``)."""

from __future__ import annotations


class KernelBuildError(Exception):
    """A CUDA kernel could not be compiled or loaded on this machine.

    The first line states the cause and the remedy; the compiler's log follows where there is one.
    The command line prints it as it prints ``EngineError``. No slower path replaces the kernel.
    """
