"""From an edit to a picture (DPE, equation 5)."""

from __future__ import annotations

from mimicam.engine.models.base import Features, TrackerModel
from mimicam.engine.stages.motion import Drive
from mimicam.engine.types import Layers


class CompactGenerate:
    """Runs the compact generator over a portrait's cached maps, and draws the mouth over its paint.

    See `engine.stages.reenact.Generate`.
    """

    def __init__(self, model: TrackerModel, features: Features) -> None:
        self._model, self._features = model, features

    def __call__(self, drive: Drive) -> Layers:
        """The picture's layers; buffers that the next call may use again."""
        layers = self._model.generate(self._features, drive.conditioning())
        drive.mouth.cover(layers.painted)
        return layers
