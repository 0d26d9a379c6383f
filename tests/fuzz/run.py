"""Run a target's examples, each in an empty folder and under a limit of time."""

from __future__ import annotations

import faulthandler
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import UnsatisfiedAssumption

from tests.fuzz.targets import TARGETS

HANG_S = 30.0
"""Seconds for one example. A slower one is a hang: the process ends with a traceback."""
FAILURE = "fuzz-failure-{}.txt"
"""File that receives the smallest example of a target that fails, as Python."""
_BATCH = 50


def run_batch(name: str, number: int, examples: int = _BATCH, *, end_s: float | None = None) -> int:
    """Run the examples of one seed. Returns how many there were.

    Args:
        name: a key of `TARGETS`.
        number: the seed; the same one gives the same examples.
        examples: how many.
        end_s: time on the monotonic clock from which the rest is left out.
    """
    target, count, last, failed = TARGETS[name], 0, None, False

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(example=target.examples())
    def one(example: object) -> None:
        nonlocal count, last, failed
        # Not while a failure is made smaller: it would pass then.
        if end_s is not None and time.monotonic() > end_s and not failed:
            return
        count, last = count + 1, example
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        try:
            with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
                target.check(Path(folder), example)
        except UnsatisfiedAssumption:
            raise
        except BaseException:
            failed = True
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()

    try:
        one()
    except BaseException:
        # Hypothesis repeats the smallest example last.
        Path(FAILURE.format(name)).write_text(f"{last!r}\n")
        raise
    return count


def run_for(name: str, seconds: float, first: int) -> int:
    """Run batch after batch. Returns the number of examples."""
    count, number, end_s = 0, first, time.monotonic() + seconds
    while time.monotonic() < end_s:
        print(f"{name}: seed {number}", flush=True)
        count += run_batch(name, number, end_s=end_s)
        number += 1
    return count
