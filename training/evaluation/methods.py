"""The methods that are measured: any model that the engine loads, and two baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from mimicam.engine.models.base import Features, ImageDrivenModel, LiveModel, TrackerDrivenModel
from mimicam.engine.models.compact.conditioning import ConditioningBuilder, read_mouth_colours
from mimicam.engine.models.compact.edit import MotionEdit
from mimicam.engine.models.compact.reenactor import CompactGenerate
from mimicam.engine.models.image_driven import ImageDrivenReenactor
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.crop import Crop, cut, whole_box
from mimicam.engine.stages.warp_composite import WarpComposite
from mimicam.engine.types import EditSettings, Image, Mode, MotionCode

Generate = Callable[[Image, MotionCode, Image, MotionCode, Mode], Image]
"""Maps portrait, its motion, driver, its motion and mode to a result of the portrait's size."""

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


def model_method(model: LiveModel) -> Method:
    """Wrap a model in the product's own path: motion from the tracker or from the driver's
    picture."""
    if isinstance(model, ImageDrivenModel):
        plain, smoothed = (PictureGenerator(model, smooth=smooth) for smooth in (False, True))
        return Method(generate=plain, smoothed=smoothed, modes=model.modes)
    generate = TrackerGenerator(model)
    return Method(generate=generate, smoothed=generate)


def baselines() -> dict[str, Method]:
    """Return the two baselines: copying the source, and copying the driver."""
    named: dict[str, Generate] = {"copy source": copy_source, "copy driver": copy_driver}
    return {name: Method(generate=copy, smoothed=copy) for name, copy in named.items()}


def copy_source(portrait: Image, *_: object) -> Image:
    """Baseline that copies the source: nothing moves."""
    return portrait


def copy_driver(_: Image, __: MotionCode, driver: Image, *___: object) -> Image:
    """Baseline that copies the driver: everything moves, and the person changes."""
    return driver


class TrackerGenerator:
    """Runs a model that is driven by the tracker's motion; see `Generate`.

    A portrait is encoded once.
    """

    def __init__(self, model: TrackerDrivenModel) -> None:
        self._model = model
        self._last: tuple[Image, Features, MotionEdit, ConditioningBuilder, WarpComposite] | None = None

    def __call__(self, portrait: Image, own: MotionCode, _: Image, driver: MotionCode, mode: Mode) -> Image:
        if self._last is None or self._last[0] is not portrait:
            size = self._model.size
            around = WarpComposite(Composite(portrait, whole_box(portrait), None).texture(size), size)
            crop = _input(portrait, size)
            depart = ConditioningBuilder(own, map_px=size // 2, colours=read_mouth_colours(own, crop))
            self._last = portrait, self._model.encode(crop), MotionEdit(own), depart, around
        _, features, edit, depart, composite = self._last
        drive = depart(edit(driver, None, EditSettings(mode=mode)))
        return _sized(composite(CompactGenerate(self._model, features)(drive)), len(portrait)).copy()


class PictureGenerator:
    """Runs a model that encodes the driver's picture; see `Generate`.

    A portrait is encoded once.
    """

    def __init__(self, model: ImageDrivenModel, *, smooth: bool) -> None:
        self._model = model
        self._stages = ImageDrivenReenactor(model, smooth=smooth)
        self._last: tuple[Image, Features] | None = None
        self._seq = 0

    def __call__(self, portrait: Image, _: MotionCode, driver: Image, __: MotionCode, mode: Mode) -> Image:
        if self._last is None or self._last[0] is not portrait:
            self._last = portrait, self._model.encode(_input(portrait, self._model.size))
            self._stages.encode.reset()
        self._seq += 1
        crop = Crop(image=driver, box=whole_box(driver), face=None, captured_ns=self._seq * FRAME_NS)
        around = Composite(portrait, whole_box(portrait), None)
        role = self._stages.role(None, self._last[1], around)
        drive = role.edit(self._stages.encode(crop), None, EditSettings(mode=mode))
        return _sized(role.generate(drive), len(portrait)).copy()


def _input(image: Image, size: int) -> Image:
    """Resize a square picture as the product does for a network of ``size`` pixels."""
    return image if len(image) == size else cut(image, whole_box(image), size)


def _sized(image: Image, size: int) -> Image:
    """Resize a result to the size of the pictures that it is compared with."""
    return image if len(image) == size else np.asarray(cv2.resize(image, (size, size)))
