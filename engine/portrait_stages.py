"""Make the stages that draw one portrait, at the size of results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mimicam.engine.models.reenactor import PortraitStages, Reenactor
from mimicam.engine.portrait import Portrait
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.view import ShowView, choose_view


def stages_for(
    portrait: Portrait, reenactor: Reenactor[Any, Any, Any], size: tuple[int, int] | None
) -> PortraitStages[Any, Any, Any]:
    """Return the stages of this portrait.

    Args:
        portrait: enrolled with the reenactor's model.
        reenactor: the session's.
        size: (width, height) of results; None: the bare crop, as the model draws it.
    """
    if size is None:
        return _stages(
            portrait, reenactor, Composite(portrait.picture, portrait.box, None, matte=portrait.person_matte)
        )
    height, width = portrait.picture.shape[:2]
    view = choose_view((width, height), portrait.box, size)
    around = Composite(
        portrait.picture, portrait.box, view.canvas, side=view.side, matte=portrait.person_matte
    )
    stages = _stages(portrait, reenactor, around)
    return stages if view.whole else replace(stages, composite=ShowView(stages.composite, view))


def _stages(
    portrait: Portrait, reenactor: Reenactor[Any, Any, Any], around: Composite
) -> PortraitStages[Any, Any, Any]:
    return reenactor.for_portrait(portrait.motion, portrait.features, around, response=portrait.response)
