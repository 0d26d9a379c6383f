"""Protocols of the three steps that differ between model families: encode, edit, generate.

Encode: a driver's crop to a motion. Edit: motion and portrait to a target. Generate: a target to
pixels. A tracker-driven family (compact) reads motion from the tracker. An image-driven family
(DPE, DAE-GAN) reads it from the driver's picture. The pipeline passes motions and targets on
without using their content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from mimicam.engine.models.features import Features
from mimicam.engine.presets.mix import PresetMix
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.crop import Crop
from mimicam.engine.stages.lost import Target
from mimicam.engine.types import EditSettings, Float, Image, MotionCode

M = TypeVar("M")
"""A driver's motion."""
# Protocols of functions: what is returned is covariant, what is taken contravariant (PEP 544).
MOut = TypeVar("MOut", covariant=True)
MIn = TypeVar("MIn", contravariant=True)
N = TypeVar("N", bound="KnownNeutral")
"""Estimate of a driver's neutral."""
NOut = TypeVar("NOut", bound="KnownNeutral", covariant=True)
NIn = TypeVar("NIn", contravariant=True)
T = TypeVar("T", bound=Target)
"""Input of a generator."""
TOut = TypeVar("TOut", bound=Target, covariant=True)
TIn = TypeVar("TIn", bound=Target, contravariant=True)


class KnownNeutral(Protocol):
    """Estimate of the driver's neutral after a frame."""

    @property
    def jumped(self) -> bool:
        """Whether it changed at once with this frame, so that the portrait has to ease into it."""


class Encode(Protocol[MOut]):
    """Reads a driver's motion."""

    def __call__(self, crop: Crop) -> MOut:
        """Return the motion of the face in the crop."""

    def reset(self) -> None:
        """Drop the history: another face follows, or a gap."""


class NeutralEstimator(Protocol[MIn, NOut]):
    """Finds a driver's neutral over time."""

    def __call__(self, motion: MIn, captured_ns: int) -> NOut:
        """Return the neutral after this frame."""

    def calibrate(self) -> None:
        """Take the next face as the neutral."""

    def restart(self) -> None:
        """Forget the neutral: another person is followed from the next face on."""

    def study(self, motion: MIn, captured_ns: int) -> None:
        """Learn from a frame of a recording, before any frame is drawn."""

    def end_study(self) -> None:
        """Keep the estimate; only `calibrate` changes it from now on."""


class Edit(Protocol[MIn, NIn, TOut]):
    """Applies a driver's motion to one portrait."""

    def __call__(self, driver: MIn, neutral: NIn | None, settings: EditSettings) -> TOut:
        """Return the target; without a neutral, motion is absolute."""

    def rest(self, settings: EditSettings) -> TOut:
        """Return the portrait's own target, without a driver."""


class Generate(Protocol[TIn]):
    """Draws the targets of one portrait."""

    def __call__(self, target: TIn) -> Any:
        """Return what `PortraitStages.composite` takes; the next call may overwrite its buffers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortraitStages(Generic[M, N, T]):
    """Steps that belong to one portrait."""

    edit: Edit[M, N, T]
    generate: Generate[T]
    composite: Callable[[Any], Image]
    """Makes the result, uint8 ``[height, width, 3]``, from the output of ``generate``. The caller
    may keep it."""
    with_presets: Callable[[M, N | None, EditSettings, PresetMix], T] | None = None
    """Does what ``edit`` does, and adds presets. None: the motion has no blendshapes, see
    `engine.models.base.LiveModel.has_blendshapes`."""


class Reenactor(Protocol[M, N, T]):
    """Steps of one model for one session.

    Use ``Reenactor[Any, Any, Any]`` where motions are only passed on.
    """

    @property
    def encode(self) -> Encode[M]:
        """Reads the driver's motion."""

    @property
    def neutral(self) -> NeutralEstimator[M, N]:
        """Finds the driver's neutral."""

    def needs_neutral(self, settings: EditSettings) -> bool:
        """Whether an edit with these settings uses the neutral, and with it the tracker."""

    def for_portrait(
        self,
        motion: MotionCode | None,
        features: Features,
        around: Composite,
        *,
        response: Float | None = None,
    ) -> PortraitStages[M, N, T]:
        """Make the steps of one portrait.

        Args:
            motion: the portrait's own motion, where the tracker read it.
            features: as the model encoded the portrait.
            around: puts a generated face into the portrait's picture.
            response: see `engine.portrait.Portrait.response`.

        Raises:
            EngineError: the portrait was enrolled with another model.
        """
