"""Twelve bundled portraits in eight lively moments, in one picture.

A synthetic driver shows them: the mean face of the tracker's statistics, with blendshapes and head
pose set by hand. It goes the way of every driver, from the tracker's output on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimicam.engine.assets_manifest import bundled_portraits
from mimicam.engine.commands.live import load_all
from mimicam.engine.face.geometry import face_geometry, place
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.motion import shape_change
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.files import write_atomically
from mimicam.engine.models.base import Model
from mimicam.engine.pipeline import Observation, Pipeline
from mimicam.engine.portrait import Portrait
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.crop import HEAD_SCALE, HEAD_Y
from mimicam.engine.stages.neutral import resting_face
from mimicam.engine.types import EditSettings, Face, Float, Frame, HeadPose, Image

PORTRAITS_SHOWN = 12
DRAWN, SIDE, LABEL_PX = 320, 160, 24
"""Side of a cell when drawn and when shown, and height of the captions, pixels."""
QUALITY = 88
"""Quality of JPEG, 0 to 100: the picture stays under 1.5 MB."""
_CAMERA_PX = 256
_MOMENT_NS = 1_000_000_000
"""Time between rest and moment: the easing from the neutral is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Expression that the driver shows."""

    caption: str
    shapes: Mapping[str, float]
    """Blendshapes. A name without its side stands for both sides."""
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Yaw, pitch and roll of the head, degrees: to the picture's right, down, clockwise."""


REST = Moment(caption="portrait", shapes={})
MOMENTS = (
    Moment(
        caption="laugh",
        shapes={
            "jawOpen": 0.45, "mouthSmile": 0.9, "mouthUpperUp": 0.4, "mouthLowerDown": 0.4, "cheekSquint": 0.7,
            "eyeSquint": 0.6,
        },
        turn=(4, -8, 6),
    ),
    Moment(
        caption="mouth wide open",
        shapes={"jawOpen": 0.9, "eyeWide": 0.5, "browInnerUp": 0.6, "browOuterUp": 0.5},
    ),
    Moment(caption="pucker", shapes={"mouthPucker": 1.0, "mouthFunnel": 0.2}, turn=(-6, 0, 0)),
    Moment(
        caption="wink",
        shapes={"eyeBlinkLeft": 1.0, "eyeSquintLeft": 0.5, "mouthSmileLeft": 0.6, "cheekSquintLeft": 0.7},
        turn=(0, 0, -7),
    ),
    Moment(caption="cross-eyed", shapes={"eyeLookIn": 0.9}),
    Moment(
        caption="look aside",
        shapes={"eyeLookOutLeft": 0.9, "eyeLookInRight": 0.9},
        turn=(-8, 0, 0),
    ),
    Moment(
        caption="frown",
        shapes={"browDown": 1.0, "mouthFrown": 0.8, "mouthShrugLower": 0.4, "noseSneer": 0.3},
        turn=(0, 8, 0),
    ),
    Moment(caption="closed eyes", shapes={"eyeBlink": 1.0}, turn=(6, 4, 4)),
)  # fmt: skip


def blendshapes(moment: Moment) -> Float:
    """Return all blendshapes of a moment, ``[52]``; those not named rest."""
    values = resting_face().expression.copy()
    for index, name in enumerate(BLENDSHAPE_NAMES):
        for stem, amount in moment.shapes.items():
            if name in (stem, f"{stem}Left", f"{stem}Right"):
                values[index] = amount
    return values


def driver_face(moment: Moment) -> Face:
    """Return the driver as the tracker would see them."""
    shapes, rest = blendshapes(moment), resting_face()
    shape = face_geometry().mean + rest.displacement + shape_change(shapes - rest.expression)
    half = _CAMERA_PX / 2
    pose = HeadPose(
        rotation=_rotation(*moment.turn),
        translation=np.array([half, half * (1 + HEAD_Y)], np.float32),
        scale=HEAD_SCALE * half,
    )
    landmarks = place(shape.astype(np.float32), pose)
    return Face(landmarks=landmarks, blendshapes=shapes, presence=1.0)


def draw_moments(pipeline: Pipeline, moments: Sequence[Moment]) -> list[Image]:
    """Draw a portrait in each moment, ``[H, W, 3]``, from a driver who was calibrated at rest."""
    pictures = []
    for index, moment in enumerate((REST, *moments)):
        camera = np.zeros((_CAMERA_PX, _CAMERA_PX, 3), np.uint8)
        frame = Frame(image=camera, seq=index, captured_ns=index * _MOMENT_NS)
        if moment is REST:
            pipeline.calibrate()
        crop = pipeline.crop(frame, driver_face(moment))
        seen = Observation(frame=frame, crop=crop, person=pipeline.track.person)
        pictures.append(pipeline.draw(seen).image.copy())
    return pictures[1:]


def moments_picture() -> Image:
    """Draw the bundled portraits, a row each: the picture, then the moments."""
    model, portraits = load_all("compact", "auto", bundled_portraits()[:PORTRAITS_SHOWN])
    track = FaceTracker()
    return np.vstack([_captions(), *(_row(model, portrait, track) for portrait in portraits)])


def write_moments(path: Path, picture: Image) -> None:
    """Write a picture as JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert ok, "OpenCV writes every RGB picture as JPEG"
    with write_atomically(path) as part:
        part.write_bytes(data.tobytes())


def _row(model: Model, portrait: Portrait, track: FaceTracker) -> Image:
    pipeline = Pipeline(
        model=model, portrait=portrait, edit=EditSettings(), size=(DRAWN, DRAWN), smooth=False, track=track
    )
    around = Composite(portrait.picture, portrait.box, (DRAWN, DRAWN), matte=portrait.person_matte)
    cells = [around.texture(model.size).canvas, *draw_moments(pipeline, MOMENTS)]
    return np.hstack([cv2.resize(cell, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for cell in cells])


def _captions() -> Image:
    strip = np.full((LABEL_PX, SIDE * (len(MOMENTS) + 1), 3), 24, np.uint8)
    for column, moment in enumerate((REST, *MOMENTS)):
        where = (column * SIDE + 8, LABEL_PX - 7)
        cv2.putText(
            strip, moment.caption, where, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235, 235, 235), 1, cv2.LINE_AA
        )
    return strip


def _rotation(yaw: float, pitch: float, roll: float) -> Float:
    y, p, r = np.deg2rad([yaw, pitch, roll])
    # The nose is at negative z.
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).astype(np.float32)
