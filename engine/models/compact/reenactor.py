"""Encode, edit and generate of the compact family: tracked motion warps the portrait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mimicam.engine.face.geometry import place
from mimicam.engine.face.motion import read_motion
from mimicam.engine.face.one_euro import OneEuro
from mimicam.engine.models.base import Features, TrackerDrivenModel
from mimicam.engine.models.compact.conditioning import (
    Conditioning,
    ConditioningBuilder,
    read_mouth_colours,
)
from mimicam.engine.models.compact.edit import MotionEdit
from mimicam.engine.models.compact.gaze import eye_shifts, with_drawn_irises, with_horizontal_gaze
from mimicam.engine.models.compact.mouth_colours import WHITE_LIGHT, MouthColours
from mimicam.engine.models.compact.preset_edit import PresetEdit
from mimicam.engine.models.compact.rigid_hair import HairWarp, RigidHair
from mimicam.engine.models.frame_graph import CanvasGraph
from mimicam.engine.models.reenactor import PortraitStages
from mimicam.engine.presets.mix import PresetMix
from mimicam.engine.stages.composite import Composite, CopyResult
from mimicam.engine.stages.crop import Crop
from mimicam.engine.stages.eye_warp import EyeWarp
from mimicam.engine.stages.neutral import DriverNeutral, Neutral
from mimicam.engine.stages.surroundings import PortraitTexture
from mimicam.engine.stages.warp_composite import WarpComposite
from mimicam.engine.types import EditSettings, EyeShift, Float, Image, MotionCode

_TARGETS = 6
"""Conditionings alive at once: rest, last drawn, start of easing, two being built or mixed, and the
generator's."""


class TrackerEncoder:
    """Reads motion from the tracker's landmarks and blendshapes, smoothed in crop space."""

    # Measured on the demo clip at 25 fps (2026-11). Landmarks of a still face with sensor noise
    # move by 0.035 px of 256 (0.092 unfiltered) and lag by 0.31 frames. Blendshapes move by 0.0022
    # (0.0035) and lag by 0.09 frames.
    def __init__(self, *, smooth: bool = True) -> None:
        self._points = OneEuro(cutoff_hz=1.0, beta=20.0) if smooth else None
        self._shapes = OneEuro(cutoff_hz=2.0, beta=12.0) if smooth else None

    def reset(self) -> None:
        """Drop the history: another face follows, or a gap."""
        for smoother in (self._points, self._shapes):
            if smoother is not None:
                smoother.reset()

    def __call__(self, crop: Crop) -> MotionCode:
        """Return the motion of the face in the crop.

        Raises:
            ValueError: the tracker did not run on it.
        """
        if crop.face is None:
            raise ValueError("crop.face must be known: the tracker is what motion is read from")
        landmarks = crop.box.from_image(crop.face.landmarks)
        shapes = np.asarray(crop.face.blendshapes, np.float32)
        if self._points is not None and self._shapes is not None:
            landmarks = self._points(landmarks, crop.captured_ns)
            shapes = self._shapes(shapes, crop.captured_ns)
        return read_motion(landmarks, shapes)


class TrackerEdit:
    """Edits motion and builds the generator's conditioning; see `engine.models.reenactor.Edit`."""

    def __init__(
        self,
        portrait: MotionCode,
        *,
        map_px: int,
        colours: MouthColours = WHITE_LIGHT,
        hair: RigidHair | None = None,
        response: Float | None = None,
    ) -> None:
        """Compute the target at rest.

        For the arguments see `ConditioningBuilder` and `MotionEdit`.
        """
        self._portrait = portrait
        self._edit, self._add_presets = MotionEdit(portrait, response), PresetEdit(portrait)
        self._build = ConditioningBuilder(
            portrait, map_px=map_px, buffers=_TARGETS, colours=colours, hair=hair
        )
        self._rest = self._target(portrait)

    def __call__(self, driver: MotionCode, neutral: Neutral | None, settings: EditSettings) -> Conditioning:
        """See `engine.models.reenactor.Edit`."""
        return self._target(self._edit(driver, neutral, settings))

    def with_presets(
        self, driver: MotionCode, neutral: Neutral | None, settings: EditSettings, mix: PresetMix
    ) -> Conditioning:
        """See `engine.models.reenactor.PortraitStages.with_presets`."""
        return self._target(self._add_presets(self._edit(driver, neutral, settings), mix))

    def rest(self, settings: EditSettings) -> Conditioning:  # noqa: ARG002 - the same in every mode
        """See `engine.models.reenactor.Edit.rest`."""
        return self._rest

    def _target(self, wanted: MotionCode) -> Conditioning:
        # The generator draws the portrait's gaze; the eye warp moves the irises from there.
        drawn = with_horizontal_gaze(wanted, self._portrait)
        there = with_drawn_irises(drawn, self._portrait)
        eyes = eye_shifts(place(there.shape, there.pose), place(wanted.shape, wanted.pose))
        return replace(self._build(drawn), eyes=eyes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Output of a generator, to be composited."""

    content: Any
    """Warp fields, or a finished picture."""
    eyes: tuple[EyeShift, ...]


class GazeComposite:
    """Composites a picture and moves its irises."""

    def __init__(self, composite: Callable[[Any], Image], texture: PortraitTexture) -> None:
        """``composite``: makes the picture of what `Drawn` holds; ``texture``: the portrait's."""
        self._composite = composite
        self._eyes = EyeWarp(left=texture.left, top=texture.top, side=texture.side)

    def __call__(self, drawn: Drawn) -> Image:
        """Return the result, uint8 ``[height, width, 3]``; the caller may keep it."""
        picture = self._composite(drawn.content)
        self._eyes(picture, drawn.eyes)
        return picture


class CompactGenerate:
    """Runs the generator over a portrait's cached maps and paints the mouth (DPE, equation 5)."""

    def __init__(self, model: TrackerDrivenModel, features: Features) -> None:
        self._model, self._features, self._hair = model, features, HairWarp(model.size)

    def __call__(self, target: Conditioning) -> Drawn:
        """Return warp fields; the next call may overwrite their buffers."""
        fields = self._model.generate(self._features, target.tensors())
        target.mouth.cover(fields.inpaint)
        if target.hair is not None:
            fields = self._hair(fields, target.hair)
        return Drawn(content=fields, eyes=target.eyes)


class CanvasGenerate:
    """Draws finished frames where the networks run; see `engine.models.reenactor.Generate`."""

    def __init__(self, graph: CanvasGraph, features: Features, texture: PortraitTexture) -> None:
        self._graph, self._features, self._texture = graph, features, texture

    def __call__(self, target: Conditioning) -> Drawn:
        """See `engine.models.reenactor.Generate`."""
        self._graph.enter(self._features, self._texture)
        hair = None if target.hair is None else target.hair.packed()
        picture = self._graph(target.tensors(), target.mouth.maps, hair)
        return Drawn(content=picture, eyes=target.eyes)


class CompactReenactor:
    """See `engine.models.reenactor.Reenactor`."""

    def __init__(
        self,
        model: TrackerDrivenModel,
        *,
        smooth: bool,
        graph: CanvasGraph | None = None,
        previous: CompactReenactor | None = None,
    ) -> None:
        """Start a session.

        Args:
            model: encoder and generator.
            smooth: filter landmarks and blendshapes.
            graph: draws finished frames on the model's device; None composites on the host.
            previous: reenactor of the same session on another backend, whose filters and neutral
                are kept.
        """
        self._model, self._graph = model, graph
        self.encode: TrackerEncoder = TrackerEncoder(smooth=smooth) if previous is None else previous.encode
        self.neutral: DriverNeutral = DriverNeutral() if previous is None else previous.neutral

    def needs_neutral(self, settings: EditSettings) -> bool:  # noqa: ARG002 - expression needs it in any case
        """See `engine.models.reenactor.Reenactor.needs_neutral`."""
        return True

    def for_portrait(
        self,
        motion: MotionCode | None,
        features: Features,
        around: Composite,
        *,
        response: Float | None = None,
    ) -> PortraitStages[MotionCode, Neutral, Conditioning]:
        """See `engine.models.reenactor.Reenactor.for_portrait`.

        Raises:
            ValueError: ``motion`` is None.
        """
        if motion is None:
            raise ValueError("motion must be known: the portrait's tracked motion is what is edited")
        size = self._model.size
        colours = read_mouth_colours(motion, around.crop(size))
        texture = around.texture(size)
        # Without a matte, what is around the face may as well be background.
        hair = None if texture.background is None else RigidHair(motion)
        edit = TrackerEdit(motion, map_px=size // 2, colours=colours, hair=hair, response=response)
        if self._graph is None:
            generate: Any = CompactGenerate(self._model, features)
            composite = GazeComposite(WarpComposite(texture, size), texture)
        else:
            generate = CanvasGenerate(self._graph, features, texture)
            composite = GazeComposite(CopyResult(), texture)
        return PortraitStages(
            edit=edit, with_presets=edit.with_presets, generate=generate, composite=composite
        )
