"""``mimicam preset``: record, list, show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimicam.engine.commands import main
from mimicam.engine.concurrency.steps import Work
from mimicam.engine.editing import recording


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIMICAM_PRESETS", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture in which a face opens its mouth."""

    def seen(*_: object, **__: object) -> Work[dict[str, float]]:
        yield from ()
        return {"jawOpen": 0.5}

    monkeypatch.setattr(recording, "record_expression", seen)
    path = tmp_path / "face.png"
    path.write_bytes(b"not read here")
    return path


def record(picture: Path, *words: str) -> int:
    return main(["preset", "record", "gasp", "--from", str(picture), *words])


def test_a_recorded_preset_is_listed_and_shown(
    folder: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(picture, "--key", "x", "--attack", "0.05") == 0
    assert f"wrote {folder / 'gasp.json'}; use it with: --preset gasp=1" in capsys.readouterr().out
    assert main(["preset", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:3] == ["gasp", "x", "yours"] for line in lines)
    assert any(line.split()[:3] == ["smile", "j", "bundled"] for line in lines)
    assert lines[-1].endswith(str(folder))
    assert main(["preset", "show", "gasp"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["blendshapes"], shown["attack_s"]) == ({"jawOpen": 0.5}, 0.05)


def test_a_second_recording_needs_force(
    folder: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(picture) == 0
    before = (folder / "gasp.json").read_bytes()
    assert record(picture, "--replaces") == 1
    assert "add --force" in capsys.readouterr().err
    assert (folder / "gasp.json").read_bytes() == before
    assert record(picture, "--replaces", "--force") == 0
    assert json.loads((folder / "gasp.json").read_text())["replaces"] is True


def test_a_wrong_key_is_found_before_anything_is_read(
    picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unread(*_: object, **__: object) -> dict[str, float]:
        raise AssertionError("the picture was read")

    monkeypatch.setattr(recording, "record_expression", unread)
    assert record(picture, "--key", "q") == 1
    assert "its key must be one small letter" in capsys.readouterr().err


def test_a_damaged_file_is_listed_with_its_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir()
    (folder / "bad.json").write_text("{")
    assert main(["preset", "list"]) == 0
    assert "not usable" in next(line for line in capsys.readouterr().out.splitlines() if "bad" in line)
    assert main(["edit", "nowhere.mp4", "--preset", "bad=1"]) == 1


def test_an_unknown_preset_is_named_with_those_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preset", "show", "nothing"]) == 1
    assert "choose one of neutral, smile" in capsys.readouterr().err
