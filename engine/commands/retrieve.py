"""``mimicam retrieve``: find pictures with a given expression and head pose."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from mimicam.engine.backends.registry import BackendName

if TYPE_CHECKING:
    from mimicam.engine.retrieval.retrieve import Retrieved


@dataclass(frozen=True, kw_only=True)
class Retrieve:
    """Find the pictures of a folder whose expression and head pose are most like a query's."""

    query: Path
    """Picture of one face."""
    gallery: Path
    """Folder of pictures, searched with its subfolders. It is indexed once; later calls read only
    new and changed pictures."""
    count: Annotated[int, tyro.conf.arg(aliases=["-k"], metavar="N")] = 10
    """Number of pictures to find."""
    by: Literal["pose-code", "tracker"] = "pose-code"
    """pose-code compares a DAE-GAN's codes of pose and expression; tracker the face tracker's
    blendshapes and head angles, which needs no model."""
    model: str | None = None
    """daegan where it is bundled ('mimicam models list'), or the path of a DAE-GAN or of another model
    that encodes the driver's picture."""
    backend: BackendName = "auto"
    """Backend that runs the model."""
    index: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Index file; by default one in the user's cache."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="OUT.png")] = None
    """Picture to write: the query's face, then those found."""

    def run(self) -> int:
        """Update the index, search, and print what was found."""
        from mimicam.engine.commands.frame_progress import FrameProgress
        from mimicam.engine.files import refuse_to_overwrite_inputs
        from mimicam.engine.models.load import load_model
        from mimicam.engine.retrieval.index import pictures_of
        from mimicam.engine.retrieval.retrieve import iter_retrieve, write_sheet

        outputs = [path for path in (self.sheet, self.index) if path is not None]
        inputs = [self.query, *([] if self.model is None else [Path(self.model)])]
        refuse_to_overwrite_inputs(outputs, [*inputs, *pictures_of(self.gallery)])
        model = None if self.model is None else load_model(self.model, self.backend)
        with FrameProgress(errors=True) as bar:
            steps = iter_retrieve(
                self.query, self.gallery, model=model, by=self.by, count=self.count, index=self.index,
                tell=lambda line: bar.tell(f"skipped: {line}"),
            )  # fmt: skip
            found = bar.follow(steps)
        if self.sheet is not None:
            write_sheet(self.query, found, self.sheet)
        self._print(found)
        return 0

    def _print(self, found: Retrieved) -> None:
        if self.json:
            print(json.dumps(self._facts(found), indent=1))
            return
        for match in found.matches:
            print(f"{match.score:.4f}  {match.path}")
        if found.skipped:
            print(f"{len(found.skipped)} pictures without a usable face were skipped", file=sys.stderr)
        if self.sheet is not None:
            print(f"wrote {self.sheet}")

    def _facts(self, found: Retrieved) -> dict[str, Any]:
        return {
            "query": str(self.query),
            "by": self.by,
            "matches": [
                {
                    "path": str(match.path),
                    "score": match.score,
                    **dict(
                        zip(("yaw_rad", "pitch_rad", "roll_rad"), match.tracked[-3:].tolist(), strict=True)
                    ),
                }
                for match in found.matches
            ],
            "skipped": found.skipped,
        }
