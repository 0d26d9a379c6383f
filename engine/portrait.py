"""Enroll a picture: find the face, crop it, and compute once what every frame needs."""

from __future__ import annotations

import json
import logging
import math
import tempfile
import threading
import zipfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import place
from mimicam.engine.face.motion import read_motion
from mimicam.engine.face.person_matte import person_matte
from mimicam.engine.face.tracker import Detection, FaceDetector, FaceTracker, Region
from mimicam.engine.models.base import Features, Model
from mimicam.engine.picture_file import MAX_PIXELS, decode_picture, read_picture
from mimicam.engine.stages.crop import cut, portrait_box, whole_box
from mimicam.engine.types import CropBox, Face, Float, HeadPose, Image, MotionCode

__all__ = [
    "MAX_PIXELS",
    "Portrait",
    "decode_picture",
    "enroll",
    "load_portrait",
    "read_picture",
    "save_portrait",
]

_LOG = logging.getLogger(__name__)

_MIN_FACE_PX = 48
"""Smallest side of a picture and of a face, pixels."""
_FORMAT = 3
"""Version of an enrolled folder's content."""
_FEATURE = "feature_"
"""Prefix of a portrait's features in its file."""
_FILES = {"picture.png", "portrait.npz", "portrait.json"}
_ENROLLING = threading.Lock()
"""Serialises enrolling, since all callers share one detector and one tracker."""
_SAME_SIZE = 0.6
"""A second face larger than this share of the first makes the choice ambiguous."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """A face enrolled with a model."""

    name: str
    picture: Image
    """The picture, uint8 ``[H, W, 3]``, at most 2048 pixels a side."""
    box: CropBox
    """Position of the crop in the picture."""
    crop: Image
    """uint8 ``[S, S, 3]``."""
    motion: MotionCode | None
    """Pose and expression of the portrait in its crop, as the tracker reads them. None for an
    aligned picture, if the model reads motion from the picture itself."""
    features: Features

    def person_matte(self) -> Float | None:
        """Return the person's opacity in the picture, ``[H, W]``. None: no matte is usable.

        Slow: call it once, when a canvas is made.
        """
        if self.motion is None:
            return None
        points = place(self.motion.shape, self.motion.pose)[:, :2]
        scale = np.float32(self.box.size_px / 2)
        matte = person_matte(self.picture, (points + 1) * scale + (self.box.x_px, self.box.y_px))
        if matte.opacity is None:
            _LOG.warning("the background of %s moves with the head: %s", self.name, matte.problem)
        return matte.opacity


def enroll(
    picture: Path | Image, *, model: Model, aligned: bool = False, name: str | None = None
) -> Portrait:
    """Find the largest face, crop it as in training, and run the encoder.

    Args:
        picture: a file, or RGB uint8 ``[H, W, 3]``.
        model: encodes the crop.
        aligned: the picture is a square face crop already, so it is only resized. A model that
            reads motion from the picture takes it even if the tracker finds no face.
        name: name in reports; the file's stem by default.

    Raises:
        EngineError: the picture cannot be read, or shows no face that is large enough.
    """
    image = read_picture(picture) if isinstance(picture, Path) else picture
    label = name or (picture.stem if isinstance(picture, Path) else "portrait")
    if aligned and not model.needs_face:
        box, motion = whole_box(image), None
    else:
        face = _find(image, str(picture) if isinstance(picture, Path) else "the picture")
        box = whole_box(image) if aligned else portrait_box(face)
        motion = read_motion(box.from_image(face.landmarks), face.blendshapes)
    crop = cut(image, box, model.size)
    return Portrait(name=label, picture=image, box=box, crop=crop, motion=motion, features=model.encode(crop))


def enrolled_files(folder: Path) -> list[Path]:
    """Return the files that `save_portrait` writes into a folder."""
    return [folder / name for name in sorted(_FILES)]


def save_portrait(portrait: Portrait, folder: Path) -> None:
    """Write a folder that `load_portrait` reads; complete or not at all.

    Raises:
        EngineError: the folder exists and holds something else, or cannot be written.
    """
    if folder.exists() and not (folder / "portrait.json").is_file():
        raise EngineError(f"{folder} exists and is not an enrolled portrait: choose another folder")
    if folder.exists() and not {entry.name for entry in folder.iterdir()} <= _FILES:
        raise EngineError(f"{folder} holds other files beside the portrait: choose another folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".enroll-") as aside:
            new = Path(aside) / "new"
            new.mkdir()
            _write(portrait, new)
            _replace(folder, new, Path(aside) / "old")
    except OSError as error:
        raise EngineError(
            f"{folder} cannot be written ({error.strerror}): free space or choose another"
        ) from error


def _replace(folder: Path, new: Path, old: Path) -> None:
    """Move the new folder to the place of the old one; files of both are never mixed."""
    was_there = folder.exists()
    if was_there:
        folder.replace(old)
    try:
        new.replace(folder)
    except OSError:
        if was_there:
            old.replace(folder)
        raise


def load_portrait(path: Path, *, model: Model) -> Portrait:
    """Load a picture, or a folder written by `save_portrait`.

    A folder enrolled with other weights is enrolled again from the picture it holds.

    Raises:
        EngineError: see `enroll`; or the folder is damaged.
    """
    if not path.is_dir():
        return enroll(path, model=model)
    if not (path / "portrait.json").is_file():
        raise EngineError(
            f"{path} is not an enrolled portrait: make one with 'mimicam enroll PICTURE -o {path}'"
        )
    try:
        facts = json.loads((path / "portrait.json").read_text())
        if facts["format"] != _FORMAT or facts["model"] != model.sha256:
            return enroll(read_picture(path / "picture.png"), model=model, name=facts["name"])
        with np.load(path / "portrait.npz", allow_pickle=False) as data:
            return _assemble(facts, dict(data), read_picture(path / "picture.png"))
    except (KeyError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise EngineError(f"{path} is damaged ({error}): enroll the picture again") from error


def _find(image: Image, label: str) -> Face:
    height, width = image.shape[:2]
    if min(height, width) < _MIN_FACE_PX:
        raise EngineError(
            f"{label} is {width}x{height} pixels: give one where the face is {_MIN_FACE_PX} or more"
        )
    with _ENROLLING:
        face = _read_face(image, label)
    if face is None:
        raise EngineError(
            f"{label} shows no face, or one in profile: give a picture of one with human proportions (painted or drawn "
            "too), from the front and well lit"
        )
    size = float(np.ptp(face.landmarks[:, :2], axis=0).max())
    if size < _MIN_FACE_PX:
        raise EngineError(
            f"the face in {label} is only {size:.0f} pixels tall: give one where it is {_MIN_FACE_PX} or more"
        )
    return face


def _read_face(image: Image, label: str) -> Face | None:
    region = _only_face(image, label)
    _, tracker = _networks()
    tracker.reset()
    if region is not None:
        tracker.start(region)
    # The detector's square is coarse (blendshapes off by up to 0.26 on the bundled portraits). Read
    # again from the landmarks' own square, as tracking does.
    return None if tracker(image) is None else tracker(image)


@cache
def _networks() -> tuple[FaceDetector, FaceTracker]:
    """Load the networks, once, since that takes half a second. Use them on one thread at a time."""
    return FaceDetector(), FaceTracker()


def _only_face(image: Image, label: str) -> Region | None:
    """Return the region of the largest face, or None.

    Raises:
        EngineError: two faces have about the same size, so the user has to choose.
    """
    found = _detect_everywhere(image)
    found.sort(key=lambda d: -d.region.size_px)
    if len(found) > 1 and found[1].region.size_px > _SAME_SIZE * found[0].region.size_px:
        raise EngineError(f"{label} shows {len(found)} faces: crop it to the one to animate")
    return found[0].region if found else None


def _detect_everywhere(image: Image) -> list[Detection]:
    """Return faces of the whole picture; without any, of overlapping tiles, for small ones."""
    detect, _ = _networks()
    found = detect(image)
    if found:
        return found
    height, width = image.shape[:2]
    for tiles in (2, 4):
        side = max(max(height, width) // tiles, _MIN_FACE_PX)
        for top in range(0, max(height - side // 2, 1), side // 2):
            for left in range(0, max(width - side // 2, 1), side // 2):
                tile = np.ascontiguousarray(image[top : top + side, left : left + side])
                found += [_moved(d, left, top) for d in detect(tile)]
    return _different(found)


def _different(found: list[Detection]) -> list[Detection]:
    """Keep the surest detection of each face, since overlapping tiles find a face several times."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda d: -d.score):
        if all(
            _distance(one.region, k.region) > 0.5 * max(one.region.size_px, k.region.size_px) for k in kept
        ):
            kept.append(one)
    return kept


def _distance(a: Region, b: Region) -> float:
    return math.hypot(a.x_px - b.x_px, a.y_px - b.y_px)


def _moved(detection: Detection, left: int, top: int) -> Detection:
    region = detection.region
    return replace(detection, region=replace(region, x_px=region.x_px + left, y_px=region.y_px + top))


def _write(portrait: Portrait, folder: Path) -> None:
    ok, png = cv2.imencode(".png", portrait.picture[:, :, ::-1])
    assert ok, "OpenCV encodes every RGB picture as PNG"
    (folder / "picture.png").write_bytes(png.tobytes())
    arrays = {f"{_FEATURE}{name}": array for name, array in portrait.features.arrays.items()}
    with (folder / "portrait.npz").open("wb") as file:
        np.savez(file, crop=portrait.crop, **arrays, **_motion_arrays(portrait.motion))  # type: ignore[arg-type]
    facts = {
        "format": _FORMAT,
        "name": portrait.name,
        "model": portrait.features.model,
        "scale": None if portrait.motion is None else portrait.motion.pose.scale,
        "box": [portrait.box.x_px, portrait.box.y_px, portrait.box.size_px],
    }
    (folder / "portrait.json").write_text(json.dumps(facts, indent=1))


def _motion_arrays(motion: MotionCode | None) -> dict[str, Float]:
    if motion is None:
        return {}
    return {
        "expression": motion.expression,
        "shape": motion.shape,
        "rotation": motion.pose.rotation,
        "translation": motion.pose.translation,
    }


def _read_motion(scale: object, data: dict[str, np.ndarray]) -> MotionCode | None:
    if scale is None:
        return None
    pose = HeadPose(
        rotation=data["rotation"],
        translation=data["translation"],
        scale=float(scale),  # type: ignore[arg-type]
    )
    return MotionCode(expression=data["expression"], pose=pose, shape=data["shape"])


def _assemble(facts: dict[str, object], data: dict[str, np.ndarray], picture: Image) -> Portrait:
    x, y, size = (float(v) for v in facts["box"])  # type: ignore[attr-defined]
    features = {name.removeprefix(_FEATURE): a for name, a in data.items() if name.startswith(_FEATURE)}
    return Portrait(
        name=str(facts["name"]),
        picture=picture,
        box=CropBox(x_px=x, y_px=y, size_px=size),
        crop=data["crop"],
        motion=_read_motion(facts["scale"], data),
        features=Features(arrays=features, model=str(facts["model"])),
    )
