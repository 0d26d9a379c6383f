"""Schedules observing so that it finishes just before drawing of the previous frame ends.

Starting earlier would only age the observation: on a slow machine by nearly a whole drawing.
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
"""Nanoseconds. Observing may start this early, because drawing leaves cores free at its beginning
(burst on two cores: 68 against 62 frames/s, 2026-11)."""


class Span:
    """Times a ``with`` block and keeps the last few durations. One writer."""

    def __init__(self, clock: Clock) -> None:
        self.lasted_ns: deque[int] = deque(maxlen=_MEMORY)
        self.count = 0
        """Number of blocks that ended."""
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
    """Measures observing and drawing, and decides when the next observation starts.

    Expects the shortest of the last drawings and the longest of the last observations, so that
    drawing, the slower of the two, does not wait.
    """

    def __init__(self, clock: Clock) -> None:
        self.observing, self.drawing = Span(clock), Span(clock)
        self._clock = clock

    def wait_to_observe(self, stop: threading.Event) -> None:
        """Call it when a drawing begins. Returns when the next observation must start.

        Returns at once when every observation is drawn already, or when ``stop`` is set.
        """
        # Fewer drawings than observations: the newest observation is the one being drawn now.
        spare_ns = self.spare_ns()
        if spare_ns > 0 and self.drawing.count < self.observing.count:
            self._clock.wait_until(self._clock.now_ns() + spare_ns, stop)

    def share_at_work(self, per_s: float) -> float:
        """Share of the time that the slower half works at ``per_s`` drawings a second, by medians.
        1: no time is left."""
        slower_ns = max(median(span.lasted_ns or (0,)) for span in (self.observing, self.drawing))
        return min(1.0, per_s * slower_ns * 1e-9)

    def spare_ns(self) -> int:
        """Nanoseconds by which an observation that begins with a drawing would be too early; 0
        before both were measured."""
        drawings, observations = tuple(self.drawing.lasted_ns), tuple(self.observing.lasted_ns)
        # Fastest drawing against slowest observation: drawing shall not wait.
        return max(0, min(drawings) - max(observations) - _EARLY_NS) if drawings and observations else 0


class LateLookahead(Lookahead):
    """Observes as late as it can without making drawing wait often.

    Calls in the studio use it: encoder and browser share the cores, so that observing beside the
    whole drawing slows both.

    Two cores with a browser on them, loopback of 30 s (2026-11, runs minutes apart on a varying
    machine): 25.8 pictures/s and a p50 of 104 ms. With `Lookahead` 28.0 and 117 ms. With one thread
    for both 23.4 and 91 ms.
    """

    def spare_ns(self) -> int:
        """See `Lookahead`. Compares medians."""
        drawings, observations = sorted(self.drawing.lasted_ns), sorted(self.observing.lasted_ns)
        if not drawings or not observations:
            return 0
        # Medians: every second drawing may wait a little, and each observation is younger.
        return max(0, drawings[len(drawings) // 2] - observations[len(observations) // 2])
