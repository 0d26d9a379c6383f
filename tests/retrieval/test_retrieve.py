"""``mimicam retrieve`` and ``mimicam.retrieve`` on bundled portraits."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import mimicam
from mimicam.engine.assets_manifest import bundled_portraits
from mimicam.engine.commands import main
from mimicam.engine.errors import EngineError
from mimicam.engine.models.base import LatentCodes
from mimicam.engine.retrieval.readings import FaceReading
from mimicam.engine.types import Image
from tests.models.fakes import TrackerDriven
from tests.user_cache import cache, own_cache

__all__ = ["cache", "own_cache"]  # fixtures


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two faces and a picture without one."""
    folder = tmp_path_factory.mktemp("gallery")
    for path in bundled_portraits()[:2]:
        small = cv2.resize(cv2.imread(str(path)), (256, 256), interpolation=cv2.INTER_AREA)
        assert cv2.imwrite(str(folder / path.name), small)
    assert cv2.imwrite(str(folder / "grey.png"), np.full((64, 64, 3), 90, np.uint8))
    return folder


def test_the_command_prints_matches_and_draws_a_sheet(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (gallery / path.name for path in bundled_portraits()[:2])
    sheet = tmp_path / "sheet.png"
    command = ["retrieve", "--query", str(first), "--gallery", str(gallery), "--by", "tracker", "-k", "3"]
    assert main([*command, "--json", "--sheet", str(sheet)]) == 0
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert [match["path"] for match in facts["matches"]] == [str(second)]
    assert 0 < facts["matches"][0]["score"] < 1
    assert len(facts["skipped"]) == 1
    assert "grey.png shows no face" in facts["skipped"][0]
    assert "grey.png shows no face" in printed.err
    drawn = cv2.imread(str(sheet))
    assert drawn is not None
    assert drawn.shape[1] == 6 * 192


def test_inputs_are_never_replaced(gallery: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (gallery / path.name for path in bundled_portraits()[:2])
    before = second.read_bytes()
    command = ["retrieve", "--query", str(first), "--gallery", str(gallery), "--by", "tracker"]
    for option in ("--sheet", "--index"):
        assert main([*command, option, str(second)]) == 1
        assert "would replace" in capsys.readouterr().err
    assert second.read_bytes() == before


def test_a_search_by_code_needs_a_model_that_has_one(gallery: Path) -> None:
    query = gallery / bundled_portraits()[0].name
    for model, words in ((None, "no model is given"), (Tracked(), "fake is driven by the tracker")):
        with pytest.raises(EngineError, match=f"{words}.*--model of a DAE-GAN, or --by tracker"):
            mimicam.retrieve(query, gallery, model=model)
    with pytest.raises(EngineError, match="-k must be at least 1"):
        mimicam.retrieve(query, gallery, by="tracker", count=0)


def test_codes_are_read_from_the_faces_crop(gallery: Path) -> None:
    model = Coded()
    reading = FaceReading(model)(gallery / bundled_portraits()[0].name)  # type: ignore[arg-type]
    np.testing.assert_array_equal(reading.code, [1, 2, 3])
    assert model.shapes == [(64, 64, 3)]
    assert reading.tracked.shape == (55,)


class Tracked(TrackerDriven):
    name, backend, sha256, size = "fake", "none", "0" * 64, 64


class Coded:
    """The part of an image-driven model that retrieval uses."""

    sha256, size = "0" * 64, 64

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def read_motion(self, crop: Image) -> LatentCodes:
        self.shapes.append(crop.shape)
        return LatentCodes(expression=np.float32([1, 2]), pose=np.float32([3]))
