"""A tracker that returns what a test decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mimicam.engine.types import Face


class FakeTracker:
    """Asks ``find`` for the face of each frame."""

    def __init__(self, find: Callable[[], Face | None] = lambda: None) -> None:
        self.person = 0
        self.selected = 0
        self._find = find

    def __call__(self, _image: Any, _captured_ns: int | None = None) -> Face | None:
        return self._find()

    def select_next(self) -> None:
        self.selected += 1
        self.person += 1

    def reset(self) -> None:
        """Nothing is remembered."""
