"""Attributes that fake models of both kinds share."""

from __future__ import annotations

from typing import Any

from mimicam.engine.models.compact.reenactor import CompactReenactor
from mimicam.engine.models.dpe.edit import BranchEdit
from mimicam.engine.models.image_driven import ImageDrivenReenactor
from mimicam.engine.types import Mode


class TrackerDriven:
    """Attributes of a tracker-driven model, such as compact."""

    modes: tuple[Mode, ...] = tuple(Mode)
    native_size, needs_face, smooth_recordings = False, True, True
    has_blendshapes = True

    def reenactor(self, *, smooth: bool, previous: Any = None) -> CompactReenactor:
        return CompactReenactor(self, smooth=smooth, previous=previous)  # type: ignore[arg-type]


class ImageDriven:
    """Attributes of an image-driven model, such as DPE."""

    modes: tuple[Mode, ...] = tuple(Mode)
    native_size, needs_face, smooth_recordings = True, False, False
    has_blendshapes = False

    def reenactor(self, *, smooth: bool, previous: Any = None) -> Any:
        neutral = None if previous is None else previous.neutral
        return ImageDrivenReenactor(self, BranchEdit, smooth=smooth, neutral=neutral)  # type: ignore[arg-type]
