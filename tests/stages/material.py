"""What the stages' tests share: the bundled clip and portraits, and faces made by hand."""

from __future__ import annotations

from functools import cache
from itertools import islice

import av
import numpy as np

from mimicam.engine.assets_manifest import ASSETS
from mimicam.engine.face.geometry import face_geometry, place
from mimicam.engine.face.motion import read_motion
from mimicam.engine.face.tracker import BLENDSHAPE_NAMES, FaceTracker
from mimicam.engine.portrait import read_picture
from mimicam.engine.types import Face, Float, HeadPose, Image, MotionCode

SECOND_NS = 1_000_000_000
NAMES = list(BLENDSHAPE_NAMES)


@cache
def driver_clip() -> tuple[Image, ...]:
    """24 frames of the bundled clip, every fifth from its start. Not to be written to."""
    with av.open(str(ASSETS / "demo" / "driver.mp4")) as container:
        frames = islice(container.decode(video=0), 0, 24 * 5, 5)
        return tuple(frame.to_ndarray(format="rgb24") for frame in frames)


@cache
def bundled(name: str) -> Image:
    """A bundled portrait. Not to be written to."""
    return read_picture(ASSETS / "portraits" / name)


@cache
def first_face() -> Face:
    """The face of the clip's first frame."""
    face = FaceTracker()(driver_clip()[0])
    assert face is not None
    return face


def turn(*, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Float:
    """``[3, 3]`` from degrees. Yaw moves the nose (at -z) to larger x, pitch to larger y, roll turns clockwise."""
    y, p, r = np.deg2rad([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).astype(np.float32)


def pose(
    *, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, at: tuple[float, float] = (0.0, -0.18),
    scale: float = 0.4,
) -> HeadPose:  # fmt: skip
    """A pose in crop space, degrees."""
    return HeadPose(
        rotation=turn(yaw=yaw, pitch=pitch, roll=roll), translation=np.array(at, np.float32), scale=scale
    )


def shapes(**values: float) -> Float:
    """Blendshapes ``[52]``, named ones set."""
    out = np.zeros(len(NAMES), np.float32)
    for name, value in values.items():
        out[NAMES.index(name)] = value
    return out


def motion(head: HeadPose | None = None, **values: float) -> MotionCode:
    """The mean face at a pose with an expression."""
    return read_motion(place(face_geometry().mean, head or pose()), shapes(**values))


def face_at(x: float, y: float, scale: float) -> Face:
    """A frontal mean face in an image: pixels, and pixels per canonical unit."""
    placed = place(face_geometry().mean, pose(at=(x, y), scale=scale))
    return Face(landmarks=placed.astype(np.float32), blendshapes=shapes(), presence=1.0)
