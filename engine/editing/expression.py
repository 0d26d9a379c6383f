"""Edit the expression of one frame: source, driver, strengths and presets to a target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mimicam.engine.editing.channels import Changes, preset_mix, shape_amounts
from mimicam.engine.editing.studied import blend
from mimicam.engine.face.motion import shape_change
from mimicam.engine.face.regions import expression_gains, spread
from mimicam.engine.stages.neutral import Expression, rest_unmapped, resting_face
from mimicam.engine.types import EditSettings, Float, MotionCode, MotionReference

_DISPLACEMENT_LIMIT = 0.6
"""Head units, about 35 mm: more than a jaw opens. A larger change means that the tracker
slipped."""


def edit_expression(
    source: MotionCode,
    own: Expression,
    driver: Expression | None,
    *,
    resting: Float,
    settings: EditSettings,
    changes: Changes,
) -> MotionCode:
    """Return the target: the source's pose and identity with the edited expression.

    Without a driver and without changes it equals the source exactly.

    Args:
        source: motion of the face in this frame.
        own: its expression, without identity.
        driver: expression to take over, without identity. None: there is no driver.
        resting: resting blendshapes of the source's person, ``[52]``.
        settings: gain, and what the driver's expression is counted from.
        changes: strengths and presets in this moment.
    """
    wanted = _wanted(own, driver, settings, changes)
    if calm := preset_mix(changes).calm:
        rest = resting_face()
        wanted = blend(wanted, Expression(blendshapes=rest.expression, displacement=rest.displacement), calm)
    # The difference of two personal values, so that an expression that is kept stays exactly.
    shift = rest_unmapped(wanted.blendshapes, resting) - rest_unmapped(own.blendshapes, resting)
    before = np.clip(source.expression + shift, 0.0, 1.0).astype(np.float32)
    after = shape_amounts(changes, before, resting) if changes.presets else before
    moved = wanted.displacement - own.displacement + shape_change(after - before)
    # Clipped, not refused: one bad frame of the tracker must not end an edit.
    limited = np.clip(moved, -_DISPLACEMENT_LIMIT, _DISPLACEMENT_LIMIT).astype(np.float32)
    return replace(source, expression=after, shape=source.shape + limited)


def _wanted(
    own: Expression, driver: Expression | None, settings: EditSettings, changes: Changes
) -> Expression:
    """Return the expression before presets."""
    shapes, landmarks = spread(changes.strengths)
    gains, rest = expression_gains(settings), resting_face()
    start, end = own, own
    if driver is None:
        # The source drives itself: a strength scales the distance from the resting face.
        start = Expression(blendshapes=rest.expression, displacement=rest.displacement)
        shapes, landmarks = gains[0] * shapes - 1, gains[1] * landmarks - 1
    elif settings.expression_motion is MotionReference.ABSOLUTE:
        end = _scaled(driver, *gains)
    else:
        end = _added(own, _scaled(driver, *gains))
    move, moved = end.blendshapes - start.blendshapes, end.displacement - start.displacement
    # What blendshapes explain follows their strength exactly; the rest is shared by landmark.
    unexplained = moved - shape_change(move)
    return Expression(
        blendshapes=own.blendshapes + shapes * move,
        displacement=own.displacement + shape_change(shapes * move) + landmarks * unexplained,
    )


def _scaled(expression: Expression, shapes: Float, landmarks: Float) -> Expression:
    """Scale the distance from the resting face, by blendshape ``[52]`` and landmark ``[478,
    1]``."""
    rest = resting_face()
    away = expression.blendshapes - rest.expression
    unexplained = expression.displacement - rest.displacement - shape_change(away)
    return Expression(
        blendshapes=rest.expression + shapes * away,
        displacement=rest.displacement + shape_change(shapes * away) + landmarks * unexplained,
    )


def _added(own: Expression, other: Expression) -> Expression:
    """Add the other expression's distance from the resting face."""
    rest = resting_face()
    return Expression(
        blendshapes=own.blendshapes + other.blendshapes - rest.expression,
        displacement=own.displacement + other.displacement - rest.displacement,
    )
