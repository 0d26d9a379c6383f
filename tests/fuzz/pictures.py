"""Portraits: pictures and enrolled folders are read, or refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from mimicam.engine.errors import EngineError
from mimicam.engine.models.base import Features
from mimicam.engine.picture_file import decode_picture
from mimicam.engine.portrait import load_portrait
from mimicam.engine.types import Image
from tests.fuzz.mutate import CORPUS, changed_bytes, check_line, seeds
from tests.models.fakes import TrackerDriven

_MAX_PIXELS, _MAX_SIDE = 1_000_000, 64
ENROLLED = CORPUS / "enrolled"


class SmallModel(TrackerDriven):
    """A model whose enrolled folders are small."""

    name, backend, sha256, size = "small", "none", "0" * 64, 16

    def feature_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"latent": (1, 8)}

    def encode(self, crop: Image) -> Features:
        latent = np.full((1, 8), crop.mean(), np.float32)
        return Features(arrays={"latent": latent}, model=self.sha256)


Example = tuple[str, bytes]
"""Name of a seed, and its changed content."""


def changed_portraits() -> st.SearchStrategy[Example]:
    """Return changed pictures, and changed files of an enrolled folder."""
    files = [*seeds("portraits"), *seeds("enrolled")]
    return st.sampled_from(files).flatmap(
        lambda path: st.tuples(st.just(path.name), changed_bytes(path.read_bytes()))
    )


def check_portrait(folder: Path, example: Example) -> None:
    """Read a picture or an enrolled folder."""
    name, content = example
    if (ENROLLED / name).exists():
        _check_folder(folder / "me", name, content)
        return
    try:
        image = decode_picture(content, max_pixels=_MAX_PIXELS, max_side=_MAX_SIDE)
    except EngineError as error:
        check_line(error)
        return
    assert image.dtype == np.uint8
    assert image.shape[2:] == (3,)
    assert 1 <= min(image.shape[:2]) <= max(image.shape[:2]) <= _MAX_SIDE


def _check_folder(folder: Path, name: str, content: bytes) -> None:
    shutil.copytree(ENROLLED, folder)
    (folder / name).write_bytes(content)
    try:
        portrait = load_portrait(folder, model=SmallModel())  # type: ignore[arg-type]
    except EngineError as error:
        check_line(error)
        return
    assert portrait.crop.shape == (16, 16, 3)
    assert "\n" not in portrait.name
