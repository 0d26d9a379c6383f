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


class Interrupts:
    """The signals that asked for the end since it was made, or since ``forget``.

    Plain attributes and no lock: the handler runs between two instructions of the main thread,
    which may hold any lock at that moment, also an event's own.
    """

    def __init__(self) -> None:
        self.asked = False
        """Any signal that ends the program came."""
        self.urgent = False
        """Ctrl-C or SIGTERM came. SIGHUP is not urgent: a closed terminal sends it twice, once by
        its shell."""

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal. It is a handler for ``signal.signal``."""
        self.asked = True
        self.urgent = self.urgent or number != getattr(signal, "SIGHUP", None)

    def forget(self) -> None:
        """Start again, as before a part that a new signal may shorten."""
        self.asked = self.urgent = False

    def raise_if_asked(self) -> None:
        """Raise where the main thread holds no lock.

        Raises:
            KeyboardInterrupt: a signal came.
        """
        if self.asked:
            raise KeyboardInterrupt


_noting: Interrupts | None = None
"""Target that the handlers fill at present; the main thread's own."""


@contextmanager
def interrupts_noted(into: Interrupts | None = None) -> Iterator[Interrupts]:
    """Note Ctrl-C, SIGTERM and SIGHUP instead of raising KeyboardInterrupt anywhere.

    Raised between a lock's acquisition and the ``with`` block that would release it, the exception
    leaves the lock taken for ever: ``Condition.__enter__``, and with it ``Event.wait``, is Python
    code. Whoever notes signals looks at them at least every tenth of a second.

    Python handles signals on the main thread alone; on another thread nothing is noted. Used within
    itself, it yields the same signals again.

    Args:
        into: receives them; by default a new object.
    """
    global _noting
    # Python lets only the main thread set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield into or Interrupts()
        return
    if _noting is not None:
        yield _noting
        return

    interrupts = _noting = into or Interrupts()
    raising = [n for n in ("SIGINT", *_LIKE_CTRL_C) if hasattr(signal, n)]
    numbers = [int(getattr(signal, name)) for name in raising]
    # Handlers that are not Python's own, such as nohup's, stay as they are.
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is signal.default_int_handler}
    for number in before:
        signal.signal(number, interrupts.note)
    try:
        yield interrupts
    finally:
        _noting = None
        for number, handler in before.items():
            signal.signal(number, handler)
