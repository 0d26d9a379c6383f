"""Presets as files: what is accepted, where they are kept, and that none is replaced unasked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimicam.engine.editing.channels import BLINK, SHAPES
from mimicam.engine.errors import EngineError
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.regions import REGIONS
from mimicam.engine.presets.bundled import BUNDLED
from mimicam.engine.presets.library import (
    UnknownPresetError,
    find_preset,
    load_presets,
    preset_names,
    presets_folder,
    save_preset,
)
from mimicam.engine.presets.preset import FORMAT, RESERVED, Preset

GRIN = Preset(name="grin", blendshapes={"mouthSmileLeft": 0.5, "jawOpen": -0.25}, hold_s=1.5, key="x")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIMICAM_PRESETS", str(tmp_path / "own"))
    return tmp_path / "own"


def written(folder: Path, stem: str, **changes: Any) -> None:
    folder.mkdir(exist_ok=True)
    fields = {**json.loads(GRIN.to_json()), "name": stem, **changes}
    (folder / f"{stem}.json").write_text(json.dumps(fields), encoding="utf-8")


def test_a_saved_preset_is_found_again(folder: Path) -> None:
    assert save_preset(GRIN) == folder / "grin.json"
    assert find_preset("grin") == GRIN
    assert preset_names()[-1] == "grin"


def test_a_preset_is_replaced_only_when_asked(folder: Path) -> None:
    save_preset(GRIN)
    before = (folder / "grin.json").read_bytes()
    other = Preset(name="grin", blendshapes={"jawOpen": 0.9})
    with pytest.raises(EngineError, match=r"there is a preset 'grin' already: .* --force"):
        save_preset(other)
    assert (folder / "grin.json").read_bytes() == before
    save_preset(other, replace=True)
    assert find_preset("grin") == other


def test_a_bundled_name_is_taken_unless_forced() -> None:
    own = Preset(name="smile", blendshapes={"mouthSmile": 0.1})
    with pytest.raises(EngineError, match="already"):
        save_preset(own)
    save_preset(own, replace=True)
    assert find_preset("smile") == own
    assert preset_names().count("smile") == 1


def test_the_bundled_ones_are_there_and_have_keys_of_their_own() -> None:
    wanted = {"neutral", "smile", "laugh", "surprise", "sad", "angry", "wink", "pout", "awake"}
    assert wanted <= set(BUNDLED)
    keys = [preset.key for preset in BUNDLED.values() if preset.key]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_preset_survives_its_own_json(name: str) -> None:
    assert Preset.from_json(BUNDLED[name].to_json(), name) == BUNDLED[name]


def test_a_name_without_its_side_fills_both() -> None:
    weights = Preset(name="a", blendshapes={"mouthSmile": 0.5, "jawOpen": 0.25}).weights
    named = dict(zip(BLENDSHAPE_NAMES, weights.tolist(), strict=True))
    assert {name: value for name, value in named.items() if value} == {
        "mouthSmileLeft": 0.5, "mouthSmileRight": 0.5, "jawOpen": 0.25,
    }  # fmt: skip
    assert weights.dtype == np.float32


def test_channels_of_an_edit_cannot_name_a_preset() -> None:
    assert {BLINK, *REGIONS} == RESERVED
    assert all(name.lower() != name for name in SHAPES), "so that no preset hides a blendshape"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, 'its "format" must be'),
        ({"colour": 1}, "has the field 'colour'"),
        ({"blendshapes": {"jawOpne": 1}}, "there is no blendshape 'jawOpne'"),
        ({"blendshapes": {"_neutral": 1}}, "there is no blendshape '_neutral'"),
        ({"blendshapes": {"jawOpen": 3}}, "jawOpen must lie between -1 and 1, not 3"),
        ({"blendshapes": {"jawOpen": "much"}}, "a field of another type"),
        ({"blendshapes": {"jawOpen": float("nan")}}, "a field of another type"),
        ({"attack_s": True}, "a field of another type"),
        ({"release_s": -1}, "release_s must lie between 0 and 60"),
        ({"key": "c"}, "its key must be one small letter, none of"),
        ({"key": "ab"}, "its key must be one small letter"),
        ({"name": "grin2"}, "holds the preset 'grin2'"),
    ],
)
def test_a_damaged_file_is_refused_and_named(folder: Path, changes: dict[str, Any], message: str) -> None:
    written(folder, "grin", **changes)
    with pytest.raises(EngineError, match=message) as refused:
        find_preset("grin")
    assert str(folder / "grin.json") in str(refused.value)
    assert find_preset("smile") == BUNDLED["smile"], "the others stay usable"


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, " " * 70_000])
def test_what_is_no_preset_is_refused(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "grin.json").write_text(text)
    with pytest.raises(EngineError):
        find_preset("grin")


def test_a_damaged_file_costs_only_itself(folder: Path) -> None:
    written(folder, "bad", key="?")
    written(folder, "good")
    told: list[str] = []
    names = [preset.name for preset in load_presets(told.append)]
    assert "good" in names
    assert "bad" not in names
    assert len(told) == 1


@pytest.mark.parametrize("name", ["", "Grin", "a b", "../up", "eyes", "x" * 41])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(EngineError, match="cannot name a preset"):
        Preset(name=name)


def test_an_unknown_name_lists_those_that_are_there() -> None:
    with pytest.raises(UnknownPresetError, match="choose one of neutral, smile"):
        find_preset("nothing")


@pytest.mark.parametrize(
    ("environ", "platform", "folder"),
    [
        ({"MIMICAM_PRESETS": "/a"}, "linux", "/a"),
        ({"XDG_DATA_HOME": "/b"}, "linux", "/b/mimicam/presets"),
        ({"XDG_DATA_HOME": "relative"}, "linux", "~/.local/share/mimicam/presets"),
        ({}, "linux", "~/.local/share/mimicam/presets"),
        ({}, "darwin", "~/Library/Application Support/mimicam/presets"),
        ({"APPDATA": "/c"}, "win32", "/c/mimicam/presets"),
    ],
)
def test_the_folder_follows_the_platform(environ: dict[str, str], platform: str, folder: str) -> None:
    assert presets_folder(environ, platform) == Path(folder).expanduser()


def test_a_folder_that_cannot_be_made_names_the_variable(folder: Path) -> None:
    folder.write_text("a file is in the way")
    with pytest.raises(EngineError, match="set MIMICAM_PRESETS to another folder"):
        save_preset(GRIN)


def test_files_state_their_format() -> None:
    assert json.loads(GRIN.to_json())["format"] == FORMAT
