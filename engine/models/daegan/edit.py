"""Apply a driver's joint code of expression and pose to one portrait (DAE-GAN, section 3)."""

from __future__ import annotations

from mimicam.engine.models.base import LatentCodes
from mimicam.engine.models.image_driven import (
    BranchCodes,
    CodeNeutral,
    ImageMotion,
    relative_branches,
    scaled_code,
)
from mimicam.engine.types import EditSettings


class JointEdit:
    """Computes the code of one portrait's target; see `engine.models.reenactor.Edit`.

    The gain is the mean of both gains. Motion is relative only if both references are, since a
    closed mouth matters more than a camera that stands aside.
    """

    def __init__(self, own: LatentCodes) -> None:
        self._own = own

    def __call__(
        self, driver: ImageMotion, neutral: CodeNeutral | None, settings: EditSettings
    ) -> BranchCodes:
        """See `engine.models.reenactor.Edit`."""
        # One code moves both, so it cannot be relative in one part only.
        relative = neutral is not None and all(relative_branches(settings))
        base = neutral.codes.expression if neutral is not None and relative else None
        gain = (settings.expression_gain + settings.pose_gain) / 2
        return BranchCodes(
            expression=scaled_code(self._own.expression, driver.codes.expression, base, gain), pose=None
        )

    def rest(self, settings: EditSettings) -> BranchCodes:  # noqa: ARG002 - the same in every mode
        """See `engine.models.reenactor.Edit.rest`."""
        return BranchCodes(expression=self._own.expression, pose=None)
