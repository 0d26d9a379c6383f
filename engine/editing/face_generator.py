"""Generate the edited face of one frame from that frame's own crop."""

from __future__ import annotations

from mimicam.engine.editing.person import Moment
from mimicam.engine.errors import EngineError
from mimicam.engine.models.base import Model, TrackerDrivenModel
from mimicam.engine.models.compact.conditioning import ConditioningBuilder, read_mouth_colours
from mimicam.engine.models.compact.mouth_colours import MouthColours
from mimicam.engine.stages.crop import Cutter
from mimicam.engine.types import Image, WarpFields

_COLOUR_S = 0.5
"""Seconds. Time constant with which the colours of teeth and gums follow the light."""


class FaceGenerator:
    """Generates the faces of one person's frames, in order. Not thread-safe."""

    def __init__(self, model: Model) -> None:
        """Set up for a model.

        Raises:
            EngineError: the model is not driven by the tracker.
        """
        if not isinstance(model, TrackerDrivenModel):
            raise EngineError(f"{model.name} cannot edit videos: use --model compact, or a bundle of it")
        self._model = model
        self._cut = Cutter(model.size)
        self._colours: MouthColours | None = None
        self._last_s = 0.0

    def __call__(self, frame: Image, moment: Moment) -> WarpFields:
        """Return the warp fields of the moment's box; the next call may overwrite their buffers.

        Args:
            frame: uint8 ``[H, W, 3]``.
            moment: source and target motion in this frame.
        """
        crop = self._cut(frame, moment.box)
        colours = self._smooth(read_mouth_colours(moment.source, crop), moment.time_s)
        build = ConditioningBuilder(moment.source, map_px=self._model.size // 2, colours=colours)
        target = build(moment.target)
        fields = self._model.generate(self._model.encode(crop), target.tensors())
        target.mouth.cover(fields.inpaint)
        return fields

    def _smooth(self, colours: MouthColours, time_s: float) -> MouthColours:
        share = min(max(time_s - self._last_s, 0.0) / _COLOUR_S, 1.0)
        self._last_s = time_s
        old = self._colours
        if old is not None:
            colours = MouthColours(
                teeth=old.teeth + share * (colours.teeth - old.teeth),
                gums=old.gums + share * (colours.gums - old.gums),
            )
        self._colours = colours
        return colours
