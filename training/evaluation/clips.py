"""The people that a model is measured on: frames of validation clips, and pairs of portrait and
driver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimicam.engine.face.motion import read_motion
from mimicam.engine.types import Float, Image, MotionCode
from mimicam.training.data.pairs import FramePack
from mimicam.training.data.split import LIVELY
from mimicam.training.evaluation import metrics


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Frames of one validation person."""

    identity: str
    images: list[Image]
    landmarks: Float
    """``[T, 478, 3]``, pixels."""
    blendshapes: Float
    motions: list[MotionCode]


def load_clips(pack: FramePack, frames: int) -> list[Clip]:
    """Load the most moving segment of each validation person."""
    best: dict[str, tuple[float, int]] = {}
    for segment in np.unique(pack.segment[pack.indices]):
        low, high = pack.starts[segment], pack.starts[segment + 1]
        if high - low < frames:
            continue
        # The liveliest segment: a still face would measure nothing.
        motion = float(pack.blendshapes[low:high].std(axis=0).sum())
        identity = pack.segments[segment]["identity"]
        if identity in LIVELY:
            continue  # measured apart: `training.evaluation.lively`
        if motion > best.get(identity, (-1.0, 0))[0]:
            best[identity] = (motion, int(segment))
    return [_spread(pack, segment, frames) for _, segment in best.values()]


def calmest(clip: Clip) -> int:
    """Return the number of the frame that serves as portrait: near frontal, eyes open, mouth nearly
    closed."""
    curves = metrics.expression_groups(clip.blendshapes)
    yaw = np.array([abs(m.pose.angles_rad()[0]) for m in clip.motions])
    return int(np.argmin(curves["jaw"] + curves["blink"] + 0.5 * curves["smile"] + yaw))


def cross_pairs(clips: list[Clip], count: int) -> list[tuple[Clip, Clip]]:
    """Pair portraits and drivers of different people; every person takes both roles in turn."""
    # By growing distance in the list, so that a short list of pairs still has every person in both
    # roles.
    pairs = [
        (clips[i], clips[(i + shift) % len(clips)])
        for shift in range(1, len(clips))
        for i in range(len(clips))
    ]
    return pairs[:count]


def _spread(pack: FramePack, segment: int, frames: int) -> Clip:
    low, high = pack.starts[segment], pack.starts[segment + 1]
    return read_clip(pack, np.linspace(low, high - 1, frames).round().astype(int))


def read_clip(pack: FramePack, rows: npt.NDArray[np.int_]) -> Clip:
    """Read these frames of one segment."""
    size = pack.frames.shape[1]
    return Clip(
        identity=pack.segments[pack.segment[rows[0]]]["identity"],
        images=[np.array(pack.frames[i]) for i in rows],
        landmarks=to_pixels(pack.landmarks[rows], size),
        blendshapes=pack.blendshapes[rows],
        motions=[read_motion(pack.landmarks[i], pack.blendshapes[i]) for i in rows],
    )


def to_pixels(landmarks: Float, size: int) -> Float:
    """Convert landmarks ``[..., 3]`` from crop space to pixels of a picture of this side."""
    out = landmarks.copy()
    out[..., :2] = (landmarks[..., :2] + 1) * (size / 2)
    # Depth has the scale of x and y, and no origin.
    out[..., 2] *= size / 2
    return out
