"""Find the pictures whose expression and head pose are most like a query's (DAE-GAN, figure 8)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimicam.engine.backends.tensorrt.plan_cache import default_folder
from mimicam.engine.concurrency.steps import Work, in_one_call, in_steps
from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs, write_atomically
from mimicam.engine.models.base import ImageDrivenModel, Model
from mimicam.engine.retrieval import index as gallery_index
from mimicam.engine.retrieval.index import By, Match
from mimicam.engine.retrieval.readings import FaceReading, face_crop
from mimicam.engine.types import Image

_SIDE = 192
"""Side of a face in a sheet, pixels."""
_LINE = 24
"""Height of the line below a face, pixels."""
_COLUMNS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """Result of a search."""

    matches: list[Match]
    """Best first; the query's own file is left out."""
    skipped: list[str]
    """One line for each picture of the gallery without a usable face."""


def _retrieve(
    query: Path,
    gallery: Path,
    *,
    model: Model | None = None,
    by: By = "pose-code",
    count: int = 10,
    index: Path | None = None,
    tell: Callable[[str], None] = lambda _problem: None,
) -> Work[Retrieved]:
    """Search a folder for pictures with the pose and expression of a query.

    The folder is indexed first, which takes some tenths of a second a picture. Later calls read
    only new and changed pictures.

    Args:
        query: picture of one face.
        gallery: folder of pictures, with its subfolders.
        model: has the pose code; see `engine.models.base.ImageDrivenModel`.
        by: ``pose-code`` compares the model's codes by cosine similarity, ``tracker`` blendshapes
            and head angles, which needs no model.
        count: most matches.
        index: index file; by default one in the user's cache.
        tell: called with one line for each picture that is skipped.

    Raises:
        EngineError: the query shows no face, the gallery has no pictures, or the model has no pose
            code.
    """
    if count < 1:
        raise EngineError(f"-k must be at least 1, not {count}")
    reading = FaceReading(_coded(model, by))
    file = default_index(gallery) if index is None else index
    refuse_to_overwrite_inputs([file], [query, *gallery_index.pictures_of(gallery)])
    # Read first: a query without a face must not cost the reading of a whole folder.
    asked = reading(query)
    found = yield from gallery_index.update(gallery, file, reading, tell=tell)
    matches = found.search(gallery, asked, by, count, leave_out=query)
    return Retrieved(matches=matches, skipped=found.problems)


retrieve = in_one_call(_retrieve, "retrieve")
iter_retrieve = in_steps(_retrieve, "iter_retrieve")


def default_index(gallery: Path) -> Path:
    """Return the index file of a folder in the user's cache."""
    name = hashlib.sha256(str(gallery.resolve()).encode()).hexdigest()[:24]
    return default_folder().with_name("galleries") / f"{name}.npz"


def write_sheet(query: Path, found: Retrieved, out: Path) -> None:
    """Draw the query's face and those of the matches in rows, each with its score.

    Raises:
        EngineError: the file cannot be written, or would replace a picture.
    """
    refuse_to_overwrite_inputs([out], [query, *(match.path for match in found.matches)])
    tiles = [_tile(query, "query")]
    tiles += [_tile(match.path, f"{match.score:.3f}") for match in found.matches]
    blank = np.full_like(tiles[0], 255)
    # The last row is filled up, since rows are joined as one array.
    tiles += [blank] * (-len(tiles) % _COLUMNS)
    rows = [np.hstack(tiles[k : k + _COLUMNS]) for k in range(0, len(tiles), _COLUMNS)]
    ok, png = cv2.imencode(".png", np.vstack(rows)[:, :, ::-1])
    assert ok, "OpenCV encodes every RGB picture as PNG"
    with write_atomically(out) as part:
        part.write_bytes(png.tobytes())


def _tile(path: Path, line: str) -> Image:
    below = np.full((_LINE, _SIDE, 3), 255, np.uint8)
    cv2.putText(below, line, (6, _LINE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([face_crop(path, _SIDE), below])


def _coded(model: Model | None, by: By) -> ImageDrivenModel | None:
    if by == "tracker" and not isinstance(model, ImageDrivenModel):
        return None
    if isinstance(model, ImageDrivenModel):
        return model
    name = "no model is given, and" if model is None else f"{model.name} is driven by the tracker, and"
    raise EngineError(f"{name} a search by pose code needs one: give --model of a DAE-GAN, or --by tracker")
