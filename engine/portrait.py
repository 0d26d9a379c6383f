"""Enroll a picture: find the face, crop it, and compute once what every frame needs."""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mimicam.engine.checked_files import integer, one_line, read_arrays, read_json
from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import place
from mimicam.engine.face.motion import read_motion
from mimicam.engine.face.person_matte import person_matte
from mimicam.engine.files import hash_of_input
from mimicam.engine.models.base import Features, Model, SeveralFramesModel
from mimicam.engine.network_spec import Shapes, TensorSpec, named
from mimicam.engine.picture_file import MAX_PIXELS, decode_picture, read_picture
from mimicam.engine.portrait_clip import is_clip, spread_frames, unrest
from mimicam.engine.portrait_face import appearance_warning, find_face, portrait_response
from mimicam.engine.provenance import is_sha256
from mimicam.engine.stages.crop import cut, portrait_box, whole_box
from mimicam.engine.types import BLENDSHAPES, LANDMARKS, CropBox, Float, HeadPose, Image, MotionCode

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

_FORMAT = 4
"""Version of an enrolled folder's content. Responses up to 3 are stale: landmarks are corrected now."""
_FEATURE = "feature_"
"""Prefix of a portrait's features in its file."""
_RESPONSE, _RESPONSE_MAX = "response", 2.0
"""Name of the response in a portrait's file, and its largest factor there."""
_OTHERS = "others"
"""Crops of the other pictures in a portrait's file, uint8 ``[K, T, T, 3]``."""
_FILES = {"picture.png", "portrait.npz", "portrait.json"}
_MOTION: Shapes = {
    "expression": (BLENDSHAPES,),
    "shape": (LANDMARKS, 3),
    "rotation": (3, 3),
    "translation": (2,),
}
"""Shapes of the arrays of a `MotionCode`."""
_BOX_MAX = 8.0
"""Side and distance of a crop as a multiple of the picture's longer side. A face of 48 pixels that
fills its picture needs 3."""
_OTHERS_MAX, _CROP_MAX = 256, 2048
"""Limits of an enrolled folder: further crops, and their side in pixels."""


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
    response: Float | None = None
    """How strongly the portrait shows expressions, see `engine.models.base.CalibratedModel`. None:
    it was not measured."""
    others: tuple[Image, ...] = ()
    """Crops of the other pictures that the features come from, uint8 ``[T, T, 3]``."""
    notes: tuple[str, ...] = ()
    """Lines for a person: that the picture was turned, and what will look wrong."""
    source_sha256: str = ""
    """SHA-256 of the picture's or video's file; empty where it did not come from a file, or is not
    known."""

    def person_matte(self) -> Float | None:
        """Return the person's opacity in the picture, ``[H, W]``. None: no matte is usable.

        Slow: call it once, when a canvas is made.
        """
        if self.motion is None:
            return None
        # From crop units to the picture's pixels: the crop's sides are at -1 and 1.
        points = place(self.motion.shape, self.motion.pose)[:, :2]
        scale = np.float32(self.box.size_px / 2)
        matte = person_matte(self.picture, (points + 1) * scale + (self.box.x_px, self.box.y_px))
        if matte.opacity is None:
            _LOG.warning("the background of %s moves with the head: %s", self.name, matte.problem)
        return matte.opacity


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One picture of a person, and the face in it."""

    picture: Image
    box: CropBox
    motion: MotionCode | None
    notes: tuple[str, ...]


def enroll(
    picture: Path | Image,
    *,
    model: Model,
    aligned: bool = False,
    name: str | None = None,
    more: Sequence[Path | Image] = (),
) -> Portrait:
    """Find the largest face, crop it as in training, and run the encoder.

    A picture that lies on its side or stands on its head is turned upright, with a note.

    Args:
        picture: a file, or RGB uint8 ``[H, W, 3]``. Of a video, the calmest frame is the picture;
            a model that takes several pictures gets some of its other frames too.
        model: encodes the crop.
        aligned: the picture is a square face crop already, so it is only resized. A model that
            reads motion from the picture takes it even if the tracker finds no face.
        name: name in reports; the file's stem by default.
        more: further pictures of the same person, for a model that takes several.

    Raises:
        EngineError: a picture cannot be read, or shows no face that is large enough; or the model
            takes one picture.
    """
    if more and not isinstance(model, SeveralFramesModel):
        raise EngineError(f"{model.name} reads one picture of a portrait: give one, or --model of a DAE-GAN")
    label = name or _label_of(picture)
    if isinstance(picture, Path) and is_clip(picture):
        if aligned:
            raise EngineError(f"{picture} is a video, in which a face must be found: leave out --aligned")
        first, *others = _seen_in_clip(picture, label)
    else:
        first, others = _seen(picture, label, model=model, aligned=aligned), []
    crops = tuple[Image, ...]()
    if isinstance(model, SeveralFramesModel):
        others += [_seen(each, _label_of(each), model=model, aligned=aligned) for each in more]
        crops = tuple(cut(each.picture, each.box, model.frame_size) for each in others)
    enrolled = _encoded(first, crops, model=model, name=label)
    return replace(enrolled, source_sha256=hash_of_input(picture)) if isinstance(picture, Path) else enrolled


def _label_of(picture: Path | Image) -> str:
    return picture.stem if isinstance(picture, Path) else "portrait"


def _encoded(seen: _Seen, others: tuple[Image, ...], *, model: Model, name: str) -> Portrait:
    crop = cut(seen.picture, seen.box, model.size)
    if isinstance(model, SeveralFramesModel):
        features = model.encode_frames((cut(seen.picture, seen.box, model.frame_size), *others))
    else:
        features = model.encode(crop)
    return Portrait(
        name=name,
        picture=seen.picture,
        box=seen.box,
        crop=crop,
        motion=seen.motion,
        features=features,
        response=portrait_response(features, model, seen.picture, crop, seen.motion),
        others=others,
        notes=seen.notes,
    )


def _seen(picture: Path | Image, label: str, *, model: Model, aligned: bool) -> _Seen:
    image = read_picture(picture) if isinstance(picture, Path) else picture
    # The tracker may find nothing in a drawing that such a model can still move.
    if aligned and not model.needs_face:
        return _Seen(picture=image, box=whole_box(image), motion=None, notes=())
    image, face, notes = find_face(image, str(picture) if isinstance(picture, Path) else "the picture")
    box = whole_box(image) if aligned else portrait_box(face)
    motion = read_motion(box.from_image(face.landmarks), face.blendshapes)
    return _Seen(
        picture=image, box=box, motion=motion, notes=(*notes, *appearance_warning(label, image, box, motion))
    )


def _seen_in_clip(path: Path, label: str) -> list[_Seen]:
    """Return the faces of some frames, the calmest first; frames without one face are left out."""
    found: list[_Seen] = []
    for frame in spread_frames(path):
        try:
            image, face, _ = find_face(frame, str(path))
        except EngineError:
            continue  # the next frame may show it
        box = portrait_box(face)
        motion = read_motion(box.from_image(face.landmarks), face.blendshapes)
        notes = tuple(appearance_warning(label, image, box, motion))
        found.append(_Seen(picture=image, box=box, motion=motion, notes=notes))
    if not found:
        raise EngineError(f"{path} shows no face: give a video of one person, from the front and well lit")
    return sorted(found, key=lambda seen: 0.0 if seen.motion is None else unrest(seen.motion))


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
        # Beside the target, hence on the same file system: a folder is put in place by renaming.
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
        # A failure must not cost the portrait that was there.
        if was_there:
            old.replace(folder)
        raise


def load_portrait(path: Path, *, model: Model) -> Portrait:
    """Load a picture, a video (see `enroll`), or a folder written by `save_portrait`.

    A folder enrolled with other weights is enrolled again from its picture. A missing response is
    measured.

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
        facts = read_json(path / "portrait.json")
        name, picture = one_line(facts["name"]), read_picture(path / "picture.png")
        # Features of other weights may have the same shapes, and would draw a wrong face.
        if facts["format"] != _FORMAT or facts["model"] != model.sha256:
            return _enrolled_again(path, facts, picture, model)
        found = _assemble(name, facts, path / "portrait.npz", picture, model)
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        raise EngineError(f"{path} is damaged ({error}): enroll the picture again") from error
    if found.response is not None:
        return found
    measured = portrait_response(found.features, model, picture, found.crop, found.motion)
    return replace(found, response=measured)


def _enrolled_again(folder: Path, facts: dict[str, Any], picture: Image, model: Model) -> Portrait:
    """Encode the pictures of a folder with other weights."""
    name = one_line(facts["name"])
    seen, crops = _seen(picture, name, model=model, aligned=False), tuple[Image, ...]()
    if isinstance(model, SeveralFramesModel):
        others = read_arrays(folder / "portrait.npz", _others(facts)).get(_OTHERS, ())
        crops = tuple(cut(crop, whole_box(crop), model.frame_size) for crop in others)
    return replace(_encoded(seen, crops, model=model, name=name), source_sha256=_source_of(facts))


def _source_of(facts: dict[str, Any]) -> str:
    """Return the hash of a folder's source; folders before 2026-11-27 have none."""
    stated = one_line(facts.get("source_sha256", ""))
    return stated if is_sha256(stated) else ""


def _others(facts: dict[str, Any]) -> tuple[TensorSpec, ...]:
    """Specify the further crops that a folder claims to hold; folders before 2026-11-26 have
    none."""
    count = integer(facts.get("others", 0), 0, _OTHERS_MAX)
    if count == 0:
        return ()
    side = integer(facts["size"], 1, _CROP_MAX)
    return (TensorSpec(name=_OTHERS, shape=(count, side, side, 3), dtype="uint8"),)


def _write(portrait: Portrait, folder: Path) -> None:
    ok, png = cv2.imencode(".png", portrait.picture[:, :, ::-1])
    assert ok, "OpenCV encodes every RGB picture as PNG"
    # Lossless: a folder that is enrolled again has to give the same crop.
    (folder / "picture.png").write_bytes(png.tobytes())
    arrays = {f"{_FEATURE}{name}": array for name, array in portrait.features.arrays.items()}
    if portrait.response is not None:
        arrays[_RESPONSE] = portrait.response
    with (folder / "portrait.npz").open("wb") as file:
        if portrait.others:
            arrays[_OTHERS] = np.stack(portrait.others)
        np.savez(file, crop=portrait.crop, **arrays, **_motion_arrays(portrait.motion))  # type: ignore[arg-type]
    facts = {
        "format": _FORMAT,
        "name": portrait.name,
        "model": portrait.features.model,
        "scale": None if portrait.motion is None else portrait.motion.pose.scale,
        "others": len(portrait.others),
        "response": portrait.response is not None,
        "size": len(portrait.others[0] if portrait.others else portrait.crop),
        "source_sha256": portrait.source_sha256,
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


def _assemble(name: str, facts: dict[str, Any], arrays: Path, picture: Image, model: Model) -> Portrait:
    """Build a portrait from a folder's content, after each value was checked.

    Raises:
        KeyError, TypeError, ValueError, OverflowError, OSError: it is not what `save_portrait`
            wrote.
    """
    box, scale, shapes = _checked_box(facts["box"], picture), facts["scale"], model.feature_shapes()
    if scale is None and model.needs_face:
        raise ValueError("it was enrolled without a face")
    crop = TensorSpec(name="crop", shape=(model.size, model.size, 3), dtype="uint8")
    features = named({f"{_FEATURE}{feature}": shape for feature, shape in shapes.items()})
    kept = named(
        ({} if scale is None else _MOTION) | ({_RESPONSE: (BLENDSHAPES,)} if facts.get("response") else {})
    )
    data = read_arrays(arrays, (crop, *features, *kept, *_others(facts)))
    for key, array in data.items():
        if not np.isfinite(array).all():
            raise ValueError(f"'{key}' is not finite")
    if not all(0 <= factor <= _RESPONSE_MAX for factor in data.get(_RESPONSE, ())):
        raise ValueError("its response is outside of its range")
    motion = None if scale is None else _motion(float(scale), data)
    maps = {key: data[f"{_FEATURE}{key}"] for key in shapes}
    return Portrait(
        name=name,
        picture=picture,
        box=box,
        crop=data["crop"],
        motion=motion,
        features=Features(arrays=maps, model=model.sha256),
        response=data.get(_RESPONSE),
        others=tuple(data.get(_OTHERS, ())),
        source_sha256=_source_of(facts),
        notes=() if motion is None else tuple(appearance_warning(name, picture, box, motion)),
    )


def _checked_box(values: Any, picture: Image) -> CropBox:
    x, y, size = (float(value) for value in values)
    limit = _BOX_MAX * max(picture.shape[:2])
    if not (1.0 <= size <= limit and abs(x) <= limit and abs(y) <= limit):
        raise ValueError("its crop lies far outside of the picture")
    return CropBox(x_px=x, y_px=y, size_px=size)


def _motion(scale: float, data: dict[str, Float]) -> MotionCode:
    if not 0.0 < scale < math.inf:
        raise ValueError("its head has no size")
    pose = HeadPose(rotation=data["rotation"], translation=data["translation"], scale=scale)
    return MotionCode(expression=data["expression"], pose=pose, shape=data["shape"])
