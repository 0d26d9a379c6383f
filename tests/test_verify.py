"""``mimicam verify``: what marks state, what matches, and what the exit code is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mimicam
from mimicam.engine.commands import main
from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of
from mimicam.engine.models.compact.bundle_info import COMPACT_DIR
from mimicam.engine.provenance import EDITED, SOURCE_TYPE
from mimicam.engine.render import write_picture
from mimicam.engine.sinks.video_writer import VideoWriter
from mimicam.engine.verify import DIFFERS, MATCH
from mimicam.engine.xmp import append_xmp
from tests.videos import grey, write_video

WEIGHTS = COMPACT_DIR / "weights.safetensors"


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    """A source and a driver; their content is only hashed."""
    source, driver = tmp_path / "source.mp4", tmp_path / "driver.mp4"
    source.write_bytes(b"source")
    driver.write_bytes(b"driver")
    return source, driver


def _result(path: Path, inputs: tuple[Path, Path]) -> Path:
    source, driver = map(sha256_of, inputs)
    marks = replace(EDITED, source=source, drivers=("9" * 64, driver), model=sha256_of(WEIGHTS))
    if path.suffix in (".png", ".jpg", ".webp"):
        write_picture(path, grey(90), marks)
        return path
    writer = VideoWriter(path, size=(64, 48), fps=25, provenance=marks)
    writer.write(grey(90), 0.0)
    writer.finish()
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.m4v", "a.mov", "a.mkv", "a.avi", "a.png", "a.jpg", "a.webp"])
def test_every_format_states_its_type_and_hashes(
    tmp_path: Path, inputs: tuple[Path, Path], name: str
) -> None:
    source, driver = inputs
    found = mimicam.verify(_result(tmp_path / name, inputs), source=source, driver=driver, model="compact")
    assert found.provenance is not None
    assert found.provenance.source_type == SOURCE_TYPE
    assert [each.outcome for each in found.comparisons] == [MATCH] * 3
    assert found.ok


def test_marks_in_the_comment_count_where_another_program_wrote_its_xmp(
    tmp_path: Path, inputs: tuple[Path, Path]
) -> None:
    other = f'<rdf:Description a:DigitalSourceType="{SOURCE_TYPE}" xmp:CreatorTool="Other 2"/>'.encode()
    path = _result(tmp_path / "a.mp4", inputs)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"uuid") - 4])
    with path.open("r+b") as file:
        append_xmp(file, other)
    found = mimicam.verify(path, source=inputs[0])
    assert found.ok


def test_a_changed_source_differs(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    out = _result(tmp_path / "a.mp4", inputs)
    inputs[0].write_bytes(b"sourcE")
    found = mimicam.verify(out, source=inputs[0])
    assert [each.outcome for each in found.comparisons] == [DIFFERS]
    assert not found.ok


def test_marked_videos_are_read_by_other_players(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    from mimicam.engine.sources.video import VideoFile

    (frame,) = VideoFile(_result(tmp_path / "a.mp4", inputs))
    assert np.abs(frame.image.astype(int) - 90).max() < 4


def test_the_model_may_be_named_or_be_its_weights(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    out = _result(tmp_path / "a.png", inputs)
    for model in ("compact", str(COMPACT_DIR), str(WEIGHTS)):
        assert mimicam.verify(out, model=model).ok
    with pytest.raises(EngineError, match="no model 'nowhere'"):
        mimicam.verify(out, model="nowhere")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["a.mp4", "--source", "source.mp4"], 0, "source source.mp4: match"),
        (["a.mp4", "--source", "driver.mp4"], 2, "source driver.mp4: differs"),
        (["plain.mp4"], 2, "plain.mp4: no marks, so nothing is known"),
        (["a.mp4", "plain.mp4"], 2, "a.mp4: marked as made by mimicam"),
        (["plain.mp4", "--driver", "driver.mp4"], 2, "driver driver.mp4: not recorded"),
        (["a.mp4", "nowhere.mp4"], 1, "a.mp4: marked as made by mimicam"),
    ],
)
def test_the_exit_code_tells_matches_from_others(
    tmp_path: Path,
    inputs: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    _result(tmp_path / "a.mp4", inputs)
    write_video(tmp_path / "plain.mp4", [grey(1)])
    assert main(["verify", *arguments]) == code
    shown = capsys.readouterr()
    assert said in shown.out
    assert "not signatures" in shown.out
    assert shown.err == ("error: there is no file nowhere.mp4: check the path\n" if code == 1 else "")


def test_json_states_the_same(
    tmp_path: Path, inputs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = _result(tmp_path / "a.webp", inputs)
    assert main(["verify", str(out), "--json", "--driver", str(inputs[1])]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["made_by_mimicam"]
    assert not found["signed"]
    assert found["digital_source_type"] == SOURCE_TYPE
    assert found["source_sha256"] == sha256_of(inputs[0])
    assert [each["outcome"] for each in found["compared"]] == ["match"]


@pytest.mark.parametrize("content", [b"", b"hello", b"\0\0\0\x18ftypisom" + b"\0" * 99, b"RIFF\4\0\0\0AVI "])
def test_a_bad_file_is_one_line(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.mp4").write_bytes(content)
    assert main(["verify", str(tmp_path / "bad.mp4")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "give one of PNG, JPEG" in line


def test_a_text_that_ffmpeg_would_draw_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("made by mimicam\n" * 50)
    with pytest.raises(EngineError, match="give one of"):
        mimicam.verify(tmp_path / "notes.txt")


def test_nothing_to_verify_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"]) == 1
    assert "no file is given" in capsys.readouterr().err
