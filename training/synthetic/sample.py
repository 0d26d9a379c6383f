"""Draw plausible expressions, gaze and poses from a numpy generator.

Expressions are sums of layers that move together on real faces: a viseme while talking; a mood of
mouth, cheeks and brows; brows; lids, which close fully in blinks; and gaze, which the lids follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicam.training.synthetic.model import FaceModel, Float
from mimicam.training.synthetic.scene import Pose, head_rotation

Weights = dict[str, float]

VISEMES: dict[str, Weights] = {
    "aa": {"jawOpen": 0.62, "mouthLowerDown": 0.25, "mouthUpperUp": 0.15},
    "eh": {"jawOpen": 0.34, "mouthStretch": 0.35, "mouthLowerDown": 0.3, "mouthUpperUp": 0.15},
    "ee": {
        "jawOpen": 0.14,
        "mouthStretch": 0.4,
        "mouthSmile": 0.25,
        "mouthLowerDown": 0.35,
        "mouthUpperUp": 0.2,
    },
    "oh": {"jawOpen": 0.42, "mouthFunnel": 0.65, "mouthPucker": 0.2},
    "oo": {"jawOpen": 0.2, "mouthPucker": 0.75, "mouthFunnel": 0.3, "mouthClose": 0.05},
    "mbp": {
        "jawOpen": 0.08,
        "mouthClose": 0.08,
        "mouthPress": 0.5,
        "mouthRollLower": 0.25,
        "mouthRollUpper": 0.2,
    },
    "chew": {"jawOpen": 0.38, "mouthClose": 0.34, "mouthPress": 0.15},
    "fv": {"jawOpen": 0.12, "mouthRollLower": 0.55, "mouthUpperUp": 0.35, "mouthShrugLower": 0.1},
    "th": {"jawOpen": 0.22, "mouthLowerDown": 0.3, "mouthUpperUp": 0.2, "mouthFunnel": 0.1},
    "ch": {
        "jawOpen": 0.16,
        "mouthFunnel": 0.65,
        "mouthShrugUpper": 0.2,
        "mouthLowerDown": 0.2,
        "mouthUpperUp": 0.2,
    },
    "ss": {"jawOpen": 0.06, "mouthStretch": 0.25, "mouthLowerDown": 0.4, "mouthUpperUp": 0.25},
}
"""Mouth shapes of speech at full stress."""

MOODS: dict[str, Weights] = {
    "smile": {"mouthSmile": 0.75, "cheekSquint": 0.4, "cheekRaiser": 0.3, "mouthDimple": 0.25, "eyeSquint": 0.25},
    "grin": {"mouthSmile": 0.85, "mouthUpperUp": 0.4, "mouthLowerDown": 0.35, "cheekSquint": 0.6, "eyeSquint": 0.35,
             "cheekRaiser": 0.4},
    "laugh": {"mouthSmile": 0.9, "jawOpen": 0.4, "mouthUpperUp": 0.4, "mouthLowerDown": 0.25, "cheekSquint": 0.7,
              "cheekRaiser": 0.6, "eyeSquint": 0.6},
    "sad": {"mouthFrown": 0.7, "browInnerUp": 0.75, "mouthShrugLower": 0.4, "eyeSquint": 0.15, "mouthPress": 0.15},
    "angry": {"browDown": 0.85, "eyeSquint": 0.35, "noseSneer": 0.35, "mouthPress": 0.45, "mouthFrown": 0.25},
    "shout": {"browDown": 0.7, "jawOpen": 0.6, "mouthLowerDown": 0.5, "mouthUpperUp": 0.4, "noseSneer": 0.4},
    "surprise": {"browInnerUp": 0.7, "browOuterUp": 0.8, "eyeWide": 0.8, "jawOpen": 0.45, "mouthFunnel": 0.15},
    "fear": {"browInnerUp": 0.85, "browOuterUp": 0.3, "eyeWide": 0.7, "mouthStretch": 0.6, "jawOpen": 0.2},
    "disgust": {"noseSneer": 0.85, "mouthUpperUp": 0.45, "browDown": 0.5, "mouthFrown": 0.3, "cheekSquint": 0.4},
    "kiss": {"mouthPucker": 0.95, "mouthPress": 0.15, "eyeSquint": 0.15},
    "puff": {"cheekPuff": 0.8, "mouthPress": 0.3, "mouthPucker": 0.25},
    "doubt": {"mouthShrugLower": 0.7, "mouthShrugUpper": 0.4, "mouthFrown": 0.4, "browOuterUp": 0.4},
    "lips_in": {"mouthRollLower": 0.6, "mouthRollUpper": 0.6, "mouthPress": 0.3},
    "gape": {"jawOpen": 0.95, "mouthLowerDown": 0.15, "browInnerUp": 0.25},
}  # fmt: skip
"""Whole-face expressions at full strength (FACS prototypes written in ARKit shapes)."""

SIDEWAYS = ("jaw", "mouth")
GAZE_LIMIT_RAD = (0.55, 0.42)
"""Yaw and pitch, rad, at which the eyeLook shapes reach 1."""


@dataclass(frozen=True, kw_only=True)
class Expression:
    """Weights of the shapes, and gaze."""

    weights: Float
    """``[57]``, 0..1."""
    gaze_rad: Float
    """``[2]`` yaw to the subject's left, pitch up, in the head's frame."""


class ExpressionSampler:
    """Draws expressions over the model's shapes."""

    def __init__(self, model: FaceModel) -> None:
        self._model = model
        self._names = model.expression_names
        self._visemes = {k: model.weights(**v) for k, v in VISEMES.items()}
        self._moods = {k: model.weights(**v) for k, v in MOODS.items()}
        self._twins = [
            (i, model.expression_index[n[:-1] + "R"]) for i, n in enumerate(self._names) if n.endswith("_L")
        ]

    def draw(self, rng: np.random.Generator) -> Expression:
        """Draw any expression: about a fifth are near neutral, a sixth have closed eyes."""
        weights = np.zeros(len(self._names), np.float32)
        if rng.random() < 0.62:
            weights += self._mouth(rng)
        if rng.random() < 0.6:
            weights = np.maximum(weights, 0.0) + self._mood(rng)
        weights += self._brows(rng)
        self._sideways(weights, rng)
        self._asymmetry(weights, rng)
        return self.with_eyes(weights, rng)

    def change(self, from_: Expression, rng: np.random.Generator) -> Expression:
        """Draw another expression of the same person: mostly unrelated, sometimes only the mouth or
        the eyes differ."""
        kind = rng.random()
        if kind < 0.7:
            return self.draw(rng)
        if kind < 0.85:
            return self.with_eyes(self._without_lids(from_.weights), rng)
        other = self.draw(rng).weights
        mouth = np.array([n.startswith(("jaw", "mouth", "cheekPuff")) for n in self._names])
        return Expression(weights=np.where(mouth, other, from_.weights), gaze_rad=from_.gaze_rad)

    def with_eyes(self, weights: Float, rng: np.random.Generator) -> Expression:
        """Add lids, gaze and pupils."""
        out = weights.copy()
        gaze = self._gaze(rng)
        self._look(out, gaze)
        self._blink(out, rng)
        out[[self._index("PupilDilate_L"), self._index("PupilDilate_R")]] = rng.beta(1.2, 3)
        # mouthClose lifts the lips over an open jaw: without that opening it would cross them.
        out[self._index("mouthClose")] = min(out[self._index("mouthClose")], out[self._index("jawOpen")])
        return Expression(weights=np.clip(out, 0, 1).astype(np.float32), gaze_rad=gaze)

    def _index(self, name: str) -> int:
        return self._model.expression_index[name]

    def _mouth(self, rng: np.random.Generator) -> Float:
        """Blend two visemes, as between two sounds, with a random stress."""
        first, second = (self._visemes[k] for k in rng.choice(list(self._visemes), 2))
        blend, stress = rng.random(), rng.uniform(0.35, 1.25)
        return stress * (blend * first + (1 - blend) * second)

    def _mood(self, rng: np.random.Generator) -> Float:
        names = list(self._moods)
        # Smiles, grins and laughs are drawn more often than the other moods.
        odds = np.array([3.0, 2.0, 2.0] + [1.0] * (len(names) - 3))
        first, second = (self._moods[k] for k in rng.choice(names, 2, p=odds / odds.sum()))
        strength = rng.beta(1.6, 1.4)
        return strength * first + (0.3 * rng.random() * second if rng.random() < 0.3 else 0.0)

    def _brows(self, rng: np.random.Generator) -> Float:
        kind, strength = rng.random(), rng.beta(1.2, 2)
        if kind < 0.45:
            return np.zeros(len(self._names), np.float32)
        layer = (
            {"browInnerUp": 1.0, "browOuterUp": 0.9} if kind < 0.75 else {"browDown": 1.0, "eyeSquint": 0.2}
        )
        return strength * self._model.weights(**layer)

    def _sideways(self, weights: Float, rng: np.random.Generator) -> None:
        for part in SIDEWAYS:
            if rng.random() < 0.15:
                weights[self._index(part + ("Left" if rng.random() < 0.5 else "Right"))] += rng.beta(1.2, 2.5)
        if rng.random() < 0.08:
            weights[self._index("jawForward")] += 0.6 * rng.random()

    def _asymmetry(self, weights: Float, rng: np.random.Generator) -> None:
        """Make one side move more; on some faces a smirk or one raised brow."""
        # Faces are never symmetric: a bias for the whole face, and one per shape.
        overall = rng.normal(0, 0.06)
        smirk = rng.choice([-1, 1]) * rng.uniform(0.3, 0.9) if rng.random() < 0.12 else 0.0
        for left, right in self._twins:
            tilt = overall + rng.normal(0, 0.05)
            if self._names[left].startswith(("mouthSmile", "mouthDimple", "browOuterUp", "cheek")):
                tilt += smirk
            weights[left] *= np.clip(1 + tilt, 0.05, 1.9)
            weights[right] *= np.clip(1 - tilt, 0.05, 1.9)

    def _gaze(self, rng: np.random.Generator) -> Float:
        # Mostly near the camera, else anywhere.
        spread = 0.07 if rng.random() < 0.55 else 0.26
        gaze = rng.normal(0, [spread, spread * 0.65])
        return np.clip(gaze, [-0.5, -0.4], [0.5, 0.3]).astype(np.float32)

    def _look(self, weights: Float, gaze: Float) -> None:
        """Make lids and the skin around the eyes follow the eyeballs."""
        yaw, pitch = gaze / np.array(GAZE_LIMIT_RAD)
        to_left, to_right, up, down = max(yaw, 0), max(-yaw, 0), max(pitch, 0), max(-pitch, 0)
        values = {
            "eyeLookOut_L": to_left,
            "eyeLookIn_R": to_left,
            "eyeLookIn_L": to_right,
            "eyeLookOut_R": to_right,
        }
        values |= {"eyeLookUp_L": up, "eyeLookUp_R": up, "eyeLookDown_L": down, "eyeLookDown_R": down}
        for name, value in values.items():
            weights[self._index(name)] = value

    def _blink(self, weights: Float, rng: np.random.Generator) -> None:
        """Close the eyes in one of six draws, half-way in one of seven, and wink rarely.

        A closed lid has no other shape.
        """
        kind = rng.random()
        level = 1.0 if kind < 0.16 else rng.uniform(0.25, 0.95) if kind < 0.30 else rng.uniform(0, 0.12)
        sides = {"L": level, "R": np.clip(level + rng.normal(0, 0.02), 0, 1) if level < 1 else 1.0}
        if kind > 0.97:
            sides["L" if rng.random() < 0.5 else "R"] = 1.0
        for side, value in sides.items():
            weights[self._index(f"eyeBlink_{side}")] = value
            for other in ("eyeWide", "eyeSquint", "eyeLookDown", "eyeLookUp"):
                weights[self._index(f"{other}_{side}")] *= 1 - value

    def _without_lids(self, weights: Float) -> Float:
        lids = np.array([n.startswith(("eyeBlink", "eyeLook", "Pupil")) for n in self._names])
        return np.where(lids, 0, weights).astype(np.float32)


def draw_pose(rng: np.random.Generator, spread: float = 1.0) -> Pose:
    """Draw a head pose; standard deviations are about 14, 8 and 6 degrees (yaw, pitch, roll)."""
    angles = np.deg2rad(np.clip(rng.normal(0, [15, 8, 6]) * spread, [-42, -22, -20], [42, 24, 20]))
    move = np.clip(rng.normal(0, [1.3, 0.9, 2.0]) * spread, -5, 5)
    # Shoulders follow a quarter of a turn of the head.
    lean = np.deg2rad(np.clip(rng.normal(0, [5, 2, 2]), -10, 10)) + angles * [0.25, 0.0, 0.15]
    return Pose(
        rotation=head_rotation(*angles), translation=move.astype(np.float32), torso=head_rotation(*lean)
    )
