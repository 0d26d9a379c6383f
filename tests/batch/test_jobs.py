"""Jobs from files: what they may hold, and that a row with a mistake costs itself only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.batch.jobs import read_jobs
from mimicam.engine.controls import Covered, Mode, MotionReference
from mimicam.engine.editing.driver import DriverLength
from mimicam.engine.errors import EngineError
from tests.videos import write_video


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, [np.zeros((32, 32, 3), np.uint8)] * 2)
    return tmp_path


def jobs(folder: Path, text: str, name: str = "jobs.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_csv_and_json_are_alike(folder: Path) -> None:
    columns = "source,out,driver,driver_length,preset,start,end,expression_gain,expression_motion,covered,mirror,face"
    values = 'a.mp4,o.mp4,b.mp4,loop,"smile=0.5,blink=off",0:01,2.5,0.8,relative,ignore,on,1'
    given = {
        "source": "a.mp4", "out": "o.mp4", "driver": "b.mp4", "driver_length": "loop", "preset": "smile=0.5,blink=off",
        "start": 1, "end": 2.5, "expression_gain": 0.8, "expression_motion": "relative", "covered": "ignore",
        "mirror": True, "face": 1,
    }  # fmt: skip
    (of_csv,) = read_jobs(jobs(folder, f"{columns}\n{values}\n"))
    (of_json,) = read_jobs(jobs(folder, json.dumps([given]), "jobs.json"))
    assert of_csv.job == of_json.job
    job = of_csv.job
    assert job is not None
    assert (job.source, job.out) == (folder / "a.mp4", folder / "o.mp4"), "paths count from the file's folder"
    assert job.driver_length is DriverLength.LOOP
    assert job.plan().changes.presets == {"smile": 0.5, "blink": 0.0}
    assert (job.plan().start_s, job.plan().end_s) == (1.0, 2.5)
    edit = job.settings()
    assert (edit.mode, edit.expression_gain, edit.mirror) == (Mode.EXP, 0.8, True)
    assert edit.expression_motion is MotionReference.RELATIVE
    assert edit.covered is Covered.IGNORE


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("none.mp4,o.mp4,", "there is no file"),
        ("a.mp4,,", "it has no out: add it"),
        ("a.mp4,o.avi,", "segments cannot be joined in AVI"),
        ("a.mp4,a.mp4,", "would replace"),
        ("a.mp4,o.mp4,smlie=1", "no channel 'smlie'"),
        ("a.mp4,good.mp4,", "job 1 writes .*good.mp4 already"),
    ],
)
def test_a_row_with_a_mistake_costs_itself(folder: Path, row: str, message: str) -> None:
    good, bad, last = read_jobs(
        jobs(folder, f"source,out,preset\na.mp4,good.mp4,\n{row}\nb.mp4,last.mp4,smile=1\n")
    )
    assert good.job is not None
    assert last.job is not None
    assert bad.job is None
    with pytest.raises(EngineError, match=message):
        raise EngineError(bad.error)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("driver_length", "bounce", "'bounce' is not a valid DriverLength"),
        ("expression_motion", "odd", "'odd' is not a valid MotionReference"),
        ("covered", "maybe", "'maybe' is not a valid Covered"),
        ("expression_gain", 9, "expression_gain must lie in 0..2"),
        ("start", "soon", "could not convert"),
        ("mirror", "perhaps", "mirror must be on or off, not perhaps"),
        ("end", -1, "is not a time"),
    ],
)
def test_a_value_of_another_kind_is_named(folder: Path, field: str, value: object, message: str) -> None:
    given = [{"source": "a.mp4", "out": "o.mp4", field: value}]
    (row,) = read_jobs(jobs(folder, json.dumps(given), "jobs.json"))
    assert row.job is None
    assert message in row.error


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("jobs.csv", "source,out\n", "holds no jobs"),
        ("jobs.csv", "source,out,colour\na.mp4,o.mp4,red\n", "has the column 'colour': use source, out"),
        ("jobs.csv", "source,out\na.mp4,o.mp4,smile=1\n", "has the column 'a further column'"),
        ("jobs.json", "{}", "must hold a list of jobs"),
        ("jobs.json", "[", "is not JSON"),
    ],
)
def test_a_file_that_holds_no_jobs_is_refused(folder: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        read_jobs(jobs(folder, text, name))
