"""Draw what a person looks like: identity, skin, eyes, hair, clothes, light, lens and backdrop."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mimicam.training.synthetic.paint import BrowShape
from mimicam.training.synthetic.scene import Clothes, Colour, Eyes, Hair, Lens, Light, Person, Skin
from mimicam.training.synthetic.surfaces import BodyShape, HairShape

Image = npt.NDArray[np.uint8]

SKIN_SRGB = np.array(
    [[244, 214, 198], [238, 203, 178], [229, 190, 160], [219, 172, 140], [200, 150, 115], [176, 125, 92],
     [148, 100, 72], [118, 78, 56], [96, 64, 47], [76, 51, 40]], float
)  # fmt: skip
"""Skin colours from very light to very dark. Tones are drawn evenly along the row, so that none is
rare."""
HAIR_SRGB = np.array(
    [[22, 18, 17], [38, 28, 22], [62, 44, 32], [92, 64, 42], [128, 92, 58], [180, 136, 88], [216, 182, 136],
     [122, 58, 32], [150, 146, 142], [208, 206, 202]], float
)  # fmt: skip
IRIS_SRGB = np.array(
    [[70, 42, 24], [92, 60, 34], [54, 34, 22], [110, 84, 48], [98, 112, 82], [92, 124, 148], [120, 138, 146]],
    float,
)


def linear(srgb: npt.ArrayLike) -> Colour:
    """Convert an sRGB colour 0..255 to the renderer's linear one (gamma 2, see
    shaders/common.glsl)."""
    r, g, b = np.clip(np.asarray(srgb, float) / 255.0, 0, 1) ** 2
    return float(r), float(g), float(b)


def draw_person(rng: np.random.Generator, modes: int = 60) -> Person:
    """Draw one person with light, lens and backdrop."""
    tone = rng.uniform(0, len(SKIN_SRGB) - 1)
    hair = _hair(rng, tone)
    return Person(
        identity=np.clip(rng.normal(0, 0.9, modes), -2.2, 2.2).astype(np.float32),
        skin=_skin(rng, tone, hair.colour), eyes=_eyes(rng, tone), hair=hair, clothes=_clothes(rng),
        teeth=linear(np.array([232, 222, 202]) + rng.normal(0, [6, 8, 12])),
        gums=linear(np.array([168, 96, 92]) + rng.normal(0, 8, 3)),
        light=_light(rng), lens=_lens(rng), backdrop=backdrop(rng), paint_seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _skin(rng: np.random.Generator, tone: float, hair: Colour) -> Skin:
    base = _between(SKIN_SRGB, tone) * rng.normal(1, 0.03) * rng.normal(1, [0.012, 0.012, 0.025])
    lip = base * np.array([0.80, 0.60, 0.62]) + rng.normal(0, [8, 6, 6])
    if rng.random() < 0.18:  # painted
        lip = np.array([rng.uniform(120, 195), rng.uniform(25, 80), rng.uniform(40, 95)])
    beard = rng.random()
    return Skin(
        colour=linear(base), lips=linear(lip), blush=linear(base * [1.0, 0.78, 0.76]),
        lip_strength=rng.uniform(0.5, 0.95),
        stubble=0.0 if beard < 0.6 else rng.uniform(0.15, 0.45) if beard < 0.82 else rng.uniform(0.8, 1.6),
        freckles=rng.uniform(0.3, 1.0) if tone < 4 and rng.random() < 0.2 else 0.0,
        blotches=rng.uniform(0.04, 0.18), pores=rng.uniform(0.04, 0.25), oil=rng.uniform(0.15, 1.0),
        eye_shade=rng.uniform(0.3, 1.0), brow=linear(np.sqrt(hair) * 255 * 0.75),
        brow_strength=rng.uniform(0.55, 0.98), brow_shape=_brows(rng),
    )  # fmt: skip


def _brows(rng: np.random.Generator) -> BrowShape:
    return BrowShape(
        thickness=rng.uniform(0.55, 1.5), density=rng.uniform(0.5, 1.5), arch=rng.normal(0, 0.08),
        length=rng.uniform(0.85, 1.05),
        drop=rng.normal(27, 4),
    )  # fmt: skip


def _eyes(rng: np.random.Generator, tone: float) -> Eyes:
    light_eyed = tone < 4.5 and rng.random() < 0.55
    iris = IRIS_SRGB[rng.integers(3, 7) if light_eyed else rng.integers(0, 4)] * rng.normal(1, 0.12, 3)
    white = np.array([226, 221, 215]) + rng.normal(0, [5, 5, 7])
    return Eyes(
        iris=linear(iris), sclera=linear(white), iris_size=rng.uniform(0.37, 0.43), pupil=rng.uniform(0.26, 0.5),
        lashes=rng.uniform(0.3, 1.0),
    )  # fmt: skip


def _hair(rng: np.random.Generator, tone: float) -> Hair:
    # Dark skin has dark hair here; light skin any colour. Tones above 4.5 are the darker half.
    natural = rng.integers(0, 4) if tone > 4.5 else rng.integers(0, len(HAIR_SRGB))
    colour = linear(HAIR_SRGB[natural] * rng.normal(1, 0.1) * rng.normal(1, 0.03, 3))
    kind = rng.choice(["none", "buzz", "short", "full", "long"], p=[0.06, 0.12, 0.3, 0.22, 0.3])
    if kind in ("none", "buzz"):
        return Hair(colour=colour, shape=None, scalp=0.0 if kind == "none" else rng.uniform(0.45, 0.9))
    shape = HairShape(
        thickness=rng.uniform(0.3, 0.9) if kind == "short" else rng.uniform(0.9, 2.3),
        hairline=rng.normal(0.02, 0.1), length=rng.uniform(3, 17) if kind == "long" else 0.0,
        edge=rng.uniform(0.05, 0.6), parting=rng.uniform(-1, 1),
        wave=rng.uniform(0, 0.7) if rng.random() < 0.5 else 0.0, open_front=rng.uniform(0.65, 1.05),
    )  # fmt: skip
    return Hair(
        colour=colour, shape=shape, gloss=rng.uniform(0.1, 1.0), strand_count=float(rng.integers(4, 14)),
        edge_softness=rng.uniform(0.08, 0.4),
    )  # fmt: skip


def _clothes(rng: np.random.Generator) -> Clothes:
    shape = BodyShape(
        width=rng.uniform(18, 24), slope=rng.uniform(3.5, 6), collar=rng.uniform(-0.5, 0.9),
        neckline=rng.uniform(0, 1.6),
    )  # fmt: skip
    first, second = (linear(_any_colour(rng)) for _ in range(2))
    return Clothes(colour=first, second=second, stripes=float(rng.random() < 0.15), shape=shape)


def _any_colour(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    pixel = (rng.integers(0, 180), int(200 * rng.random() ** 1.5), rng.integers(15, 240))
    hsv = np.array(pixel, np.uint8).reshape(1, 1, 3)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(float))


def _light(rng: np.random.Generator) -> Light:
    """Draw a light, from flat studio light to one hard lamp, cold or warm."""
    side, height = rng.normal(0, 0.65), rng.normal(0.42, 0.3)
    level = rng.uniform(0.7, 1.1)
    key = level * rng.uniform(0.35, 0.95)
    warm = rng.normal(0, 0.045)
    tint = np.array([1 + warm, 1.0, 1 - 1.1 * warm])
    cast = 1 + rng.normal(0, 0.03, 3)
    around = (level - key) * 0.75 + 0.12
    return Light(
        key_direction=(side, float(np.clip(height, -0.25, 1.2)), 1.0), key=_tuple(key * tint * cast),
        # From the other side than the key light, as a second lamp or a wall would.
        fill_direction=(-np.sign(side) * rng.uniform(0.5, 2.0), rng.normal(0, 0.4), rng.uniform(0.1, 1.0)),
        fill=_tuple(rng.uniform(0, 0.4) * np.array([1 - warm, 1, 1 + warm]) * cast * (1 + rng.normal(0, 0.08, 3))),
        sky=_tuple(around * cast * (1 + rng.normal(0, 0.03, 3))),
        ground=_tuple(around * rng.uniform(0.35, 0.9) * cast * (1 + rng.normal(0, 0.03, 3))),
    )  # fmt: skip


def _tuple(values: npt.ArrayLike) -> Colour:
    r, g, b = np.clip(np.asarray(values, float), 0.0, 3.0)
    return float(r), float(g), float(b)


def _lens(rng: np.random.Generator) -> Lens:
    return Lens(
        # Evenly in the logarithm: perspective changes by ratios of distance.
        distance_cm=float(np.exp(rng.uniform(np.log(48), np.log(220)))),
        face_to_box=rng.uniform(0.48, 0.63),
    )


def _between(table: npt.NDArray[np.float64], place: float) -> npt.NDArray[np.float64]:
    low = min(int(place), len(table) - 2)
    return np.asarray(table[low] + (place - low) * (table[low + 1] - table[low]))


def backdrop(rng: np.random.Generator, size: int = 256) -> Image:
    """Draw a wall, a gradient, or blurred shapes, with noise: ``[size, size, 3]``."""
    kind = rng.random()
    first, second = _any_colour(rng), _any_colour(rng)
    angle, ramp = rng.uniform(0, 2 * np.pi), np.linspace(-1, 1, 64)
    t = np.clip(0.5 + 0.5 * (np.cos(angle) * ramp[None] + np.sin(angle) * ramp[:, None]), 0, 1)[..., None]
    if kind < 0.3:
        second = first * rng.uniform(0.75, 1.0)
    picture = np.ascontiguousarray((first + (second - first) * t).astype(np.float32))
    if kind > 0.5:
        _scatter(picture, rng)
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 5))
    coarse = rng.normal(0, rng.uniform(0, 7), (12, 12, 3)).astype(np.float32)
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC)
    picture += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    grain = rng.standard_normal((size, size, 1), np.float32)
    picture += rng.uniform(0, 4) * grain
    return np.asarray(np.clip(picture, 0, 255).astype(np.uint8))


def _scatter(picture: npt.NDArray[np.float32], rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(3, 16))):
        colour = tuple(map(float, _any_colour(rng)))
        centre, size = rng.integers(-8, 72, 2), rng.integers(4, 36, 2)
        if rng.random() < 0.5:
            corner = centre + size
            cv2.rectangle(picture, tuple(map(int, centre)), tuple(map(int, corner)), colour, -1)
        else:
            box = (tuple(map(float, centre)), tuple(map(float, size)), float(rng.uniform(0, 180)))
            cv2.ellipse(picture, box, colour, -1)
