"""The bundled files and their manifest."""

import json
from pathlib import Path

import pytest

from engine.assets_manifest import MANIFEST, bundled_portraits, demo_clip, entries, problems, unlisted
from engine.errors import EngineError
from engine.files import sha256_of


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


def test_a_file_that_nobody_listed_is_found(tmp_path: Path) -> None:
    (_bundle(tmp_path) / "b.bin").write_bytes(b"?")
    assert unlisted(tmp_path) == ["b.bin"]


def test_without_a_manifest_the_error_says_reinstall(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="reinstall mimicam"):
        entries(tmp_path)


def test_every_bundled_file_is_listed_whole_and_has_a_licence() -> None:
    assert problems() == []
    assert unlisted() == [], "run: python -m scripts.assets FILE LICENCE ORIGIN"
    assert all(asset.licence and asset.origin for asset in entries())


def test_a_portrait_and_the_demo_clip_are_bundled() -> None:
    assert bundled_portraits()
    assert demo_clip().is_file()
