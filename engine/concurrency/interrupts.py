"""End a program alike on Ctrl-C, SIGTERM and a closed terminal, with its files complete."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_LIKE_CTRL_C = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""SIGHUP: the terminal was closed, or the user logged out. SIGBREAK: the same on Windows, as C
runtimes forward it."""


def end_like_ctrl_c() -> None:
    """Raise KeyboardInterrupt on the main thread for each of these signals, except those that nohup
    has the program ignore."""
    for name in _LIKE_CTRL_C:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def interrupts_noted() -> Iterator[threading.Event]:
    """Set an event on Ctrl-C and SIGTERM instead of raising, while files are completed.

    SIGHUP does not set it: a closed terminal sends it twice, once by its shell. Python handles
    signals on the main thread alone; on another thread the event stays as it is.
    """
    hurry = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield hurry
        return

    def note(number: int, _frame: FrameType | None) -> None:
        if number != getattr(signal, "SIGHUP", None):
            hurry.set()

    raising = [n for n in ("SIGINT", *_LIKE_CTRL_C) if hasattr(signal, n)]
    numbers = [int(getattr(signal, name)) for name in raising]
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is signal.default_int_handler}
    for number in before:
        signal.signal(number, note)
    try:
        yield hurry
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
