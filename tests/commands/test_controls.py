"""The table of controls, and what is generated from its rows."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest
import tyro

from mimicam.benchmarks.latency import Bench
from mimicam.engine.commands.demo import Demo
from mimicam.engine.commands.edit import Edit
from mimicam.engine.commands.render import Render
from mimicam.engine.commands.run import Run
from mimicam.engine.control_options import edit_of, with_edit_options
from mimicam.engine.control_row import controls_of, values_of, with_values
from mimicam.engine.controls import (
    OFFLINE_EDIT,
    REGION_CONTROLS,
    STUDIO_EDIT,
    VIDEO_EDIT,
    Covered,
    EditSettings,
    Mode,
    MotionReference,
    Response,
)
from mimicam.engine.errors import EngineError
from mimicam.engine.face.regions import REGIONS
from mimicam.engine.web.command import Serve

NAMES = [
    "mode", "expression_gain", "eyes_gain", "brows_gain", "mouth_gain", "jaw_gain", "pose_gain", "expression_motion",
    "response", "pose_motion", "covered", "mirror",
]  # fmt: skip
CHANGED = {
    "mode": "exp", "expression_gain": 1.2, "eyes_gain": 0.9, "brows_gain": 1.5, "mouth_gain": 0.8, "jaw_gain": 0.0,
    "pose_gain": 0.5, "expression_motion": "relative", "response": "none",
    "pose_motion": "absolute", "covered": "ignore", "mirror": True,
}  # fmt: skip


def test_the_table_lists_these_controls() -> None:
    assert [row.name for row in controls_of(EditSettings)] == NAMES
    for row in controls_of(EditSettings):
        assert row.label, f"{row.name} has no caption for the page"
        assert row.help.endswith("."), f"the help of {row.name} is a sentence"


@pytest.mark.parametrize(
    ("command", "defaults", "without"),
    [
        (Run, EditSettings(), ()),
        (Bench, EditSettings(), ()),
        (Render, OFFLINE_EDIT, ()),
        (Edit, VIDEO_EDIT, (*REGION_CONTROLS, "response")),  # --strength sets them there
        (Serve, STUDIO_EDIT, ()),
        (Demo, EditSettings(), ("mode",)),  # it shows all of them
    ],
)
def test_each_command_has_an_option_per_control(
    command: Any, defaults: EditSettings, without: tuple[str, ...]
) -> None:
    fields = {field.name: field.default for field in dataclasses.fields(command)}
    wanted = {name: value for name, value in values_of(defaults).items() if name not in without}
    assert {name: fields[name] for name in NAMES if name in fields} == wanted
    if "mode" not in without:
        assert edit_of(command) == defaults, "a control that a command lacks has its default"


def test_each_region_has_a_control() -> None:
    assert tuple(f"{region}_gain" for region in REGIONS) == REGION_CONTROLS
    assert set(REGION_CONTROLS) < set(NAMES)


@dataclass(frozen=True, kw_only=True)
@with_edit_options(EditSettings())
class Command:
    """A command with nothing of its own."""


def test_options_are_read_back_as_settings() -> None:
    words = ["--mode", "exp", "--expression-gain", "1.2", "--brows-gain", "1.5", "--pose-gain", "0.5",
             "--expression-motion", "relative", "--response", "none", "--pose-motion", "absolute",
             "--covered", "ignore", "--mirror"]  # fmt: skip
    edit = edit_of(tyro.cli(Command, args=words))
    assert edit == EditSettings(
        mode=Mode.EXP, expression_gain=1.2, brows_gain=1.5, pose_gain=0.5, expression_motion=MotionReference.RELATIVE,
        response=Response.NONE, pose_motion=MotionReference.ABSOLUTE, covered=Covered.IGNORE,
        mirror=True,
    )  # fmt: skip
    assert edit_of(tyro.cli(Command, args=[])) == EditSettings()


def test_the_help_of_an_option_is_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tyro.cli(Command, args=["--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for row in controls_of(EditSettings):
        assert row.help in shown


@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("expression_gain", 2.1, "0 and 2"),
        ("jaw_gain", 2.1, "0 and 2"),
        ("pose_gain", -0.1, "0 and 1.5"),
        ("pose_gain", float("nan"), "0 and 1.5"),
    ],
)
def test_an_option_outside_its_range_is_refused(name: str, value: float, limits: str) -> None:
    command = dataclasses.replace(Command(), **{name: value})  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=f"--{name.replace('_', '-')} must lie between {limits}, not"):
        edit_of(command)


def test_a_choice_may_be_given_as_its_word() -> None:
    edit = EditSettings(mode="exp", covered="keep")  # type: ignore[arg-type]
    assert edit.mode is Mode.EXP, "code compares with is: a word would mean another mode"
    assert edit == EditSettings(mode=Mode.EXP)
    with pytest.raises(ValueError, match="mode must be one of"):
        EditSettings(mode="face")  # type: ignore[arg-type]


def test_values_survive_the_way_out_and_back() -> None:
    edit = with_values(EditSettings(), CHANGED)
    assert values_of(edit) == CHANGED
    assert isinstance(edit.mode, Mode)
    assert with_values(edit, {"height": 480}) == edit, "names of other tables change nothing"


@pytest.mark.parametrize("values", [{"mode": "sideways"}, {"expression_gain": 3.0}, {"pose_motion": ""}])
def test_values_that_do_not_fit_their_row_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must"):
        with_values(EditSettings(), values)
