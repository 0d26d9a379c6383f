"""Apply presets to the target of a portrait, whatever moved it there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mimicam.engine.face.motion import with_added
from mimicam.engine.face.regions import expression_gains
from mimicam.engine.models.compact.edit import absolute_expression
from mimicam.engine.models.compact.lips import lip_gaps, with_lips_closed
from mimicam.engine.presets.mix import PresetMix
from mimicam.engine.stages.neutral import read_expression
from mimicam.engine.types import EditSettings, MotionCode

_NO_EXPRESSION = EditSettings(expression_gain=0.0)


class PresetEdit:
    """Adds presets to targets of one portrait, after modes, gains and mirroring."""

    def __init__(self, portrait: MotionCode) -> None:
        """Set up for a portrait with this motion of its own."""
        own = read_expression(portrait)
        # At rest, since a preset that replaces an expression starts from there.
        calm = absolute_expression(portrait, own, own, expression_gains(_NO_EXPRESSION))
        gaps = lip_gaps(portrait.shape)
        self._calm = replace(calm, shape=with_lips_closed(calm.shape, 0 * gaps, gaps))

    def __call__(self, target: MotionCode, mix: PresetMix) -> MotionCode:
        """Return the target with the presets; its pose stays."""
        calm, share = self._calm, np.float32(mix.calm)
        calmed = replace(
            target,
            expression=target.expression + share * (calm.expression - target.expression),
            shape=target.shape + share * (calm.shape - target.shape),
        )
        return with_added(calmed, mix.added)
