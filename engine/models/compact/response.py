"""Measure how strongly a portrait shows the expressions that it is asked for.

A face at rest and a few known expressions are drawn with the portrait at the networks' size and
read back by the tracker. The share of each blendshape that arrives differs between portraits by a
factor of two: the generator follows the landmarks, and the same displacement opens a narrow mouth
further than a wide one. `engine.models.compact.edit` asks for more or less accordingly.

The known expressions are averages over people (`training.data.typical`). A blendshape alone, as no
face shows it, arrives at a third of the strength with which it arrives among the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from mimicam.engine.face.geometry import GEOMETRY_FILE, place
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.regions import expression_gains
from mimicam.engine.models.base import Features, ReadFace, TrackerDrivenModel
from mimicam.engine.models.compact.conditioning import ConditioningBuilder, read_mouth_colours
from mimicam.engine.models.compact.edit import AS_ASKED, absolute_expression, landmark_reading
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.crop import whole_box
from mimicam.engine.stages.neutral import Expression, read_expression, resting_face
from mimicam.engine.stages.warp_composite import WarpComposite
from mimicam.engine.types import EditSettings, Float, Image, MotionCode

_PAIRS = (
    "mouthSmile", "mouthUpperUp", "mouthLowerDown", "mouthStretch", "mouth", "browOuterUp", "browDown",
    "eyeBlink", "eyeSquint",
)  # fmt: skip
"""Blendshapes with a left and a right one, which get one factor."""
_SINGLE = ("jawOpen", "mouthPucker", "mouthFunnel", "browInnerUp")
"""The other blendshapes that are calibrated. Sneers, puffed cheeks and tongues are not: the tracker
never reads them."""
_CLEAR = 0.5
"""Share of a channel's strongest request from which an expression counts for the channel."""
_LEAST_SHARE = 0.05
_POWER = 0.7
"""Exponent of the inverse. With 1, six lively pairs gained more amplitude, but smiles lost
correlation: 0.92 to 0.84 (2026-11)."""
_LEAST, _MOST = 0.8, 1.6
"""Limits of the response. Jaws and smiles that are asked for less lose their small motions: with
0.85, smiles fall from 0.96 to 0.95 in what is asked for, with 1.2, jaws rise from 0.94 to 0.95 (the
same)."""
_LEAST_LIKENESS = 0.75
"""Cosine of what is asked for and what is read, below which the tracker does not read this face.
Photographs and paintings reach 0.85 to 0.92, four cartoons 0.52, 0.69, 0.89 and 0.90 (2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownExpressions:
    """K expressions that a portrait is measured with."""

    blendshapes: Float
    """``[K, 52]``"""
    displacements: Float
    """``[K, 478, 3]``; zero point as in `engine.face.expression_filter.displacements`."""


@cache
def known_expressions() -> KnownExpressions:
    """Load the bundled expressions, once."""
    with np.load(GEOMETRY_FILE) as data:
        return KnownExpressions(
            blendshapes=data["typical_expression"].astype(np.float32),
            displacements=data["typical_displacement"].astype(np.float32),
        )


def measure_response(
    model: TrackerDrivenModel, crop: Image, motion: MotionCode, features: Features, read: ReadFace
) -> Float:
    """See `engine.models.base.CalibratedModel.measure_response`; ``model`` draws the portrait."""
    draw, known = _Drawing(model, crop, motion, features), known_expressions()
    rest = resting_face()
    first = draw(Expression(blendshapes=rest.expression, displacement=rest.displacement), read)
    if first is None:
        return AS_ASKED
    arrived = []
    for shapes, displacement in zip(known.blendshapes, known.displacements, strict=True):
        shown = draw(Expression(blendshapes=shapes, displacement=displacement), read)
        if shown is None:
            return AS_ASKED
        arrived.append(shown - first)
    return fit_response(known.blendshapes - rest.expression, np.stack(arrived))


def fit_response(asked: Float, arrived: Float) -> Float:
    """Return the response that K expressions show, ``[52]``.

    Args:
        asked: distance from rest that was asked for, ``[K, 52]``.
        arrived: distance from the drawn face at rest, ``[K, 52]``.
    """
    response, channels = AS_ASKED.copy(), _channels()
    read = [index for channel in channels for index in channel]
    if _cosine(asked[:, read], arrived[:, read]) < _LEAST_LIKENESS:
        return response
    for channel in channels:
        size = np.abs(asked[:, channel])
        # Weak requests would add the tracker's noise to the quotient.
        rows = size >= _CLEAR * size.max()
        request = (asked[:, channel] * rows).ravel()
        share = float(request @ arrived[:, channel].ravel()) / float(request @ request)
        response[channel] = np.clip(max(share, _LEAST_SHARE) ** -_POWER, _LEAST, _MOST)
    # A blink that is softened would leave the eyes open. Smiles are read from lips that others
    # raise as well: strengthened, they came out 1.8 times too strong on one of eight pairs
    # (2026-11).
    response[_BLINK] = np.maximum(response[_BLINK], 1)
    response[_SMILE] = np.minimum(response[_SMILE], 1)
    return response


class _Drawing:
    """Draws expressions of one portrait at the networks' size, and reads them."""

    def __init__(
        self, model: TrackerDrivenModel, crop: Image, motion: MotionCode, features: Features
    ) -> None:
        self._model, self._features, self._motion = model, features, motion
        self._own, self._gains = read_expression(motion), expression_gains(EditSettings())
        self._reading = landmark_reading(motion, self._own)
        colours = read_mouth_colours(motion, crop)
        self._build = ConditioningBuilder(motion, map_px=model.size // 2, colours=colours)
        # At the networks' size: the tracker reads 256 pixels anyway.
        texture = Composite(crop, whole_box(crop), None).texture(model.size)
        self._composite = WarpComposite(texture, model.size)

    def __call__(self, expression: Expression, read: ReadFace) -> Float | None:
        """Return the blendshapes that arrive, ``[52]``; None: the tracker finds no face."""
        target = absolute_expression(self._motion, self._own, expression, self._gains, reading=self._reading)
        conditioning = self._build(target)
        fields = self._model.generate(self._features, conditioning.tensors())
        conditioning.mouth.cover(fields.inpaint)
        landmarks = place(target.shape, target.pose)
        half = np.float32(self._model.size / 2)
        at = landmarks * half + np.array([half - 0.5, half - 0.5, 0], np.float32)
        face = read(self._composite(fields), at)
        return None if face is None else face.blendshapes


def _cosine(a: Float, b: Float) -> float:
    return float((a * b).sum()) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)


@cache
def _channels() -> list[list[int]]:
    """Return the blendshapes of each channel."""
    names = list(BLENDSHAPE_NAMES)
    return [*map(_both_sides, _PAIRS), *([names.index(name)] for name in _SINGLE)]


def _both_sides(name: str) -> list[int]:
    return [list(BLENDSHAPE_NAMES).index(name + side) for side in ("Left", "Right")]


_BLINK, _SMILE = _both_sides("eyeBlink"), _both_sides("mouthSmile")
