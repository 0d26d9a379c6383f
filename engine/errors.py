"""The exceptions a user is meant to read.

The command line prints both alike: ``KernelBuildError`` is no ``EngineError`` only because kernels import
nothing of engine.
"""

from mimicam.kernels.errors import KernelBuildError

__all__ = ["EngineError", "KernelBuildError"]


class EngineError(Exception):
    """Something the user can act on: one line that says what happened and what to do.

    The command line prints it after ``error:`` and exits with code 1, without a traceback.
    """
