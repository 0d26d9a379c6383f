"""Tracked faces made from the mean face, and pictures of them, for tests of editing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from mimicam.engine.editing.track import Colours, FaceTrack
from mimicam.engine.face.geometry import face_geometry, place
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.motion import shape_change
from mimicam.engine.face.skin_colours import face_colours
from mimicam.engine.stages.neutral import resting_face
from mimicam.engine.types import Face, Float, HeadPose, Image

SKIN, HAND, LIPS = (180, 140, 120), (150, 105, 85), (170, 90, 90)
RED = [0, 17, 37, 267, 84, 314, 39, 269, 181, 405, 40, 270, 91, 321]
"""Landmarks of the lips."""


def shapes(**amounts: float) -> Float:
    """Return the average resting blendshapes with some of them changed."""
    values = resting_face().expression.copy()
    for name, amount in amounts.items():
        values[BLENDSHAPE_NAMES.index(name)] = amount
    return values


def face(x_px: float, y_px: float, *, scale_px: float = 60.0, yaw_rad: float = 0.0, **amounts: float) -> Face:
    """Return the mean face at a place of the image, with an expression."""
    expression = shapes(**amounts)
    rotation = cv2.Rodrigues(np.array([0.0, yaw_rad, 0.0]))[0].astype(np.float32)
    pose = HeadPose(rotation=rotation, translation=np.array([x_px, y_px], np.float32), scale=scale_px)
    shape = face_geometry().mean + shape_change(expression - resting_face().expression)
    return Face(landmarks=place(shape, pose), blendshapes=expression, presence=1.0)


def track(faces: Sequence[Face | None], *, fps: float = 25.0, pictures: Iterable[Image] = ()) -> FaceTrack:
    """Return a track of faces at a constant rate; ``pictures``: the frames, if colours matter."""
    colours: dict[int, Colours] = {
        index: face_colours(picture, seen.landmarks).astype(np.uint8)
        for index, (seen, picture) in enumerate(zip(faces, pictures, strict=False))
        if seen is not None
    }
    return FaceTrack(times_s=np.arange(len(faces)) / fps, faces=list(faces), colours=colours)


def drawn(seen: Face) -> Image:
    """Draw a face of one colour with lips and irises."""
    picture = np.full((480, 640, 3), (60, 80, 60), np.uint8)
    points = seen.landmarks[:, :2].astype(np.int32)
    cv2.fillConvexPoly(picture, cv2.convexHull(points), SKIN)
    cv2.fillConvexPoly(picture, cv2.convexHull(points[RED]), LIPS)
    for iris in (points[468:473], points[473:478]):
        cv2.fillConvexPoly(picture, cv2.convexHull(iris), (40, 40, 40))
    return picture


def hand(seen: Face, landmark: int = 13, size: float = 1.0) -> Image:
    """Return where a hand with four fingers lies on a landmark of a face, 0 or 255 ``[480, 640]``."""
    mask = np.zeros((480, 640), np.uint8)
    width = size * float(np.ptp(seen.landmarks[:, 0]))
    x, y = (float(value) for value in seen.landmarks[landmark, :2])
    palm = (round(x), round(y + 0.1 * width))
    cv2.ellipse(mask, palm, (round(0.22 * width), round(0.24 * width)), 0, 0, 360, 255, -1)
    for aside, up in ((-0.16, 0.22), (-0.05, 0.3), (0.06, 0.28), (0.16, 0.2)):
        root, tip = (
            (round(x + out * aside * width), round(y - rise * width)) for out, rise in ((1.0, 0.0), (1.2, up))
        )
        cv2.line(mask, root, tip, 255, round(0.09 * width))
    wrist = (round(x - 0.14 * width), round(y + 0.2 * width)), (round(x + 0.14 * width), 480)
    cv2.rectangle(mask, *wrist, 255, -1)
    return mask


def behind(picture: Image, mask: Image, colour: tuple[int, int, int] = HAND) -> Image:
    """Return the picture behind something."""
    out = picture.copy()
    out[mask > 0] = colour
    return out
