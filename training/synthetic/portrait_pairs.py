"""Pictures of one real portrait with several expressions: itself first, then itself re-rendered.

The pose, the person and everything beside the face are the same in all of them, exactly. What was re-rendered has the
portrait's own skin but painted teeth and stretched lids, so as a pair for training the re-rendered picture is best the
source and the portrait the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimicam.engine.errors import EngineError
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.types import Face
from mimicam.training.synthetic.fit import Fit, Fitter
from mimicam.training.synthetic.interior import EYELIDS, INNER_LIPS
from mimicam.training.synthetic.marks import LandmarkMap
from mimicam.training.synthetic.model import FaceModel, Float
from mimicam.training.synthetic.rerender import Rerendered, Rerenderer
from mimicam.training.synthetic.sample import ExpressionSampler

Image = npt.NDArray[np.uint8]
MOST_RESIDUAL = 0.012
"""Root mean square stray of a fit that is trusted, as a part of the face's width (1.3 pixels of 110)."""
MOST_TURN_DEG = (32.0, 28.0)
"""Yaw and pitch: beyond, too much of the face is hidden."""
LEAST_FACE = 0.28
"""Width of the landmarks in picture sides."""
MOST_MISS = 0.014
"""How far tracked landmarks of lips, lids and brows may lie from where the rendering put them, on average, in sides."""
LEAST_FOLLOW = 0.5
"""Least share of the asked-for motion of lips and lids that the tracker must see, where anything was to move."""
_MOVED = 0.006
_SHUT = 0.5
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
CHECKED = np.array(sorted({*INNER_LIPS, *EYELIDS[0], *EYELIDS[1], *_BROWS}))
_UPPER = ("brow", "eye", "cheekRaiser", "cheekSquint", "noseSneer")
_UNSEEN = ("PupilDilate", "eyeLook")
"""The eyes of the portrait keep their gaze."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One accepted re-rendering."""

    image: Image
    expression: Float
    """``[57]`` applied weights."""
    miss: float
    """Mean distance of the tracked landmarks from the asked-for ones, picture sides."""
    painted: float
    """Share of the picture that was painted, not fetched from the portrait."""


@dataclass(frozen=True, kw_only=True)
class PortraitSet:
    """A portrait and what was made of it."""

    portrait: Image
    fit: Fit
    variants: tuple[Variant, ...]
    refused: int
    """Re-renderings in which the tracker did not find what was asked for."""


class PortraitStudio:
    """Fits portraits of one size and re-renders them with drawn expressions."""

    def __init__(self, model: FaceModel, marks: LandmarkMap, size_px: int = 256) -> None:
        self._model, self._size = model, size_px
        self._fitter, self._rerender = Fitter(model, marks), Rerenderer(model, marks, size_px)
        self._sampler, self._tracker = ExpressionSampler(model), FaceTracker()
        names = model.expression_names
        self._upper = np.array([n.startswith(_UPPER) for n in names])
        self._lids = np.array([n.startswith(("eyeBlink", "eyeWide", "eyeSquint")) for n in names])
        self._unseen = np.array([n.startswith(_UNSEEN) for n in names])

    def __call__(self, portrait: Image, rng: np.random.Generator, count: int) -> PortraitSet:
        """``count`` expressions of a portrait ``[size, size, 3]``, those that the tracker confirms.

        Raises:
            EngineError: no face, or one that is too small, turned too far, or that the model does not fit.
        """
        fit = self.enter(portrait)
        kept: list[Variant] = []
        for kind in range(count):
            variant = self._variant(self.expression(fit, kind, rng))
            if variant is not None:
                kept.append(variant)
        return PortraitSet(portrait=portrait, fit=fit, variants=tuple(kept), refused=count - len(kept))

    def enter(self, portrait: Image) -> Fit:
        """Find, fit and take the face of a portrait. Raises EngineError as ``__call__``."""
        if portrait.shape != (self._size, self._size, 3):
            raise EngineError(
                f"portraits of {self._size}x{self._size} pixels are wanted, got {portrait.shape[:2]}"
            )
        face = self._look(portrait)
        if face is None:
            raise EngineError("no face is seen: give a portrait in which one is")
        marks = face.landmarks - np.array([0.5, 0.5, 0.0], np.float32)
        fit = self._fitter(marks, face.blendshapes, self._size)
        _check(fit, marks)
        self._rerender.enter(portrait, fit, marks)
        self._seen = marks[:, :2]
        return fit

    def draw(self, expression: Float) -> Rerendered:
        """The entered portrait with applied weights ``[57]``."""
        return self._rerender.draw(expression)

    def expression(self, fit: Fit, kind: int, rng: np.random.Generator) -> Float:
        """Applied weights of a drawn expression.

        Kinds, repeating: 0 at rest with closed lips, 1 anything, 2 another mouth under the same eyes and brows,
        3 the other state of the lids with another mouth. Closed eyes of a portrait open in kinds 0, 1 and 3.
        """
        travel = self._model.lid_travel(fit.neutral)
        blink = [self._model.expression_index[f"eyeBlink_{s}"] for s in "LR"]
        shut = bool((fit.expression[blink] / travel).mean() > _SHUT)
        drawn = self._sampler.draw(rng).weights
        kind %= 4
        out = np.array(drawn if kind else 0.15 * drawn, np.float32)
        if kind == 2 or (kind == 0 and not shut):
            out = np.where(self._upper if kind == 2 else self._lids, fit.expression, out)
        if kind == 3 or (shut and kind < 2):
            out[self._lids] *= 0.0
            out[blink] = 0.0 if shut else np.array(travel) * rng.choice([1.0, 1.0, rng.uniform(0.4, 0.9)])
        elif kind == 1:
            out[blink] *= np.array(travel)
        if kind == 0:
            for name in (
                "jawOpen",
                "mouthLowerDown_L",
                "mouthLowerDown_R",
                "mouthUpperUp_L",
                "mouthUpperUp_R",
            ):
                out[self._model.expression_index[name]] = 0.0
        out[self._unseen] = 0.0
        return out.astype(np.float32)

    def _variant(self, expression: Float) -> Variant | None:
        made = self._rerender.draw(expression)
        face = self._look(made.image)
        if face is None:
            return None
        found = face.landmarks[CHECKED, :2] - np.float32(0.5)
        asked, before = made.landmarks_px[CHECKED], self._seen[CHECKED]
        miss = float(np.linalg.norm(found - asked, axis=1).mean()) / self._size
        wanted, got = (asked - before).ravel(), (found - before).ravel()
        moved = float(np.abs(wanted).max()) > 2 * _MOVED * self._size
        follow = float(wanted @ got / (wanted @ wanted + 1e-9))
        if miss > MOST_MISS or (moved and follow < LEAST_FOLLOW):
            return None
        return Variant(image=made.image, expression=expression, miss=miss, painted=made.painted)

    def _look(self, image: Image) -> Face | None:
        self._tracker.reset()
        return self._tracker(image)


def _check(fit: Fit, marks: Float) -> None:
    yaw, pitch = fit.camera.angles_deg
    width = float(np.ptp(marks[:, 0])) / fit.camera.size_px
    if width < LEAST_FACE:
        raise EngineError(
            f"the face takes {width:.0%} of the picture's width, {LEAST_FACE:.0%} is wanted: crop it"
        )
    if abs(yaw) > MOST_TURN_DEG[0] or abs(pitch) > MOST_TURN_DEG[1]:
        raise EngineError(
            f"the head is turned by {yaw:.0f} and {pitch:.0f} degrees: give one nearer to the front"
        )
    stray = fit.residual_px / (width * fit.camera.size_px)
    if stray > MOST_RESIDUAL:
        raise EngineError(
            f"the model misses the landmarks by {stray:.1%} of the face's width: not a face it knows"
        )
