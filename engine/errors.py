"""Exceptions whose message is for the user.

The command line prints both alike. ``KernelBuildError`` is no ``EngineError`` only because kernels
do not import engine.
"""

from mimicam.kernels.errors import KernelBuildError

__all__ = ["EngineError", "KernelBuildError"]


class EngineError(Exception):
    """A failure that the user can act on: one line with what happened and what to do.

    The command line prints it after ``error:`` and exits with code 1, without a traceback.
    """
