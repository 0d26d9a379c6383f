"""The methods that are measured: any model that the engine loads, and two baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from mimicam.engine.models.base import (
    Features,
    ImageDrivenModel,
    Model,
    SeveralFramesModel,
    TrackerDrivenModel,
)
from mimicam.engine.models.reenactor import PortraitStages
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.crop import Crop, cut, whole_box
from mimicam.engine.types import EditSettings, Image, Mode, MotionCode
from mimicam.training.evaluation.clips import Clip

Generate = Callable[[Image, MotionCode, Image, MotionCode, Mode], Image]
"""Maps portrait, its motion, driver, its motion and mode to a result of the portrait's size."""

WithFrames = Callable[[Clip], Generate]
"""Takes frames of one person; the generator ignores the portrait that it is given."""

FRAME_NS = 40_000_000
"""Time between a driver's frames, for filters, ns: 25 fps."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method that draws pictures: one column of the tables."""

    generate: Generate
    """Draws with the motion as it is, without filter and neutral."""
    smoothed: Generate
    """Draws with the product's filter: successive frames of one driver, whose motions were
    filtered."""
    modes: tuple[Mode, ...] = tuple(Mode)
    """Modes that it can be driven in; its column has no others."""
    with_frames: WithFrames | None = None
    """Makes a generator for a portrait of several frames. None: a portrait is one frame."""


def model_method(model: Model) -> Method:
    """Wrap a model in the product's own path: motion from the tracker or from the driver's
    picture."""
    if isinstance(model, ImageDrivenModel):
        plain, smoothed = (ImageGenerator(model, smooth=smooth) for smooth in (False, True))
        several = SeveralGenerators(model, plain) if isinstance(model, SeveralFramesModel) else None
        return Method(generate=plain, smoothed=smoothed, modes=model.modes, with_frames=several)
    if not isinstance(model, TrackerDrivenModel):
        raise TypeError(f"{model.name} is driven neither by the tracker nor by the driver's picture")
    generate = TrackerGenerator(model)
    return Method(generate=generate, smoothed=generate)


def baselines() -> dict[str, Method]:
    """Return the two baselines: copying the source, and copying the driver."""
    named: dict[str, Generate] = {"copy source": copy_source, "copy driver": copy_driver}
    methods = {name: Method(generate=copy, smoothed=copy) for name, copy in named.items()}
    return methods | {
        "copy source": replace(methods["copy source"], with_frames=copy_nearest),
    }


def copy_nearest(frames: Clip) -> Generate:
    """Baseline that copies the portrait's frame whose expression and pose are nearest to the
    driver's."""

    def distance(a: MotionCode, b: MotionCode) -> float:
        angles = np.subtract(a.pose.angles_rad(), b.pose.angles_rad())
        # Angles in radians count double: half a radian of turn weighs as much as a whole
        # blendshape.
        return float(np.linalg.norm(np.concatenate([a.expression - b.expression, 2 * angles])))

    def generate(_: Image, __: MotionCode, ___: Image, driver: MotionCode, ____: Mode) -> Image:
        distances = [distance(motion, driver) for motion in frames.motions]
        return frames.images[int(np.argmin(distances))]

    return generate


def copy_source(portrait: Image, *_: object) -> Image:
    """Baseline that copies the source: nothing moves."""
    return portrait


def copy_driver(_: Image, __: MotionCode, driver: Image, *___: object) -> Image:
    """Baseline that copies the driver: everything moves, and the person changes."""
    return driver


class TrackerGenerator:
    """Draws with a model that is driven by the tracker's motion; see `Generate`. A portrait is
    encoded once."""

    def __init__(self, model: TrackerDrivenModel) -> None:
        self._model = model
        self._reenactor = model.reenactor(smooth=False)
        self._last: tuple[Image, PortraitStages[Any, Any, Any]] | None = None

    def __call__(self, portrait: Image, own: MotionCode, _: Image, driver: MotionCode, mode: Mode) -> Image:
        if self._last is None or self._last[0] is not portrait:
            features = self._model.encode(_input(portrait, self._model.size))
            around = Composite(portrait, whole_box(portrait), None)
            self._last = portrait, self._reenactor.for_portrait(own, features, around)
        stages = self._last[1]
        target = stages.edit(driver, None, EditSettings(mode=mode))
        return _sized(stages.composite(stages.generate(target)), len(portrait)).copy()


class ImageGenerator:
    """Draws with a model that reads motion from the driver's picture; see `Generate`. A portrait is
    encoded once."""

    def __init__(self, model: ImageDrivenModel, *, smooth: bool) -> None:
        self._model = model
        self._reenactor = model.reenactor(smooth=smooth)
        self._last: tuple[Image, PortraitStages[Any, Any, Any]] | None = None
        self._seq = 0

    def __call__(self, portrait: Image, _: MotionCode, driver: Image, __: MotionCode, mode: Mode) -> Image:
        if self._last is None or self._last[0] is not portrait:
            stages = self.set_portrait(portrait, self._model.encode(_input(portrait, self._model.size)))
        else:
            stages = self._last[1]
        self._seq += 1
        crop = Crop(image=driver, box=whole_box(driver), face=None, captured_ns=self._seq * FRAME_NS)
        target = stages.edit(self._reenactor.encode(crop), None, EditSettings(mode=mode))
        return _sized(stages.generate(target), len(portrait)).copy()

    def set_portrait(self, portrait: Image, features: Features) -> PortraitStages[Any, Any, Any]:
        """Draw a portrait that was encoded before, for as long as this picture is given."""
        around = Composite(portrait, whole_box(portrait), None)
        stages = self._reenactor.for_portrait(None, features, around)
        self._last = portrait, stages
        # Another portrait comes with another driver: the filter must not ease between them.
        self._reenactor.encode.reset()
        return stages


class SeveralGenerators:
    """Encodes portraits of several frames for an `ImageGenerator`; see `WithFrames`."""

    def __init__(self, model: SeveralFramesModel, draw: ImageGenerator) -> None:
        self._model, self._draw = model, draw

    def __call__(self, frames: Clip) -> Generate:
        """Encode the frames once."""
        self._draw.set_portrait(frames.images[0], self._model.encode_frames(frames.images))
        return self._draw


def _input(image: Image, size: int) -> Image:
    """Resize a square picture as the product does for a network of ``size`` pixels."""
    return image if len(image) == size else cut(image, whole_box(image), size)


def _sized(image: Image, size: int) -> Image:
    """Resize a result to the size of the pictures that it is compared with."""
    return image if len(image) == size else np.asarray(cv2.resize(image, (size, size)))
