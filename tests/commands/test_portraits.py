"""Which portraits the commands load, when, and with which model."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mimicam.engine.commands.live as live
from mimicam.engine.assets_manifest import bundled_portraits
from mimicam.engine.portrait import Portrait, enroll, load_portrait, save_portrait
from tests.pipeline.fake_model import FakeModel
from tests.stages.material import bundled, turn

WAIT_S = 10.0


class Loads:
    """Stands in for the model's and the portraits' loading, and notes who is loaded with what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.models: list[FakeModel] = []
        self.portraits: list[tuple[Path, FakeModel]] = []
        monkeypatch.setattr(live, "load_model", self._model)
        monkeypatch.setattr(live, "load_portrait", self._portrait)
        monkeypatch.setattr(live, "print_notes", lambda _: None)

    def _model(self, _name: str, _backend: str) -> FakeModel:
        self.models.append(FakeModel())
        return self.models[-1]

    def _portrait(self, path: Path, *, model: Any) -> Any:
        self.portraits.append((path, model))
        return path.stem


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    return Loads(monkeypatch)


def _shown(gallery: live.Gallery, number: int) -> Any:
    arrived, got = threading.Event(), []
    gallery.show(number, lambda portrait: (got.append(portrait), arrived.set()))
    assert arrived.wait(WAIT_S)
    return got[0]


def test_of_the_bundled_portraits_one_is_enrolled_at_the_start(loads: Loads) -> None:
    model, gallery = live.load_gallery("compact", "auto", ())
    assert loads.portraits == [(bundled_portraits()[0], model)]
    assert len(gallery) == len(bundled_portraits())


def test_the_others_are_enrolled_with_one_other_model(loads: Loads) -> None:
    model, gallery = live.load_gallery("compact", "auto", ())
    for number in (2, 5):
        assert _shown(gallery, number) == bundled_portraits()[number].stem
    first, second = (used for _, used in loads.portraits[1:])
    assert first is second
    assert first is not model
    assert len(loads.models) == 2


def test_given_portraits_are_all_enrolled_at_the_start(loads: Loads, tmp_path: Path) -> None:
    model, gallery = live.load_gallery("compact", "auto", [tmp_path / "me.jpg", Path("mona")])
    assert [path.name for path, _ in loads.portraits] == ["me.jpg", "mona.jpg"]
    assert {id(used) for _, used in loads.portraits} == {id(model)}
    assert len(gallery) == 2


@pytest.mark.parametrize(("yaw", "noted"), [(20.0, False), (-30.0, True)])
def test_a_face_from_the_side_is_noted(
    yaw: float, noted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_portrait(_turned(yaw), tmp_path / "rosa")
    live.print_notes(load_portrait(tmp_path / "rosa", model=FakeModel()))
    told = capsys.readouterr().err
    assert ("rosa is turned by 30 degrees" in told) == noted
    assert ("--mode exp" in told) == noted


def test_a_portrait_without_notes_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    live.print_notes(_turned(0.0))
    assert capsys.readouterr().err == ""


def _turned(yaw: float) -> Portrait:
    portrait = enroll(bundled("rosa.jpg"), model=FakeModel(), name="rosa")
    assert portrait.motion is not None
    pose = replace(portrait.motion.pose, rotation=turn(yaw=yaw))
    return replace(portrait, motion=replace(portrait.motion, pose=pose))
