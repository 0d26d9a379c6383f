"""Apply a driver's codes to one portrait, branch by branch (DPE, equations 3 and 4)."""

from __future__ import annotations

from mimicam.engine.models.base import LatentCodes
from mimicam.engine.models.image_driven import (
    BranchCodes,
    CodeNeutral,
    ImageMotion,
    relative_branches,
    scaled_code,
)
from mimicam.engine.types import EditSettings, Float, Mode


class BranchEdit:
    """Computes the codes to add to one portrait's latent; see `engine.models.reenactor.Edit`.

    The paper adds the driver's codes as they are. A gain scales their distance from the portrait's
    own codes, which reproduce the portrait. With a neutral, the driver's neutral maps to the
    portrait's own codes.
    """

    def __init__(self, own: LatentCodes) -> None:
        self._own = own

    def __call__(
        self, driver: ImageMotion, neutral: CodeNeutral | None, settings: EditSettings
    ) -> BranchCodes:
        """See `engine.models.reenactor.Edit`."""
        own, now = self._own, driver.codes
        # Each branch has its own reference: by default expression is absolute, and pose relative.
        by_expression, by_pose = relative_branches(settings)
        base = neutral.codes.expression if neutral is not None and by_expression else None
        expression = scaled_code(own.expression, now.expression, base, settings.expression_gain)
        base = neutral.codes.pose if neutral is not None and by_pose else None
        pose = scaled_code(own.pose, now.pose, base, settings.pose_gain)
        return _branches(expression, pose, settings.mode)

    def rest(self, settings: EditSettings) -> BranchCodes:
        """See `engine.models.reenactor.Edit.rest`.

        The portrait's own codes reproduce it (the aim of equation 8).
        """
        return _branches(self._own.expression, self._own.pose, settings.mode)


def _branches(expression: Float, pose: Float, mode: Mode) -> BranchCodes:
    return BranchCodes(
        expression=None if mode is Mode.POSE else expression, pose=None if mode is Mode.EXP else pose
    )
