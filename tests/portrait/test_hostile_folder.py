"""Enrolled folders that somebody else made: one line each, and bounded memory."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.portrait import load_portrait
from tests.fuzz.pictures import ENROLLED, SmallModel

Damage = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ENROLLED, tmp_path / "me"))


def _facts(**changes: Any) -> Damage:
    def change(folder: Path) -> None:
        path = folder / "portrait.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def _arrays(**changes: Any) -> Damage:
    def change(folder: Path) -> None:
        with np.load(folder / "portrait.npz") as data:
            arrays = {name: data[name] for name in data.files} | changes
        np.savez(
            folder / "portrait.npz", **{name: array for name, array in arrays.items() if array is not None}
        )

    return change


def _deep_json(folder: Path) -> None:
    (folder / "portrait.json").write_text('{"a":' * 50_000 + "1" + "}" * 50_000)


def _bomb(folder: Path) -> None:
    np.savez_compressed(folder / "portrait.npz", crop=np.zeros((900, 900, 3), np.uint8))


def _absurd_picture(folder: Path) -> None:
    png = bytearray((folder / "picture.png").read_bytes())
    png[16:24] = b"\0\1\0\0\0\1\0\0"
    (folder / "picture.png").write_bytes(png)


_FLOAT = np.float32
HOSTILE: dict[str, Damage] = {
    "deep json": _deep_json,
    "json that is no text": lambda folder: (folder / "portrait.json").write_bytes(b"\xff\xfe" * 50) and None,
    "compressed bomb": _bomb,
    "absurd picture": _absurd_picture,
    "name of two lines": _facts(name="a\nb"),
    "name that is a list": _facts(name=["a"]),
    "box of size zero": _facts(box=[0, 0, 0]),
    "box of negative size": _facts(box=[0, 0, -5]),
    "box far away": _facts(box=[1e9, 0, 100]),
    "box without end": _facts(box=[0, 0, 1e300]),
    "box that is no number": _facts(box=[float("nan"), 0, 100]),
    "box beyond floats": _facts(box=[10**400, 0, 100]),
    "box of strings": _facts(box="abc"),
    "head of size zero": _facts(scale=0),
    "head without end": _facts(scale=float("inf")),
    "no face": _facts(scale=None),
    "large crop": _arrays(crop=np.zeros((3000, 3000, 3), np.uint8)),
    "crop of floats": _arrays(crop=np.zeros((16, 16, 3), _FLOAT)),
    "short expression": _arrays(expression=np.zeros(3, _FLOAT)),
    "few landmarks": _arrays(shape=np.zeros((5, 3), _FLOAT)),
    "flat rotation": _arrays(rotation=np.zeros((3, 2), _FLOAT)),
    "landmarks that are no numbers": _arrays(shape=np.full((478, 3), np.nan, _FLOAT)),
    "features that are no numbers": _arrays(feature_latent=np.full((1, 8), np.inf, _FLOAT)),
    "features of another shape": _arrays(feature_latent=np.zeros((1, 9), _FLOAT)),
    "features of another type": _arrays(feature_latent=np.zeros((1, 8), np.float64)),
    "missing features": _arrays(feature_latent=None),
}


def test_the_folder_is_good_before_it_is_damaged(folder: Path) -> None:
    assert load_portrait(folder, model=SmallModel()).name == "me"  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_folder_gives_one_line(folder: Path, damage: Damage) -> None:
    damage(folder)
    with pytest.raises(EngineError) as caught:
        load_portrait(folder, model=SmallModel())  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_arrays_that_nobody_asked_for_take_no_memory(folder: Path) -> None:
    _arrays(other=np.zeros(30_000_000, np.uint8))(folder)
    tracemalloc.start()
    try:
        load_portrait(folder, model=SmallModel())  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 25_000_000
    finally:
        tracemalloc.stop()
