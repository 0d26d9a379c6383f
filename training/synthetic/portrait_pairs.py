"""Re-render one real portrait with several expressions.

Pose, person and everything outside the face are exactly equal in all pictures. Re-renderings have
the portrait's own skin, but painted teeth and stretched lids. So in a training pair the
re-rendering is the source, and the portrait the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimicam.engine.errors import EngineError
from mimicam.engine.face.landmarks import INNER_LIPS
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.types import Face
from mimicam.training.synthetic.fit import Fit, Fitter
from mimicam.training.synthetic.landmark_map import LandmarkMap
from mimicam.training.synthetic.model import FaceModel, Float
from mimicam.training.synthetic.mouth_eye_interior import EYELIDS
from mimicam.training.synthetic.rerender import Rerendered, Rerenderer
from mimicam.training.synthetic.sample import ExpressionSampler

Image = npt.NDArray[np.uint8]
MOST_RESIDUAL = 0.012
"""Largest root mean square stray of an accepted fit, in widths of the face (1.3 pixels of 110)."""
MOST_TURN_DEG = (32.0, 28.0)
"""Largest yaw and pitch, degrees: beyond, too much of the face is hidden."""
LEAST_FACE = 0.28
"""Smallest width of the landmarks, in picture sides."""
MOST_MISS = 0.014
"""Largest mean distance of tracked landmarks of lips, lids and brows from their rendered positions,
in picture sides."""
LEAST_FOLLOW = 0.5
"""Smallest share of the requested motion of lips and lids that the tracker must find, if anything
should move."""
_MOVED = 0.006
_SHUT = 0.5
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
CHECKED = np.array(sorted({*INNER_LIPS, *EYELIDS[0], *EYELIDS[1], *_BROWS}))
_UPPER = ("brow", "eye", "cheekRaiser", "cheekSquint", "noseSneer")
_UNSEEN = ("PupilDilate", "eyeLook")
"""Prefixes of shapes that are not drawn: the portrait's eyes keep their gaze."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A re-rendering that the tracker confirms."""

    image: Image
    expression: Float
    """``[57]``: weights of the model's shapes."""
    miss: float
    """Mean distance of the tracked landmarks from the requested ones, picture sides."""
    painted: float
    """Share of the picture that was painted, not fetched from the portrait."""


@dataclass(frozen=True, kw_only=True)
class PortraitSet:
    """A portrait and its re-renderings."""

    portrait: Image
    fit: Fit
    variants: tuple[Variant, ...]
    refused: int
    """Number of re-renderings in which the tracker did not find the requested landmarks."""


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
        """Draw ``count`` expressions of a portrait ``[size, size, 3]``, and keep those that the
        tracker confirms.

        Raises:
            EngineError: there is no face, or it is too small, turned too far, or not fitted by the
                model.
        """
        fit = self.enter(portrait)
        kept: list[Variant] = []
        for kind in range(count):
            variant = self._variant(self.expression(fit, kind, rng))
            if variant is not None:
                kept.append(variant)
        return PortraitSet(portrait=portrait, fit=fit, variants=tuple(kept), refused=count - len(kept))

    def enter(self, portrait: Image) -> Fit:
        """Find and fit the face of a portrait, and keep it for `draw`.

        Raises EngineError as ``__call__``.
        """
        if portrait.shape != (self._size, self._size, 3):
            raise EngineError(
                f"portraits of {self._size}x{self._size} pixels are wanted, got {portrait.shape[:2]}"
            )
        face = self._look(portrait)
        if face is None:
            raise EngineError("no face is seen: give a portrait in which one is")
        # From pixel corners to pixel centres.
        marks = face.landmarks - np.array([0.5, 0.5, 0.0], np.float32)
        fit = self._fitter(marks, face.blendshapes, self._size)
        _check(fit, marks)
        self._rerender.enter(portrait, fit, marks)
        self._seen = marks[:, :2]
        return fit

    def draw(self, expression: Float) -> Rerendered:
        """Draw the entered portrait with weights ``[57]``."""
        return self._rerender.draw(expression)

    def expression(self, fit: Fit, kind: int, rng: np.random.Generator) -> Float:
        """Draw the weights of an expression of a kind.

        Kinds repeat: 0 is rest with closed lips; 1 is anything. 2 is another mouth with the same
        eyes and brows; 3 is another mouth with the lids in the other state. A portrait's closed
        eyes open in kinds 0, 1 and 3.
        """
        travel = self._model.lid_travel(fit.neutral)
        blink = [self._model.expression_index[f"eyeBlink_{s}"] for s in "LR"]
        # Relative to what closes this person's lids, which differs from 1.
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
        # Project the motion that was found on the one that was requested: 1 is all of it.
        wanted, got = (asked - before).ravel(), (found - before).ravel()
        # Without a clear request the ratio below would only measure noise.
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
