"""Marks of a live recording: what is known before its first frame."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mimicam.engine.commands.live import recording_marks
from mimicam.engine.commands.verify import _lines, _values
from mimicam.engine.files import sha256_of
from mimicam.engine.provenance import ANIMATED, EDITED
from mimicam.engine.sinks.file import FileSink
from mimicam.engine.types import Frame
from mimicam.engine.verify import Verified, verify
from tests.videos import grey

MODEL: Any = SimpleNamespace(sha256="d" * 64)
PORTRAIT: Any = SimpleNamespace(source_sha256="a" * 64)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A driving file; its content is only hashed."""
    (tmp_path / "talk.mp4").write_bytes(b"driver")
    return tmp_path / "talk.mp4"


def test_a_file_that_drives_is_hashed_and_a_camera_is_named(clip: Path) -> None:
    from_file = recording_marks(str(clip), MODEL, PORTRAIT)
    assert (from_file.note, from_file.source, from_file.model) == (ANIMATED.note, "a" * 64, "d" * 64)
    assert (from_file.drivers, from_file.live) == ((sha256_of(clip),), "")
    from_camera = recording_marks("camera:1", MODEL, PORTRAIT)
    assert (from_camera.source, from_camera.drivers, from_camera.live) == ("a" * 64, (), "driver")
    from_pattern = recording_marks("pattern", MODEL, PORTRAIT)
    assert (from_pattern.drivers, from_pattern.live) == ((), ""), "a drawing is neither"


def test_the_own_face_is_an_edited_source(clip: Path) -> None:
    from_file = recording_marks(str(clip), MODEL, None)
    assert (from_file.note, from_file.source, from_file.drivers) == (EDITED.note, sha256_of(clip), ())
    from_camera = recording_marks("camera", MODEL, None)
    assert (from_camera.note, from_camera.source, from_camera.live) == (EDITED.note, "", "source")


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_recording_carries_them_and_verify_prints_them(tmp_path: Path, name: str) -> None:
    sink = FileSink(tmp_path / name, marks=lambda: recording_marks("camera", MODEL, PORTRAIT))
    sink.open((64, 48), 25)
    sink.write(Frame(image=grey(90), captured_ns=0, seq=0))
    sink.close()
    found: Verified = verify(tmp_path / name)
    text = "\n".join(_lines(found))
    assert "  driver: a live camera, which has no hash" in text
    assert f"  source sha256: {'a' * 64}" in text
    assert (_values(found)["live"], _values(found)["model_sha256"]) == ("driver", "d" * 64)
