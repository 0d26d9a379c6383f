"""Generate the edited face of one frame from that frame's own crop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mimicam.engine.editing.person import Moment
from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import place
from mimicam.engine.models.base import Features, Model, TrackerDrivenModel, is_tracker_driven
from mimicam.engine.models.compact.conditioning import CONTROL, ConditioningBuilder, read_mouth_colours
from mimicam.engine.models.compact.mouth_colours import MouthColours
from mimicam.engine.stages.crop import Cutter
from mimicam.engine.types import Float, Image, WarpFields

_STEADY = 0.02
"""Crop units. Mean distance of the landmarks from the last encoding, up to which it is used
again."""
_STALE_S = 0.5
"""Seconds after which a face is encoded again: its light changes too."""
_UNCOVERED = 0.02
"""Share of the landmarks that were covered in the last encoding and no longer are, up to which it is
used again: ten of them."""
_COLOUR_S = 0.5
"""Seconds. Time constant with which the colours of teeth and gums follow the light."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Appearance:
    """Appearance of a face, which stays the same whatever it does next."""

    features: Features
    colours: MouthColours


class ReadAppearance:
    """Reads the appearance in every frame."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def __call__(self, crop: Image, moment: Moment) -> Appearance:
        """Return the appearance of the crop, uint8 ``[S, S, 3]``."""
        colours = read_mouth_colours(moment.source, crop)
        return Appearance(features=self._model.encode(crop), colours=colours)


class SteadyAppearance:
    """Reads the appearance again only when the face has moved, or after half a second.

    Encoding takes 0.4 of the time of a generator step (2026-11).
    """

    def __init__(self, model: Model) -> None:
        self._read = ReadAppearance(model)
        self._last: tuple[Appearance, Moment] | None = None

    def reset(self) -> None:
        """Read the next face in any case."""
        self._last = None

    def __call__(self, crop: Image, moment: Moment) -> Appearance:
        """Return the appearance of the crop, or of one shortly before."""
        if self._last is None or not _is_steady(self._last[1], moment):
            self._last = self._read(crop, moment), moment
        return self._last[0]


def _is_steady(before: Moment, now: Moment) -> bool:
    # Features belong to the crop: in another box the same pixels lie elsewhere.
    if before.box != now.box or not 0.0 <= now.time_s - before.time_s < _STALE_S:
        return False
    if float(np.maximum(_covered(before) - _covered(now), 0.0).mean()) > _UNCOVERED:
        return False
    first, second = (place(each.source.shape, each.source.pose)[CONTROL, :2] for each in (before, now))
    return float(np.linalg.norm(second - first, axis=1).mean()) < _STEADY


def _covered(moment: Moment) -> Float:
    return np.zeros(1, np.float32) if moment.occlusion is None else moment.occlusion.landmarks


def require_editor(model: Model) -> TrackerDrivenModel:
    """Return a model that edits faces in place.

    Raises:
        EngineError: it is not driven by the tracker.
    """
    if not is_tracker_driven(model):
        raise EngineError(f"{model.name} cannot edit faces in place: use --model compact, or a bundle of it")
    return model


class FaceGenerator:
    """Generates the faces of one person's frames, in order. Not thread-safe."""

    def __init__(self, model: Model, appearance: Callable[[Image, Moment], Appearance] | None = None) -> None:
        """Set up for a model.

        Args:
            model: driven by the tracker.
            appearance: reads what the person looks like; None reads it in every frame.

        Raises:
            EngineError: the model is not driven by the tracker.
        """
        self._model, self._appearance = require_editor(model), appearance or ReadAppearance(model)
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
        seen = self._appearance(crop, moment)
        colours = self._smooth(seen.colours, moment)
        # A builder per frame: the source's own motion changes with each one, unlike a portrait's.
        build = ConditioningBuilder(moment.source, map_px=self._model.size // 2, colours=colours)
        target = build(moment.target)
        fields = self._model.generate(seen.features, target.tensors())
        target.mouth.cover(fields.inpaint)
        return fields

    def warm_up(self, frame: Image, moment: Moment) -> None:
        """Read the light of a frame that is not generated."""
        crop = self._cut(frame, moment.box)
        self._smooth(read_mouth_colours(moment.source, crop), moment)

    def _smooth(self, colours: MouthColours, moment: Moment) -> MouthColours:
        # Linear in time and capped at 1: after a pause the new colours count in full.
        share = min(max(moment.time_s - self._last_s, 0.0) / _COLOUR_S, 1.0)
        self._last_s = moment.time_s
        old = self._colours
        if old is not None and moment.occlusion is not None and moment.occlusion.of("mouth") > 0:
            return old  # the new ones are those of what covers the mouth
        if old is not None:
            colours = MouthColours(
                teeth=old.teeth + share * (colours.teeth - old.teeth),
                gums=old.gums + share * (colours.gums - old.gums),
            )
        self._colours = colours
        return colours
