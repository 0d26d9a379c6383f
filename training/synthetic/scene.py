"""Description of a rendered picture: the person, the head pose and the lens."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mimicam.training.synthetic.model import Float
from mimicam.training.synthetic.paint import BrowShape
from mimicam.training.synthetic.surfaces import BodyShape, HairShape

Colour = tuple[float, float, float]
"""Linear RGB, 0..1."""

PIVOT = np.array([0.0, -6.0, -2.0], np.float32)
"""Point about which the head turns on the neck; head space, cm."""
FACE_CENTRE = np.array([0.0, 1.2, 6.0], np.float32)
"""Middle between chin and upper forehead on the template; head space, cm."""
FACE_HEIGHT_CM = 17.0
"""Distance from chin to upper forehead on the template, which a face tracker's landmarks cover."""
CROP_FROM_HEAD = np.diag([1.0, -1.0, -1.0]).astype(np.float32)
"""Change of axes: y and z have the other sign in the engine's (x right, y down, z away)."""


@dataclass(frozen=True, kw_only=True)
class Skin:
    """Colours, make-up, beard and blemishes of the skin."""

    colour: Colour = (0.68, 0.44, 0.33)
    lips: Colour = (0.45, 0.16, 0.14)
    blush: Colour = (0.68, 0.30, 0.24)
    lip_strength: float = 0.75
    stubble: float = 0.0
    freckles: float = 0.0
    blotches: float = 0.18
    pores: float = 0.12
    oil: float = 0.5
    eye_shade: float = 0.6
    brow: Colour = (0.05, 0.03, 0.02)
    brow_strength: float = 0.85
    brow_shape: BrowShape = field(default_factory=BrowShape)


@dataclass(frozen=True, kw_only=True)
class Eyes:
    """Iris, white and lashes.

    ``iris_size`` is the sine of the iris' half angle, ``pupil`` a share of the iris.
    """

    iris: Colour = (0.10, 0.05, 0.02)
    sclera: Colour = (0.72, 0.69, 0.66)
    iris_size: float = 0.40
    pupil: float = 0.36
    lashes: float = 0.7


@dataclass(frozen=True, kw_only=True)
class Hair:
    """Hair.

    ``shape`` None is a shaved or bald head; ``scalp`` is the amount of colour on the scalp.
    """

    colour: Colour = (0.05, 0.03, 0.018)
    shape: HairShape | None = field(default_factory=HairShape)
    scalp: float = 1.0
    gloss: float = 0.6
    strand_count: float = 9.0
    edge_softness: float = 0.25


@dataclass(frozen=True, kw_only=True)
class Clothes:
    """Clothes on the visible shoulders."""

    colour: Colour = (0.05, 0.07, 0.14)
    second: Colour = (0.6, 0.6, 0.6)
    stripes: float = 0.0
    shape: BodyShape = field(default_factory=BodyShape)


@dataclass(frozen=True, kw_only=True)
class Light:
    """A key and a fill light from far away, and ambient light of sky and ground.

    Directions point to the light.
    """

    key_direction: Colour = (0.4, 0.5, 0.76)
    key: Colour = (0.75, 0.72, 0.68)
    fill_direction: Colour = (-0.8, 0.1, 0.6)
    fill: Colour = (0.18, 0.2, 0.24)
    sky: Colour = (0.34, 0.35, 0.38)
    ground: Colour = (0.16, 0.14, 0.13)


@dataclass(frozen=True, kw_only=True)
class Lens:
    """A pinhole looking along -z at the point where the face's centre rests."""

    distance_cm: float = 90.0
    face_to_box: float = 0.55
    """Height of the template's face as a share of the picture's side; training clips have 0.45 to
    0.65."""

    def clip_from_camera(self) -> Float:
        """Compute the perspective ``[4, 4]`` whose square shows FACE_HEIGHT_CM / face_to_box at the
        face's distance."""
        # In half sides of the picture: at this distance the face's height fills its share.
        focal = 2 * self.distance_cm * self.face_to_box / FACE_HEIGHT_CM
        near, far = max(self.distance_cm - 35.0, 5.0), self.distance_cm + 60.0
        out = np.zeros((4, 4), np.float32)
        out[0, 0] = out[1, 1] = focal
        out[2, 2], out[2, 3] = (near + far) / (near - far), 2 * near * far / (near - far)
        out[3, 2] = -1.0
        return out


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Rotation and translation of the head from rest, in the model's axes."""

    rotation: Float
    """``[3, 3]``, about PIVOT."""
    translation: Float
    """``[3]`` cm, of head and shoulders alike."""
    torso: Float
    """``[3, 3]``, the shoulders' own turn about PIVOT."""

    def camera_from_head(self, lens: Lens) -> Float:
        """Return the matrix ``[4, 4]`` of the head."""
        return _place(self.rotation, self.translation, lens)

    def camera_from_torso(self, lens: Lens) -> Float:
        """Return the matrix ``[4, 4]`` of the shoulders."""
        return _place(self.torso, self.translation, lens)

    def crop_rotation(self) -> Float:
        """Return ``[3, 3]`` in the axes of ``engine.types.HeadPose`` (x right, y down, z away)."""
        return CROP_FROM_HEAD @ self.rotation @ CROP_FROM_HEAD


def _place(rotation: Float, translation: Float, lens: Lens) -> Float:
    out = np.eye(4, dtype=np.float32)
    out[:3, :3] = rotation
    # The head turns about the neck's pivot, not about the origin of the model.
    out[:3, 3] = PIVOT - rotation @ PIVOT - FACE_CENTRE + translation
    out[2, 3] -= lens.distance_cm
    return out


def head_rotation(yaw_rad: float, pitch_rad: float, roll_rad: float) -> Float:
    """Rotation in the model's axes.

    Signs as in ``HeadPose.angles_rad``: nose to larger x, nose down, clockwise.
    """
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw_rad, pitch_rad, roll_rad) for f in (np.cos, np.sin))
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    # Roll last: it turns the picture, whatever the head does.
    return np.asarray((roll @ yaw @ pitch).astype(np.float32))


def still(yaw_rad: float = 0.0, pitch_rad: float = 0.0, roll_rad: float = 0.0) -> Pose:
    """Make the pose of a head turned in place above shoulders that face the camera."""
    turn = head_rotation(yaw_rad, pitch_rad, roll_rad)
    return Pose(rotation=turn, translation=np.zeros(3, np.float32), torso=np.eye(3, dtype=np.float32))


def project(points: Float, pose: Pose, lens: Lens, size_px: int) -> Float:
    """Project head points ``[n, 3]`` to pixels ``[n, 2]``; (0, 0) is the centre of the first
    pixel."""
    matrix = lens.clip_from_camera() @ pose.camera_from_head(lens)
    clip = points @ matrix[:, :3].T + matrix[:, 3]
    ndc = clip[:, :2] / clip[:, 3:]
    return ((ndc * np.array([1, -1], np.float32) + 1) * (size_px / 2) - 0.5).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Person:
    """Everything in a picture that neither expression nor pose changes."""

    identity: Float
    """``[60]`` coefficients."""
    skin: Skin = field(default_factory=Skin)
    eyes: Eyes = field(default_factory=Eyes)
    hair: Hair = field(default_factory=Hair)
    clothes: Clothes = field(default_factory=Clothes)
    teeth: Colour = (0.66, 0.61, 0.52)
    gums: Colour = (0.36, 0.12, 0.11)
    light: Light = field(default_factory=Light)
    lens: Lens = field(default_factory=Lens)
    backdrop: npt.NDArray[np.uint8] | None = None
    """``[h, w, 3]`` RGB, stretched over the picture; None: middle grey."""
    paint_seed: int = 0
    """Seed of the places of the brow hairs."""
