"""The bundled files and their manifest."""

import json
from pathlib import Path

import pytest

from mimicam.engine.assets_manifest import (
    ASSETS,
    MANIFEST,
    PORTRAITS,
    bundled_portraits,
    demo_clip,
    entries,
    known_response,
    portrait_path,
    problems,
    unlisted,
)
from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of
from mimicam.engine.models.compact.bundle_info import COMPACT_DIR, read_info
from mimicam.engine.picture_file import read_picture


def _bundle(folder: Path) -> Path:
    (folder / "a.bin").write_bytes(b"weights")
    row = {"file": "a.bin", "sha256": sha256_of(folder / "a.bin"), "licence": "MIT", "origin": "here"}
    (folder / MANIFEST).write_text(json.dumps([row]))
    return folder


def test_whole_files_raise_no_problem(tmp_path: Path) -> None:
    assert problems(_bundle(tmp_path)) == []


def test_a_changed_file_is_a_problem(tmp_path: Path) -> None:
    (_bundle(tmp_path) / "a.bin").write_bytes(b"Weights")
    assert problems(tmp_path) == ["a.bin was changed: its hash is not the one in the manifest"]


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    (_bundle(tmp_path) / "a.bin").unlink()
    assert problems(tmp_path) == ["a.bin is missing"]


def test_an_unlisted_file_is_found(tmp_path: Path) -> None:
    (_bundle(tmp_path) / "b.bin").write_bytes(b"?")
    assert unlisted(tmp_path) == ["b.bin"]


def test_without_a_manifest_the_error_says_reinstall(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="reinstall mimicam"):
        entries(tmp_path)


def test_every_bundled_file_is_listed_whole_and_has_a_licence() -> None:
    assert problems() == []
    assert unlisted() == [], "run: python -m scripts.assets FILE LICENCE ORIGIN"
    assert all(asset.licence and asset.origin for asset in entries())


def test_every_portrait_file_is_listed_and_in_the_notice() -> None:
    files = sorted((ASSETS / "portraits").iterdir())
    assert sorted(bundled_portraits()) == files
    notice = (ASSETS.parents[1] / "NOTICE").read_text(encoding="utf-8")
    assert [path.name for path in files if path.name not in notice] == []


def test_the_readme_names_the_portraits_in_their_order() -> None:
    readme = (ASSETS.parents[1] / "README.md").read_text(encoding="utf-8")
    assert ", ".join(f"`{name}`" for name in PORTRAITS) in " ".join(readme.split())


def test_a_file_takes_precedence_over_a_bundled_portrait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert portrait_path(Path(PORTRAITS[2])) == bundled_portraits()[2]
    assert portrait_path(Path("nobody")) == Path("nobody")
    Path(PORTRAITS[2]).mkdir()
    assert portrait_path(Path(PORTRAITS[2])) == Path(PORTRAITS[2])


def test_the_demo_clip_is_bundled() -> None:
    assert demo_clip().is_file()


def test_the_bundled_portraits_responses_are_known() -> None:
    model = read_info(COMPACT_DIR).sha256
    for path in bundled_portraits():
        response = known_response(read_picture(path), model)
        assert response is not None, f"{path.stem}: run python -m scripts.responses"
        assert response.shape == (52,)
        assert 0.5 < response.min() <= 1 <= response.max() < 2


def test_another_picture_or_model_has_no_known_response() -> None:
    picture = read_picture(bundled_portraits()[0])
    assert known_response(picture, "0" * 64) is None
    assert known_response(picture[:-1], read_info(COMPACT_DIR).sha256) is None
