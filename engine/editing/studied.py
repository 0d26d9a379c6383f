"""Expression of a tracked person at any time of a video, without their identity."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container

import numpy as np

from mimicam.engine.editing.smoothing import kernels
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.face.motion import read_motion
from mimicam.engine.models.compact.edit import mirrored
from mimicam.engine.stages.neutral import Expression, IdentityFilter
from mimicam.engine.types import Float, MotionCode

_STILL_S = 0.03
"""Seconds. Standard deviation of the Gaussian on expressions: the tracker's noise is averaged and a
blink of 0.1 s stays."""
_KEPT = 64
"""Frames whose expression is kept, more than one kernel covers."""


class StudiedFace:
    """A person whose resting face was learned from the whole track before any frame is drawn."""

    def __init__(self, track: FaceTrack, *, mirror: bool = False, covered: Container[int] = ()) -> None:
        """Learn the resting face.

        Args:
            track: at least one frame shows the face.
            mirror: read the expression as the person's mirror image.
            covered: frames in which a part of the face is invented; nothing is learned there.
        """
        self._track, self._mirror = track, mirror
        self._identity = IdentityFilter()
        for index in (each for each in track.seen if each not in covered):
            self._identity(self._motion(index), round(track.times_s[index] * 1e9))
        # Nothing is learnt from here on: results must not depend on the order of reading.
        self._identity.fix()
        self._kept: OrderedDict[int, Expression] = OrderedDict()
        self._kernels = _kernels_by_frame(track)

    @property
    def resting(self) -> Float:
        """Resting blendshapes of the person, ``[52]``."""
        return self._identity.resting

    def expression(self, index: int) -> Expression | None:
        """Return the smoothed expression in a frame; None where the face is not seen."""
        if index not in self._kernels:
            return None
        near, weights = self._kernels[index]
        found = [self._read(each) for each in near]
        return Expression(
            blendshapes=_mean(weights, [each.blendshapes for each in found]),
            displacement=_mean(weights, [each.displacement for each in found]),
        )

    def at(self, time_s: float) -> Expression | None:
        """Return the expression at a time, interpolated between frames; None without a face."""
        times_s = self._track.times_s
        after = int(np.clip(np.searchsorted(times_s, time_s, side="right"), 1, len(times_s) - 1 or 1))
        first = self.expression(after - 1)
        second = self.expression(after) if after < len(times_s) else None
        if first is None or second is None:
            # At the edge of a gap, the frame that shows the face stands for both.
            return first or second
        span_s = float(times_s[after] - times_s[after - 1])
        return blend(first, second, float(np.clip((time_s - times_s[after - 1]) / span_s, 0.0, 1.0)))

    def _read(self, index: int) -> Expression:
        if index not in self._kept:
            motion = self._motion(index)
            self._kept[index] = self._identity(motion, round(self._track.times_s[index] * 1e9))
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[index]

    def _motion(self, index: int) -> MotionCode:
        face = self._track.faces[index]
        assert face is not None, "only frames that show the face are read"
        # Pixels instead of crop units: neither expression nor view depends on the scale.
        motion = read_motion(face.landmarks, face.blendshapes)
        return mirrored(motion) if self._mirror else motion


def blend(first: Expression, second: Expression, share: float) -> Expression:
    """Interpolate two expressions: a share of 0 gives the first, 1 the second."""
    part = np.float32(share)
    return Expression(
        blendshapes=first.blendshapes + part * (second.blendshapes - first.blendshapes),
        displacement=first.displacement + part * (second.displacement - first.displacement),
    )


def _kernels_by_frame(track: FaceTrack) -> dict[int, tuple[list[int], Float]]:
    """Return the frames around each frame of a run, and their weights."""
    found: dict[int, tuple[list[int], Float]] = {}
    for run in track.runs():
        for index, (near, weights) in zip(run, kernels(track.times_s[run], _STILL_S), strict=True):
            found[index] = run[near], weights
    return found


def _mean(weights: Float, arrays: list[Float]) -> Float:
    mean: Float = np.tensordot(weights, np.stack(arrays), axes=(0, 0)).astype(np.float32)
    return mean
