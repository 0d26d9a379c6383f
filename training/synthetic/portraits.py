"""The bundled portraits: three people who do not exist, rendered from the face model (MIT licence).

``python -m training.synthetic.portraits --out engine/assets/portraits`` makes the files again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import tyro

from engine.errors import EngineError
from training.synthetic.model import FaceModel, Float
from training.synthetic.paint import BrowShape
from training.synthetic.people import linear
from training.synthetic.render import Renderer
from training.synthetic.scene import Clothes, Eyes, Hair, Lens, Light, Person, Skin, still
from training.synthetic.surfaces import BodyShape, HairShape

SIZE_PX = 512


def _identity(seed: int, strength: float) -> Float:
    return (strength * np.random.default_rng(seed).normal(size=60)).astype(np.float32)


def _backdrop(centre: tuple[int, int, int], edge: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """A studio wall, lit behind the head."""
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    t = np.clip(np.hypot(x + 0.15, y + 0.1) / 1.35, 0, 1)[..., None] ** 1.4
    return np.asarray((np.array(centre) * (1 - t) + np.array(edge) * t).round().astype(np.uint8))


def _mara() -> Person:
    """Olive skin, long dark hair, warm window light."""
    hair = linear((52, 34, 25))
    return Person(
        identity=_identity(17, 0.6),
        skin=Skin(
            colour=linear((222, 176, 146)), lips=linear((176, 92, 88)), blush=linear((214, 140, 120)),
            lip_strength=0.85, blotches=0.06, pores=0.10, oil=0.45, eye_shade=0.55, brow=linear((44, 29, 22)),
            brow_strength=0.9, brow_shape=BrowShape(thickness=0.85, density=1.35, arch=0.06, length=0.97),
        ),
        eyes=Eyes(iris=linear((96, 84, 48)), sclera=linear((232, 227, 221)), iris_size=0.415, lashes=1.0),
        hair=Hair(
            colour=hair, gloss=0.7, strand_count=11.0, edge_softness=0.14,
            scalp=0.25,
            shape=HairShape(thickness=1.5, length=15.0, edge=0.3, parting=0.5, wave=0.35, open_front=0.66),
        ),
        clothes=Clothes(colour=linear((116, 40, 48)), shape=BodyShape(width=19.5, slope=5.5, collar=0.2, neckline=1.2)),
        light=Light(key_direction=(-0.55, 0.5, 0.9), key=(0.78, 0.73, 0.66), fill=(0.20, 0.20, 0.22),
                    fill_direction=(0.9, 0.0, 0.5), sky=(0.33, 0.33, 0.34), ground=(0.22, 0.19, 0.17)),
        lens=Lens(distance_cm=130.0, face_to_box=0.52), backdrop=_backdrop((206, 196, 182), (140, 126, 112)),
        paint_seed=3,
    )  # fmt: skip


def _kofi() -> Person:
    """Dark skin, short black hair, trimmed beard, cool studio light."""
    return Person(
        identity=_identity(31, 0.6),
        skin=Skin(
            colour=linear((132, 90, 66)), lips=linear((122, 72, 66)), blush=linear((136, 80, 62)),
            lip_strength=0.7, stubble=1.0, blotches=0.06, pores=0.10, oil=0.85, eye_shade=0.5,
            brow=linear((24, 18, 16)), brow_strength=0.95,
            brow_shape=BrowShape(thickness=1.1, density=1.5, arch=0.0, length=0.98),
        ),
        eyes=Eyes(iris=linear((66, 40, 24)), sclera=linear((224, 217, 209)), iris_size=0.41, lashes=0.8),
        hair=Hair(
            colour=linear((26, 21, 19)), gloss=0.25, strand_count=13.0, edge_softness=0.12,
            shape=HairShape(thickness=0.55, edge=0.15, parting=0.0, hairline=-0.03),
        ),
        clothes=Clothes(colour=linear((214, 208, 196)), shape=BodyShape(width=23.0, slope=4.5, collar=0.4, neckline=0.6)),
        light=Light(key_direction=(0.6, 0.55, 0.8), key=(0.98, 0.96, 0.95), fill=(0.30, 0.34, 0.42),
                    fill_direction=(-1.0, 0.1, 0.35), sky=(0.40, 0.42, 0.46), ground=(0.22, 0.21, 0.21)),
        lens=Lens(distance_cm=140.0, face_to_box=0.52), backdrop=_backdrop((112, 134, 150), (52, 66, 80)),
        paint_seed=5,
    )  # fmt: skip


def _linn() -> Person:
    """Fair freckled skin, copper bob, soft daylight."""
    hair = linear((150, 78, 42))
    return Person(
        identity=_identity(14, 0.6),
        skin=Skin(
            colour=linear((240, 208, 188)), lips=linear((196, 116, 112)), blush=linear((232, 160, 142)),
            lip_strength=0.8, freckles=0.75, blotches=0.05, pores=0.10, oil=0.35, eye_shade=0.5,
            brow=linear((112, 62, 38)), brow_strength=0.8,
            brow_shape=BrowShape(thickness=0.8, density=1.2, arch=0.04, length=0.98),
        ),
        eyes=Eyes(iris=linear((98, 132, 150)), sclera=linear((232, 228, 224)), iris_size=0.415, lashes=0.8),
        hair=Hair(
            colour=hair, gloss=0.6, strand_count=10.0, edge_softness=0.10,
            scalp=0.25,
            shape=HairShape(thickness=1.4, length=7.0, edge=0.3, parting=-0.5, wave=0.15, open_front=0.66),
        ),
        clothes=Clothes(colour=linear((48, 76, 72)), shape=BodyShape(width=19.0, slope=5.5, collar=0.7, neckline=0.4)),
        light=Light(key_direction=(0.35, 0.6, 0.9), key=(0.58, 0.57, 0.55), fill=(0.16, 0.17, 0.19),
                    fill_direction=(-0.8, 0.1, 0.6), sky=(0.36, 0.37, 0.39), ground=(0.26, 0.24, 0.22)),
        lens=Lens(distance_cm=130.0, face_to_box=0.52), backdrop=_backdrop((214, 220, 218), (158, 170, 172)),
        paint_seed=9,
    )  # fmt: skip


PORTRAITS = {"mara": _mara, "kofi": _kofi, "linn": _linn}


def render_portrait(renderer: Renderer, person: Person) -> npt.NDArray[np.uint8]:
    """Neutral, eyes open, mouth closed, facing the camera: ``[S, S, 3]`` RGB."""
    weights = renderer.model.weights(mouthSmile=0.12, eyeWide=0.1)
    renderer.enter(person)
    renderer.express(weights, np.zeros(2, np.float32))
    return renderer.draw(still())


@dataclass(frozen=True, kw_only=True)
class RenderPortraits:
    """Render the bundled portraits."""

    out: Path = Path("engine/assets/portraits")
    """Folder for the pictures."""
    model: Path | None = None
    """ict_face_model.npz."""

    def run(self) -> int:
        """Write one PNG a person."""
        renderer = Renderer(FaceModel.load(self.model), SIZE_PX)
        self.out.mkdir(parents=True, exist_ok=True)
        for name, person in PORTRAITS.items():
            picture = render_portrait(renderer, person())
            path = self.out / f"{name}.png"
            cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
            print(f"{path}: {path.stat().st_size // 1024} KiB")
        return 0


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused."""
    try:
        return tyro.cli(RenderPortraits, args=argv).run()
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
