"""Keyframes from files, and the plan over time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimicam.engine.editing.channels import Changes
from mimicam.engine.editing.keyframes import EASINGS, read_keyframes
from mimicam.engine.editing.plan import Plan
from mimicam.engine.errors import EngineError

CSV = """time,channel,value,easing,apply
1,smile,0,linear,
3,smile,1,hold,
5,smile,0.5,,
0:02.5,eyes,0.25,,
4,jawOpen,0.3,linear,replace
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_values_go_from_key_to_key(tmp_path: Path) -> None:
    keys = read_keyframes(write(tmp_path / "k.csv", CSV))
    values = [keys.at(time_s)["smile"] for time_s in (0, 1, 2, 3, 4.9, 5, 9)]
    assert values == pytest.approx([0, 0, 0.5, 1, 1, 0.5, 0.5])
    assert keys.replaced == {"jawOpen"}


def test_json_and_csv_are_alike(tmp_path: Path) -> None:
    rows = [{"time": 1, "channel": "smile", "value": 0, "easing": "linear"},
            {"time": 3, "channel": "smile", "value": 1}]  # fmt: skip
    read = read_keyframes(write(tmp_path / "k.json", json.dumps(rows)))
    assert read.at(2.0) == {"smile": 0.5}
    assert read.channels["smile"][1].easing == "ease"


@pytest.mark.parametrize("name", EASINGS)
def test_every_easing_starts_at_the_first_value_and_never_leaves_the_range(name: str) -> None:
    ease = EASINGS[name]
    steps = [ease(part / 10) for part in range(11)]
    assert steps[0] == 0
    assert steps == sorted(steps)
    assert steps[-1] == (0 if name == "hold" else 1)


def test_the_plan_joins_options_and_keyframes(tmp_path: Path) -> None:
    keys = read_keyframes(write(tmp_path / "k.csv", CSV))
    plan = Plan(changes=Changes(presets={"smile": 2.0, "pout": 0.1}), keyframes=keys)
    changes = plan.at(2.0)
    assert changes.presets == pytest.approx({"smile": 0.5, "pout": 0.1, "jawOpen": 0.3})
    assert changes.strengths == {"eyes": 0.25}
    assert changes.replaced == {"jawOpen"}
    assert any("smile = 1, hold to the next" in line for line in plan.describe())


def test_a_range_has_soft_ends() -> None:
    plan = Plan(start_s=1.0, end_s=2.0)
    assert [plan.share(time_s) for time_s in (0.5, 1.0, 1.5, 2.0, 3.0)] == [0, 0, 1, 0, 0]
    assert 0 < plan.share(1.06) < 1
    assert Plan().share(0.0) == 1, "an edit from the first frame on does not fade in"


@pytest.mark.parametrize(("start_s", "end_s"), [(-1.0, 2.0), (2.0, 2.0), (3.0, 1.0), (float("nan"), 2.0)])
def test_a_range_that_ends_before_it_starts_is_refused(start_s: float, end_s: float) -> None:
    with pytest.raises(EngineError, match="--start and --end"):
        Plan(start_s=start_s, end_s=end_s)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("k.json", "{", "is not JSON"),
        ("k.json", "[" * 100_000, "is not JSON"),
        ("k.json", "{}", "must hold a list of keyframes"),
        ("k.json", "[]", "holds no keyframes"),
        ("k.json", '[{"time": 1}]', "keyframe 1 of k.json lacks one of time, channel, value"),
        (
            "k.csv",
            "time,channel,value\nsoon,smile,1\n",
            "keyframe 1 of k.csv has a time or value that is no number",
        ),
        ("k.csv", "time,channel,value\n1,smlie,1\n", "keyframe 1 of k.csv: no channel 'smlie'"),
        ("k.csv", "time,channel,value\n-1,smile,1\n", "no number"),
        ("k.csv", "time,channel,value,easing\n1,smile,1,bounce\n", "easing is one of linear, ease"),
        ("k.csv", "time,channel,value,ease\n1,smile,1,linear\n", "has the field 'ease'"),
    ],
)
def test_wrong_files_are_refused_with_the_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        read_keyframes(write(tmp_path / name, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        read_keyframes(tmp_path / "none.json")
