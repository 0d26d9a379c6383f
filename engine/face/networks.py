"""Networks that find and read faces: 478 landmarks and 52 blendshapes.

The three networks are MediaPipe's face landmarker (Apache-2.0): BlazeFace short range, face mesh V2
with irises, and the blendshape head. Input and output conventions are those of MediaPipe's face
landmarker task.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimicam.engine.backends.openvino import NetworksInTurn, core
from mimicam.engine.face.identity import face_patch
from mimicam.engine.face.landmarks import BLENDSHAPE_LANDMARKS, BLENDSHAPE_NAMES
from mimicam.engine.silent_imports import ov
from mimicam.engine.types import BLENDSHAPES, LANDMARKS, Face, Float, Image

__all__ = [
    "BLENDSHAPE_LANDMARKS",
    "BLENDSHAPE_NAMES",
    "Detection",
    "FaceDetector",
    "FaceReader",
    "Region",
    "anchor_centres",
    "region_of_landmarks",
]

TRACKER_DIR = Path(__file__).parents[1] / "assets" / "tracker"
LANDMARK_NETWORK = TRACKER_DIR / "face_landmarks_detector.tflite"
_NETWORKS = NetworksInTurn()
"""Compiling them takes seconds: a call's tracker takes over those of the call before."""

_MESH_PX = 256
_ROI_SCALE = 1.5
"""Side of the landmark network's input divided by the face box's, as in its training."""
_DETECTION_MIN = 0.5
PRESENCE_MIN = 0.5
"""Smallest presence, according to the landmark network, of what counts as a face."""
_EYE_CORNERS = (33, 263)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Rotated square of the image that a network reads."""

    x_px: float
    """Centre, image pixels."""
    y_px: float
    """Centre, image pixels."""
    size_px: float
    """Side, image pixels."""
    roll_rad: float
    """Clockwise on the screen."""

    def image_from_net(self, net_px: int) -> Float:
        """``[2, 3]``: network pixels (x, y, 1) to image pixels."""
        cos, sin = math.cos(self.roll_rad), math.sin(self.roll_rad)
        scale = self.size_px / net_px
        half = net_px / 2
        a = np.array([[cos * scale, -sin * scale, 0.0], [sin * scale, cos * scale, 0.0]], np.float32)
        a[:, 2] = (self.x_px, self.y_px) - a[:, :2] @ np.array([half, half], np.float32)
        return a

    def cut(self, image: Image, net_px: int, out: Image | None = None) -> Image:
        """Return the region, upright, ``[net_px, net_px, 3]``; black outside the image."""
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(image, self.image_from_net(net_px), (net_px, net_px), dst=out, flags=flags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Detected face: its region in the image and the detector's score."""

    region: Region
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _DetectorKind:
    """A network of the BlazeFace family."""

    file: str
    input_px: int
    cells: tuple[tuple[int, int], ...]
    """(cells a side, anchors a cell) of each scale."""


NEAR = _DetectorKind(file="face_detector.tflite", input_px=128, cells=((16, 2), (8, 6)))
"""BlazeFace short range: faces larger than about a tenth of the picture's longer side."""
FAR = _DetectorKind(file="far_face_detector.tflite", input_px=192, cells=((48, 1),))
"""BlazeFace full range, sparse: faces down to about a twentieth."""


class FaceDetector:
    """Detects faces with one of `NEAR` and `FAR`."""

    def __init__(self, threads: int = 1, kind: _DetectorKind = NEAR) -> None:
        self._net = _NETWORKS.open(TRACKER_DIR / kind.file, threads=threads, name="the face detector")
        self._px = kind.input_px
        self._anchors = anchor_centres(kind.cells)
        self._cut = np.empty((self._px, self._px, 3), np.uint8)
        self._input = np.empty((1, self._px, self._px, 3), np.float32)

    def __call__(self, image: Image) -> list[Detection]:
        """Return all faces, best first; of overlapping detections only the best is kept."""
        height, width = image.shape[:2]
        side = float(max(height, width))
        whole = Region(x_px=width / 2, y_px=height / 2, size_px=side, roll_rad=0.0)
        # Into memory that the network reads in place: no array is allocated per frame.
        np.copyto(self._input[0], whole.cut(image, self._px, self._cut))
        self._input /= 127.5
        self._input -= 1.0
        boxes, logits = self._net(self._input)
        scores = _sigmoid(logits[0, :, 0])
        keep = np.flatnonzero(scores > _DETECTION_MIN)
        # Best first, so that the loop below keeps the best of overlapping ones.
        keep = keep[np.argsort(-scores[keep])]
        points = boxes[0, keep].reshape(-1, 8, 2) / self._px
        # Row 1 is the box's size. All other rows are positions relative to the cell's anchor.
        points[:, [0, 2, 3, 4, 5, 6, 7]] += self._anchors[keep, None]
        points *= side
        # The network's input is the picture padded to a square: undo the padding.
        points[:, [0, 2, 3, 4, 5, 6, 7]] += np.array([(width - side) / 2, (height - side) / 2], np.float32)
        found: list[Detection] = []
        for index, p in zip(keep, points, strict=True):
            if all(_apart(p[0], p[1].max(), d.region) for d in found):
                found.append(Detection(region=_region_of_detection(p), score=float(scores[index])))
        return found


class BlendshapeReader:
    """Reads blendshapes off landmarks alone."""

    def __init__(self, threads: int = 1) -> None:
        self._net = _NETWORKS.open(
            TRACKER_DIR / "face_blendshapes.tflite", threads=threads, name="the blendshape network"
        )

    def __call__(self, landmarks: Float) -> Float:
        """Return the blendshapes ``[52]`` of landmarks ``[478, 3]`` in any space with square
        pixels."""
        shapes = self._net(landmarks[None, BLENDSHAPE_LANDMARKS, :2])[0]
        return np.array(shapes, np.float32).reshape(BLENDSHAPES)


class FaceReader:
    """Reads landmarks and blendshapes of the face in a region."""

    def __init__(self, threads: int = 1) -> None:
        self._mesh = _NETWORKS.open(
            LANDMARK_NETWORK, threads=threads, name="the landmark network", read=_read_mesh
        )
        self._shapes = BlendshapeReader(threads)
        self._cut = np.empty((_MESH_PX, _MESH_PX, 3), np.uint8)
        self._input = np.empty((1, _MESH_PX, _MESH_PX, 3), np.float32)

    def patch(self) -> Float:
        """Return the appearance of the face that was read last; see `identity.face_patch`."""
        return face_patch(self._cut)

    def __call__(self, image: Image, region: Region) -> Face:
        """Return the face; a low ``presence`` means that the region shows none."""
        np.copyto(self._input[0], region.cut(image, _MESH_PX, self._cut))
        self._input *= np.float32(1 / 255)
        points, presence, _ = self._mesh(self._input)
        net = points.reshape(LANDMARKS, 3)
        landmarks = np.empty((LANDMARKS, 3), np.float32)
        to_image = region.image_from_net(_MESH_PX)
        landmarks[:, :2] = net[:, :2] @ to_image[:, :2].T + to_image[:, 2]
        # Depth has the scale of x and y, and an origin of its own.
        landmarks[:, 2] = net[:, 2] * (region.size_px / _MESH_PX)
        return Face(
            landmarks=landmarks,
            blendshapes=self._shapes(landmarks),
            presence=float(_sigmoid(presence).item()),
        )


def _read_mesh(file: Path) -> ov.Model:
    mesh = core().read_model(file)
    mesh.reshape(ov.PartialShape([1, _MESH_PX, _MESH_PX, 3]))
    return mesh


def region_of_landmarks(landmarks: Float) -> Region:
    """Return the square that the landmark network expects around these landmarks (image pixels)."""
    left, right = landmarks[_EYE_CORNERS[0], :2], landmarks[_EYE_CORNERS[1], :2]
    roll = math.atan2(float(right[1] - left[1]), float(right[0] - left[0]))
    cos, sin = math.cos(roll), math.sin(roll)
    # Rotate the face upright: there its bounding box gives centre and side.
    upright = landmarks[:, :2] @ np.array([[cos, -sin], [sin, cos]], np.float32)
    low, high = upright.min(axis=0), upright.max(axis=0)
    mid = (low + high) / 2
    return Region(
        x_px=float(cos * mid[0] - sin * mid[1]),
        y_px=float(sin * mid[0] + cos * mid[1]),
        size_px=float((high - low).max()) * _ROI_SCALE,
        roll_rad=roll,
    )


def _sigmoid(logits: Float) -> Float:
    """Return probabilities of logits."""
    # Clipped, so that exp does not overflow.
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -50, 50))), np.float32)


def _region_of_detection(p: Float) -> Region:
    """Return the region of a raw detection.

    ``p``: ``[8, 2]``, image pixels: centre, size, right eye, left eye, nose, mouth, ears.
    """
    eyes = p[3] - p[2]
    return Region(
        x_px=float(p[0, 0]),
        y_px=float(p[0, 1]),
        size_px=float(p[1].max()) * _ROI_SCALE,
        roll_rad=math.atan2(float(eyes[1]), float(eyes[0])),
    )


def _apart(centre: Float, size: float, other: Region) -> bool:
    distance = math.hypot(float(centre[0]) - other.x_px, float(centre[1]) - other.y_px)
    return distance > 0.5 * max(float(size), other.size_px / _ROI_SCALE)


def anchor_centres(cells: tuple[tuple[int, int], ...]) -> Float:
    """Return the centres of a detector's anchors in 0..1, row by row, scale by scale."""
    rows = []
    for side, each in cells:
        y, x = np.mgrid[0:side, 0:side]
        centres = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
        rows.append(np.repeat((centres + 0.5) / side, each, axis=1).reshape(-1, 2))
    return np.concatenate(rows).astype(np.float32)
