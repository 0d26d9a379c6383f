"""``mimicam run --portrait camera``: only where it is asked for, and said where it is."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.commands import live, main
from mimicam.engine.commands.live import OWN_FACE_BANNER, is_own_face, make_presets, own_face_size
from mimicam.engine.errors import EngineError
from mimicam.engine.sources.video import VideoFile
from tests.fake_tracker import FakeTracker
from tests.models.fakes import ImageDriven
from tests.pipeline.fake_model import FakeModel
from tests.videos import write_video


def test_only_the_word_alone_shows_the_own_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_own_face([Path("camera")])
    assert not is_own_face([])
    assert not is_own_face([Path("rosa"), Path("camera.png")])
    with pytest.raises(EngineError, match="takes no other portrait beside it"):
        is_own_face([Path("rosa"), Path("camera")])
    (tmp_path / "camera").mkdir()
    assert not is_own_face([Path("camera")]), "a portrait of that name comes first"


def test_eye_contact_needs_the_own_face() -> None:
    model = FakeModel()
    assert "eye-contact" not in make_presets({}, model).presets
    assert "eye-contact" in make_presets({"eye-contact": 1.0}, model, own_face=True).presets
    with pytest.raises(EngineError, match="eye-contact turns your own eyes: use it with --portrait camera"):
        make_presets({"eye-contact": 1.0}, model)


def test_a_family_without_presets_refuses_those_of_the_command_line() -> None:
    class Pictures(ImageDriven):
        name = "dpe"

    assert not make_presets({}, Pictures()).presets  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="dpe takes no expression presets: leave --preset out"):
        make_presets({"smile": 1.0}, Pictures())  # type: ignore[arg-type]


def test_the_size_is_the_given_one_or_that_of_a_camera() -> None:
    assert own_face_size((320, 240), ["null"]) == (320, 240)
    assert own_face_size(None, ["null"]) == (640, 480)


def test_a_run_shows_the_camera_s_own_picture_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mimicam.engine.models.load.load_model", lambda *_, **__: FakeModel())
    monkeypatch.setattr("mimicam.engine.own_face.FaceTracker", FakeTracker)
    monkeypatch.setattr(live, "load_gallery", lambda *_: pytest.fail("a portrait was loaded"))
    picture = np.full((96, 128, 3), (200, 40, 90), np.uint8)
    source = write_video(tmp_path / "in.mp4", [picture] * 4, fps=10)
    out = tmp_path / "out.mp4"
    words = [
        "run",
        "--portrait",
        "camera",
        "--source",
        str(source),
        "--sink",
        f"file:{out}",
        "--size",
        "128x96",
    ]
    assert main(words) == 0
    assert OWN_FACE_BANNER in capsys.readouterr().out
    (shown,) = (timed.image for timed in islice(VideoFile(out), 1))
    assert np.abs(shown.astype(int) - picture).max() < 16, "no face is seen, so the frame passes"
