"""``mimicam edit``: its lists, its dry run, its refusals."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from mimicam.engine.assets_manifest import ASSETS
from mimicam.engine.commands import main
from mimicam.engine.sources.video import VideoFile
from tests.videos import grey, write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = [timed.image for timed in islice(VideoFile(ASSETS / "demo" / "driver.mp4"), 3)]
    return write_video(tmp_path_factory.mktemp("edit") / "clip.mp4", images)


def test_a_video_is_edited(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.mp4"
    words = [
        "edit",
        str(clip),
        "-o",
        str(out),
        "--preset",
        "smile=1",
        "--preset",
        "blink=off",
        "--strength",
        "jaw=0.5",
    ]
    assert main(words) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    assert len(list(VideoFile(out))) == 3


def test_the_people_are_listed(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edit", str(clip), "--list-faces"]) == 0
    assert capsys.readouterr().out.startswith("1: at ")


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "k.csv"
    keys.write_text("time,channel,value\n0,smile,0\n2,smile,1\n")
    out = tmp_path / "out.mp4"
    words = ["edit", str(clip), "-o", str(out), "--preset", "pout=0.5", "--keyframes", str(keys), "--dry-run"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "pout = 0.5" in shown
    assert "0.00 s  smile = 0, ease to the next" in shown
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "out.mp4", "--preset", "grin=1"], "no channel 'grin': choose one of neutral, smile"),
        ([], "no file to write was given: add -o OUT"),
        (["-o", "out.mp4", "--mode", "both"], "mode both moves the head"),
        (["-o", "out.docx"], "names no video format"),
        (["-o", "out.mp4", "--start", "3", "--end", "1"], "--start and --end must be"),
        (["-o", "out.mp4", "--driver", "none.mp4"], "there is no file none.mp4"),
        (["-o", "out.mp4", "--expression-gain", "5"], "--expression-gain must lie between 0 and 2"),
    ],
)
def test_a_refusal_is_one_line(
    words: list[str], message: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["edit", str(clip), *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_video_without_a_face_lists_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = write_video(tmp_path / "empty.mp4", [grey(80)] * 3)
    assert main(["edit", str(empty), "--list-faces"]) == 0
    assert capsys.readouterr().out == "no face is seen\n"
