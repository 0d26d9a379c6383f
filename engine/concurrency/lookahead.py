"""When to begin the short half of the work, so that it is ready just when the long half is free.

Begun at once, it would wait, and what was seen would be older by that: on a slow machine by nearly a whole drawing.
"""

from __future__ import annotations

import threading
from collections import deque
from statistics import median
from types import TracebackType

from mimicam.engine.concurrency.clock import Clock

_MEMORY = 8
"""Durations kept of each half."""
_EARLY_NS = 8_000_000
"""A look may be this early: a drawing leaves cores free at its beginning (burst on two cores: 68 against 62 frames/s)."""


class Span:
    """Times a ``with`` block; remembers the last few. One writer."""

    def __init__(self, clock: Clock) -> None:
        self.lasted_ns: deque[int] = deque(maxlen=_MEMORY)
        self.count = 0
        """Blocks that ended."""
        self._clock = clock
        self._start_ns = 0

    def __enter__(self) -> None:
        self._start_ns = self._clock.now_ns()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lasted_ns.append(self._clock.now_ns() - self._start_ns)
        self.count += 1


class Lookahead:
    """How long both halves take, and what follows for the next look.

    Expects the shortest of the last drawings and the longest of the last looks: the drawing, which takes longer,
    shall not be the one that waits.
    """

    def __init__(self, clock: Clock) -> None:
        self.observing, self.drawing = Span(clock), Span(clock)
        self._clock = clock

    def wait_to_observe(self, stop: threading.Event) -> None:
        """Called when a drawing begins: returns when the next look must.

        At once when all that was looked at is drawn already, or when ``stop`` is set.
        """
        spare_ns = self.spare_ns()
        if spare_ns > 0 and self.drawing.count < self.observing.count:
            self._clock.wait_until(self._clock.now_ns() + spare_ns, stop)

    def share_at_work(self, per_s: float) -> float:
        """Of the time, at so many drawings a second, for the slower half, by medians: 1 has no time left."""
        slower_ns = max(median(span.lasted_ns or (0,)) for span in (self.observing, self.drawing))
        return min(1.0, per_s * slower_ns * 1e-9)

    def spare_ns(self) -> int:
        """For how long a look that begins with a drawing would be too early; 0 before both were seen."""
        drawings, looks = tuple(self.drawing.lasted_ns), tuple(self.observing.lasted_ns)
        return max(0, min(drawings) - max(looks) - _EARLY_NS) if drawings and looks else 0


class LateLookahead(Lookahead):
    """Observes as late as it can without making the drawing wait often.

    For calls in the studio: encoder and browser share the cores, so that a look beside the whole drawing slows both. Two
    cores with a browser on them, loopback of 30 s: 25.8 pictures/s and a p50 of 104 ms; with `Lookahead` 28.0
    and 117 ms; with one thread for both 23.4 and 91 ms (2026-11, runs minutes apart on a varying machine).
    """

    def spare_ns(self) -> int:
        """See `Lookahead`; by medians."""
        drawings, looks = sorted(self.drawing.lasted_ns), sorted(self.observing.lasted_ns)
        if not drawings or not looks:
            return 0
        return max(0, drawings[len(drawings) // 2] - looks[len(looks) // 2])
