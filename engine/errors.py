"""The one exception a user is meant to read."""


class EngineError(Exception):
    """Something the user can act on: one line that says what happened and what to do.

    The command line prints it after ``error:`` and exits with code 1, without a traceback.
    """


class KernelBuildError(EngineError):
    """A CUDA source did not compile on this machine; the message carries the compiler's log."""
