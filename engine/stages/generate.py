"""From an edit to a picture (DPE, equation 5)."""

from __future__ import annotations

from engine.backends.model import Features, Model
from engine.stages.motion import Drive
from engine.types import Image


class CompactGenerate:
    """Runs the compact generator over a portrait's cached maps; see `engine.stages.reenact.Generate`."""

    def __init__(self, model: Model, features: Features) -> None:
        self._model, self._features = model, features

    def __call__(self, drive: Drive) -> Image:
        """The picture, uint8 ``[S, S, 3]``; a buffer that the next call may use again."""
        return self._model.generate(self._features, drive.arrays())
