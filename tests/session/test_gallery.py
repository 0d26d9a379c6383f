"""Portraits that are enrolled on first use; strings stand in for portraits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mimicam.engine.errors import EngineError
from mimicam.engine.gallery import Gallery

WAIT_S = 10.0


class Slow:
    """Enrolls when released, and records each start."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.started, self.let_go = threading.Event(), threading.Event()
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1
        self.started.set()
        assert self.let_go.wait(WAIT_S)
        return self.name


class Stage:
    """Records portraits that are shown, and lets a test wait for one."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self._change = threading.Condition()

    def show(self, portrait: Any) -> None:
        with self._change:
            self.shown.append(portrait)
            self._change.notify_all()

    def wait_for(self, portrait: str) -> None:
        with self._change:
            assert self._change.wait_for(lambda: portrait in self.shown, WAIT_S)


def _gallery(*later: Callable[[], Any], **settings: Any) -> Gallery:
    return Gallery(["first"], later, **settings)  # type: ignore[list-item]


def test_an_enrolled_portrait_is_shown_without_enrolling_others() -> None:
    stage, other = Stage(), Slow("other")
    gallery = _gallery(other)
    assert (len(gallery), gallery.first) == (2, "first")
    gallery.show(0, stage.show)
    assert stage.shown == ["first"]
    assert other.calls == 0


def test_a_portrait_is_enrolled_once_and_shown_when_ready() -> None:
    stage, other = Stage(), Slow("other")
    gallery = _gallery(other)
    gallery.show(1, stage.show)
    assert other.started.wait(WAIT_S)
    assert stage.shown == [], "whoever asks does not wait"
    gallery.show(1, stage.show)  # a second press while it is enrolled
    other.let_go.set()
    stage.wait_for("other")
    gallery.show(1, stage.show)
    gallery.show(0, stage.show)
    assert stage.shown[-1] == "first"
    assert other.calls == 1


def test_a_late_portrait_does_not_replace_a_newer_choice() -> None:
    stage, slow, quick = Stage(), Slow("slow"), Slow("quick")
    quick.let_go.set()
    gallery = _gallery(slow, quick)
    gallery.show(1, stage.show)
    assert slow.started.wait(WAIT_S)
    gallery.show(0, stage.show)
    gallery.show(2, stage.show)
    slow.let_go.set()
    stage.wait_for("quick")
    assert stage.shown == ["first", "quick"]


def test_a_broken_portrait_is_reported_and_the_next_is_loaded() -> None:
    def broken() -> Any:
        raise EngineError("two.png shows no face")

    told: list[str] = []
    stage, other = Stage(), Slow("other")
    other.let_go.set()
    gallery = _gallery(broken, other, on_error=lambda reason: (told.append(reason), stage.show("told")))
    gallery.show(1, stage.show)
    stage.wait_for("told")
    gallery.show(2, stage.show)
    stage.wait_for("other")
    assert told == ["two.png shows no face"]
