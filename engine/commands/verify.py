"""``mimicam verify``: read the marks of results."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from mimicam.engine.provenance import Provenance
    from mimicam.engine.verify import Verified

NOT_VERIFIED = 2
"""Exit code where a file has no marks of mimicam, or a hash does not match."""
_LIMITS = "These marks can be removed or forged: they are not signatures."


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Show whether pictures and videos carry marks of mimicam, and which hashes they state.

    Ends with 0 if all files do and all hashes match, with 2 if not, and with 1 if a file cannot be
    read. Marks can be removed or forged: they are not signatures.
    """

    files: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILE")]
    """Results, or any PNG, JPEG, WebP, MP4, MOV, MKV, WebM or AVI."""
    source: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Compare this file's hash with the source's: the edited video, or the portrait's picture."""
    driver: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Compare this file's hash with the driver's."""
    model: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """Compare this model's weights: compact, or the path of a model."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""

    def run(self) -> int:
        """Print what each file's marks state."""
        from mimicam.engine.errors import EngineError
        from mimicam.engine.verify import compare, given_files

        if not self.files:
            raise EngineError("no file is given: name a result, for example mimicam verify out.mp4")
        given = given_files(source=self.source, driver=self.driver, model=self.model)
        found: list[Verified] = []
        unreadable = False
        for path in self.files:
            try:
                found.append(compare(path, given))
            except EngineError as error:
                print(f"error: {error}", file=sys.stderr)
                unreadable = True
        self._print(found)
        if unreadable:
            return 1
        return 0 if all(each.ok for each in found) else NOT_VERIFIED

    def _print(self, found: list[Verified]) -> None:
        import json

        if self.json:
            print(json.dumps([_values(each) for each in found], indent=2))
            return
        for each in found:
            print("\n".join(_lines(each)))
        if found:
            print(_LIMITS)


def _lines(found: Verified) -> list[str]:
    marks = found.provenance
    if marks is None:
        return [f"{found.path}: no marks, so nothing is known of its making", *_compared(found)]
    tool = marks.tool or "an unnamed program"
    head = f"marked as made by {tool}" if marks.by_mimicam else f"no marks of mimicam; marked by {tool}"
    return [
        f"{found.path}: {head}",
        *([f"  {marks.note}"] if marks.note else []),
        f"  digital source type: {_meaning(marks.source_type)}",
        *_hashes(marks),
        *_covered(marks),
        *_compared(found),
    ]


def _meaning(address: str) -> str:
    from mimicam.engine.provenance import SOURCE_TYPE

    word = address.rpartition("/")[2]
    if address == SOURCE_TYPE:
        return f"{word} (a photograph or video that a trained network changed)"
    return word or "none stated"


def _hashes(marks: Provenance) -> list[str]:
    named = [("source", marks.source), *(("driver", one) for one in marks.drivers), ("model", marks.model)]
    stated = [f"  {role} sha256: {value}" for role, value in named if value]
    stated += [f"  {marks.live}: a live camera, which has no hash"] if marks.live else []
    return stated or (["  no hashes are recorded"] if marks.by_mimicam else [])


def _covered(marks: Provenance) -> list[str]:
    stated = (("covered", marks.covered), ("covered in the driver", marks.driver_covered))
    return [
        f"  {name}: {', '.join(f'{part} in {count} frames' for part, count in counts.items())}"
        for name, counts in stated
        if counts
    ]


def _compared(found: Verified) -> list[str]:
    return [f"  {each.role} {each.given}: {each.outcome}" for each in found.comparisons]


def _values(found: Verified) -> dict[str, Any]:
    marks = found.provenance
    return {
        "file": str(found.path),
        "made_by_mimicam": marks is not None and marks.by_mimicam,
        "tool": marks.tool if marks else "",
        "note": marks.note if marks else "",
        "digital_source_type": marks.source_type if marks else "",
        "source_sha256": marks.source if marks else "",
        "driver_sha256": list(marks.drivers) if marks else [],
        "model_sha256": marks.model if marks else "",
        "live": marks.live if marks else "",
        "covered_frames": marks.covered if marks else None,
        "driver_covered_frames": marks.driver_covered if marks else None,
        "compared": [
            {"role": each.role, "given": each.given, "sha256": each.sha256, "outcome": each.outcome}
            for each in found.comparisons
        ],
        "ok": found.ok,
        "signed": False,
    }
