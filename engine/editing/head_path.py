"""Pose of a tracked head at any time of a video."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

import numpy as np

from mimicam.engine.editing.smoothing import gaussian
from mimicam.engine.editing.track import FaceTrack, steady_boxes
from mimicam.engine.face.motion import between, read_motion
from mimicam.engine.models.compact.edit import mirrored
from mimicam.engine.stages.neutral import calmness_cost
from mimicam.engine.types import CropBox, Float, HeadPose, MotionCode

_STILL_S = 0.04
"""Seconds. Standard deviation of the Gaussian on poses."""


class HeadPath:
    """Poses of one head in its own steady crop, smoothed without delay."""

    def __init__(self, track: FaceTrack, *, mirror: bool = False) -> None:
        """Read the poses; ``mirror``: of the mirror image."""
        boxes = steady_boxes(track)
        self._motions: list[MotionCode] = []
        self._times_s: list[float] = []
        costs: list[float] = []
        for run in track.runs():
            motions = [_motion(track, boxes, index, mirror=mirror) for index in run]
            costs += [calmness_cost(motion) for motion in motions]
            # Smoothed run by run: across a gap there is nothing to average.
            rows = np.stack([_row(motion.pose) for motion in motions])
            smooth = gaussian(rows, track.times_s[run], _STILL_S)
            self._motions += [_with_pose(motion, row) for motion, row in zip(motions, smooth, strict=True)]
            self._times_s += [float(time_s) for time_s in track.times_s[run]]
        self.neutral = self._motions[int(np.argmin(costs))].pose
        """Pose in the calmest frame."""

    def at(self, time_s: float) -> HeadPose:
        """Return the pose at a time, interpolated; where the head is lost, between its
        neighbours."""
        after = bisect_right(self._times_s, time_s)
        if after in (0, len(self._times_s)):
            return self._motions[max(after - 1, 0)].pose
        start_s, end_s = self._times_s[after - 1 : after + 1]
        first, second = self._motions[after - 1 : after + 1]
        return between(first, second, (time_s - start_s) / (end_s - start_s)).pose

    def mixed(self, first_s: float, second_s: float, share: float) -> HeadPose:
        """Interpolate the poses at two times: a share of 0 gives the first, 1 the second."""
        face = self._motions[0]
        first, second = (replace(face, pose=self.at(time_s)) for time_s in (first_s, second_s))
        return between(first, second, share).pose


def _motion(track: FaceTrack, boxes: list[CropBox | None], index: int, *, mirror: bool) -> MotionCode:
    face, box = track.faces[index], boxes[index]
    assert face is not None and box is not None, "a run has a face and a box in each frame"  # noqa: PT018
    motion = read_motion(box.from_image(face.landmarks), face.blendshapes)
    return mirrored(motion) if mirror else motion


def _row(pose: HeadPose) -> Float:
    """Return rotation, position and scale as ``[12]``."""
    return np.concatenate([pose.rotation.ravel(), pose.translation, [pose.scale]]).astype(np.float32)


def _with_pose(motion: MotionCode, row: Float) -> MotionCode:
    # The nearest rotation to a mean of rotations.
    u, _, vt = np.linalg.svd(row[:9].reshape(3, 3))
    pose = HeadPose(rotation=(u @ vt).astype(np.float32), translation=row[9:11], scale=float(row[11]))
    return replace(motion, pose=pose)
