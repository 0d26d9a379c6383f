"""Jobs of a batch: one edit of a video each, read from CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from mimicam.engine.badge import Corner, corner_badge
from mimicam.engine.controls import Covered, EditSettings, Mode, MotionReference
from mimicam.engine.editing.channels import parse_changes, parse_value
from mimicam.engine.editing.driver import DriverLength
from mimicam.engine.editing.keyframes import NO_KEYFRAMES, parse_time, read_keyframes
from mimicam.engine.editing.plan import Plan
from mimicam.engine.editing.video import check_paths
from mimicam.engine.errors import EngineError
from mimicam.engine.files import is_same
from mimicam.engine.sinks.video_writer import container_format
from mimicam.engine.sources.video import check_readable


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One edit of a video. The fields are the columns, as in ``mimicam edit``."""

    source: Path
    out: Path
    driver: Path | None = None
    driver_length: DriverLength = DriverLength.HOLD
    preset: str = ""
    """``NAME=VALUE``, several with commas."""
    strength: str = ""
    keyframes: Path | None = None
    start: float = 0.0
    end: float | None = None
    face: str | None = None
    expression_gain: float = 1.0
    expression_motion: MotionReference = MotionReference.ABSOLUTE
    covered: Covered = Covered.KEEP
    mirror: bool = False
    badge: Corner = "off"
    badge_picture: Path | None = None

    @property
    def inputs(self) -> list[Path]:
        """Files that the job reads."""
        read = (self.source, self.driver, self.keyframes, self.badge_picture)
        return [path for path in read if path is not None]

    def plan(self) -> Plan:
        """Return what is changed over time.

        Raises:
            EngineError: it names what is not there.
        """
        return Plan(
            changes=parse_changes(*([words] if words else [] for words in (self.preset, self.strength))),
            keyframes=NO_KEYFRAMES if self.keyframes is None else read_keyframes(self.keyframes),
            start_s=self.start,
            end_s=float("inf") if self.end is None else self.end,
        )

    def settings(self) -> EditSettings:
        """Return gain, reference, mirror, and what becomes of covered parts of a face.

        Raises:
            EngineError: the gain is outside of its range.
        """
        try:
            return EditSettings(
                mode=Mode.EXP,
                expression_gain=self.expression_gain,
                expression_motion=self.expression_motion,
                covered=self.covered,
                mirror=self.mirror,
            )
        except ValueError as error:
            raise EngineError(f"{error}: correct it") from None

    def check(self) -> None:
        """Find mistakes before any work.

        Raises:
            EngineError: a file or an option does not fit.
        """
        for path in self.inputs:
            check_readable(path)
        if container_format(self.out) == "avi":
            raise EngineError(
                f"{self.out.name}: segments cannot be joined in AVI: name it .mp4, .mov or .mkv"
            )
        check_paths(self.source, self.out, self.driver)
        # Called for their errors alone: a slip in a row must show now, not after hours.
        corner_badge(self.badge, self.badge_picture)
        self.plan()
        self.settings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the file: a job, or why it is none."""

    number: int
    """Counts from 1."""
    job: Job | None = None
    error: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Cells of the row, as the file holds them."""


_COLUMNS = tuple(each.name for each in fields(Job))


def read_jobs(path: Path) -> list[Row]:
    """Read a ``.json`` or ``.csv`` file; paths count from its folder.

    A row with a mistake costs itself only.

    Raises:
        EngineError: the file cannot be read, holds no jobs, or has an unknown column.
    """
    try:
        # Spreadsheets write a byte order mark, which would become part of the first column's name.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"{path} cannot be read ({error}): give a JSON or CSV file of jobs") from error
    found = _of_json(text, path) if path.suffix.lower() == ".json" else _of_csv(text)
    if not found:
        raise EngineError(f"{path} holds no jobs: give rows with source and out")
    unknown = {name for row in found for name in row} - set(_COLUMNS)
    if unknown:
        raise EngineError(f"{path} has the column '{min(unknown)}': use {', '.join(_COLUMNS)}")
    rows: list[Row] = []
    for number, given in enumerate(found, start=1):
        # With the rows before it: the first that names a result keeps it.
        rows.append(_row(number, given, path.resolve().parent, rows))
    return rows


def _of_json(text: str, path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(text)
    # json raises RecursionError for brackets nested a thousand deep: the file is somebody else's.
    except (ValueError, RecursionError) as error:
        raise EngineError(f"{path} is not JSON ({error}): correct it, or give a CSV file") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise EngineError(f'{path} must hold a list of jobs: [{{"source": "a.mp4", "out": "b.mp4"}}]')
    return [{name: value for name, value in row.items() if value not in (None, "")} for row in rows]


def _of_csv(text: str) -> list[dict[str, Any]]:
    # Cells beyond the header need a name: DictReader files them under None otherwise.
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True, restkey="a further column")
    return [{name: value for name, value in row.items() if value not in (None, "")} for row in reader]


def _row(number: int, given: Mapping[str, Any], folder: Path, before: Sequence[Row]) -> Row:
    try:
        job = _job(given, folder)
        job.check()
        for other in before:
            if other.job is not None and is_same(other.job.out, job.out):
                raise EngineError(f"job {other.number} writes {job.out} already: choose another name")
    except EngineError as error:
        return Row(number=number, error=str(error), given=given)
    return Row(number=number, job=job, given=given)


def _job(given: Mapping[str, Any], folder: Path) -> Job:
    if missing := [name for name in ("source", "out") if name not in given]:
        raise EngineError(f"it has no {missing[0]}: add it")
    values = dict(given)
    try:
        for name in ("source", "out", "driver", "keyframes", "badge_picture"):
            if name in values:
                # An absolute path replaces the folder, so both kinds work.
                values[name] = folder / str(values[name])
        for name in ("start", "end"):
            if name in values:
                values[name] = parse_time(str(values[name]))
        if "driver_length" in values:
            values["driver_length"] = DriverLength(str(values["driver_length"]))
        if "expression_motion" in values:
            values["expression_motion"] = MotionReference(str(values["expression_motion"]))
        if "covered" in values:
            values["covered"] = Covered(str(values["covered"]))
        if "expression_gain" in values:
            values["expression_gain"] = parse_value(str(values["expression_gain"]))
        if "badge" in values:
            values["badge"] = _corner(str(values["badge"]))
        if "mirror" in values:
            values["mirror"] = _switch(str(values["mirror"]))
    except ValueError as error:
        raise EngineError(f"{error}: correct it") from None
    for name in ("preset", "strength", "face"):
        if name in values:
            values[name] = str(values[name])
    return Job(**values)


def _corner(text: str) -> Corner:
    known: dict[str, Corner] = {corner: corner for corner in get_args(Corner)}
    if text not in known:
        raise ValueError(f"badge must be one of {', '.join(known)}, not {text}")
    return known[text]


def _switch(text: str) -> bool:
    known = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
    if text.lower() not in known:
        raise ValueError(f"mirror must be on or off, not {text}")
    return known[text.lower()]
