"""Long work as an iterator: it yields how far it is, and has a result at its end."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import wraps
from typing import Generic, Literal, ParamSpec, TypeVar

from mimicam.engine.concurrency.interrupts import Interrupts, interrupts_noted

P = ParamSpec("P")
R = TypeVar("R")
StepName = Literal["study", "track", "driver", "render", "edit", "index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one step of long work is."""

    step: StepName
    """``study`` learns the driver's neutral, ``track`` follows the people of the source and
    ``driver`` those of a driver. ``render`` and ``edit`` write frames, ``index`` reads pictures."""
    done: int
    """Number of finished frames of this step; of pictures, for ``index``."""
    total: int | None
    """Number of all, as the file states it: a damaged one may have fewer. None: it states none."""
    seconds: float
    """Time since the step began, seconds."""


Work = Generator[Progress, None, R]
"""Yields its progress and returns its result."""


class Steps(Generic[R]):
    """Work that goes on while it is iterated, one frame at a time.

    Nothing is read or written before the first frame is asked for, and errors come from there. A
    loop that is left early may be taken up again. `close`, the end of a ``with`` block or of the
    program gives the work up: then no half-written file stays, and an older one is left as it was.

    Ctrl-C within a step is raised at its end, where no lock is held. It gives the work up too.
    """

    def __init__(self, work: Work[R]) -> None:
        """Take over ``work``: nothing else may advance it. Its result is never None."""
        self._work = work
        self._interrupts = Interrupts()
        self._results: list[R] = []

    def __iter__(self) -> Steps[R]:
        return self

    def __next__(self) -> Progress:
        """Do the next step.

        Raises:
            StopIteration: the work is done, or was given up.
        """
        # Only within a step: between two of them, Ctrl-C is the caller's own.
        with interrupts_noted(self._interrupts) as interrupts:
            try:
                progress = next(self._work)
            except StopIteration as end:
                progress = None
                if end.value is not None:  # None: it was done or closed before
                    self._results = [end.value]
            if interrupts.asked:
                self.close()
                self._interrupts.forget()
                raise KeyboardInterrupt
        if progress is None:
            raise StopIteration
        return progress

    def result(self) -> R:
        """Do what is left, and return the result.

        Raises:
            RuntimeError: the work was closed, or has failed before.
        """
        with interrupts_noted(self._interrupts):
            for _ in self:
                pass
        if not self._results:
            raise RuntimeError("there is no result: the work was closed or has failed before its end")
        return self._results[0]

    def close(self) -> None:
        """Give the work up; does nothing once it is done."""
        self._work.close()

    def __enter__(self) -> Steps[R]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def counted(step: StepName, total: int | None) -> Callable[[int], Progress]:
    """Return a function that makes `Progress` of a number of finished frames; time starts now."""
    begun_s = time.monotonic()
    return lambda done: Progress(step=step, done=done, total=total, seconds=time.monotonic() - begun_s)


def in_steps(work: Callable[P, Work[R]], name: str) -> Callable[P, Steps[R]]:
    """Return the public function ``name``: it takes what ``work`` takes, and returns its steps."""

    @wraps(work)
    def begin(*args: P.args, **kwargs: P.kwargs) -> Steps[R]:
        return Steps(work(*args, **kwargs))

    return _presented(begin, name, "Steps[{}]")


def in_one_call(work: Callable[P, Work[R]], name: str) -> Callable[P, R]:
    """Return the public function ``name``: it takes what ``work`` takes, does it all, and returns
    its result."""

    @wraps(work)
    def finish(*args: P.args, **kwargs: P.kwargs) -> R:
        return Steps(work(*args, **kwargs)).result()

    return _presented(finish, name, "{}")


def _presented(function: Callable[P, R], name: str, returns: str) -> Callable[P, R]:
    """Give a function the name and the signature that ``help`` and editors show.

    ``returns``: its return type, with {} for the result of the wrapped work.
    """
    signature = inspect.signature(function)  # that of the wrapped work, which returns Work[...]
    result = str(signature.return_annotation).removeprefix("Work[").removesuffix("]")
    function.__name__ = function.__qualname__ = name
    vars(function)["__signature__"] = signature.replace(return_annotation=returns.format(result))
    return function
