"""``mimicam data reexpress``: re-render real portraits with other expressions."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.training.data.pack_folder import pack_files
from mimicam.training.synthetic.landmark_map import landmark_map
from mimicam.training.synthetic.model import FaceModel
from mimicam.training.synthetic.portrait_pairs import PortraitStudio
from mimicam.training.synthetic.reexpressed import (
    Outcome,
    ReexpressionJob,
    SourcePicture,
    choose,
    make_parts,
    sets_of,
    write_pack,
)


@dataclass(frozen=True, kw_only=True)
class Reexpress:
    """Fit the head model to people of packs and re-render them with other expressions.

    Run it again to continue.
    """

    packs: tuple[Path, ...]
    """Packs of clips or photos, 256 pixels, written by 'mimicam data pack'."""
    out: Path
    """Folder of the new pack."""
    photos: Path | None = None
    """CSV with the columns file and notes about a pack's pictures. Only those whose notes contain
    "photo" are used."""
    frames: int = 6
    """Largest number of frames per person."""
    variants: int = 4
    """Number of expressions per frame."""
    seed: int = 1
    """The same seed gives the same expressions."""
    minutes: float | None = None
    """Stop fitting after this many minutes and pack what is finished; run it again to continue."""
    sheet: Path | None = None
    """Write a picture with some of the results here."""
    model: Path | None = None
    """The head model, ict_face_model.npz. By default $MIMICAM_ICT_MODEL, then ../shared/data beside
    the repository."""

    def __post_init__(self) -> None:
        if self.frames < 1 or self.variants < 1:
            raise EngineError(
                f"--frames and --variants must be at least 1, got {self.frames} and {self.variants}"
            )

    def run(self) -> int:
        """Make what is missing, then the pack; return the exit code."""
        read = list(filter(None, (*self.packs, self.photos, self.model)))
        refuse_to_overwrite_inputs([*pack_files(self.out), *filter(None, [self.sheet])], read)
        found = [p for pack in self.packs for p in self._portraits(pack)]
        # Shuffled, so that a run that is stopped early has portraits of every pack.
        order = np.random.default_rng(self.seed).permutation(len(found))
        job = ReexpressionJob(
            portraits=tuple(found[i] for i in order), variants=self.variants, seed=self.seed, out=self.out
        )
        self._make(job, FaceModel.load(self.model))
        _report(write_pack(job), self.out)
        if self.sheet is not None:
            write_sheet(self.out, self.sheet)
        return 0

    def _make(self, job: ReexpressionJob, model: FaceModel) -> None:
        until = np.inf if self.minutes is None else time.monotonic() + 60 * self.minutes
        columns = (TextColumn("portraits"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as bar:
            task = bar.add_task("fit", total=len(job.portraits))

            def go_on(done: int) -> bool:
                bar.update(task, completed=done)
                return bool(time.monotonic() < until)

            make_parts(job, lambda: PortraitStudio(model, landmark_map()), go_on)

    def _portraits(self, pack: Path) -> list[SourcePicture]:
        if self.photos is None:
            return choose(pack, self.frames)
        with self.photos.open(newline="") as lines:
            notes = {row["file"]: row["notes"] for row in csv.DictReader(lines)}
        everything = choose(pack, self.frames)
        # The list is of another pack: then all of this one's pictures are taken.
        if not any(p.file in notes for p in everything):
            return everything
        return choose(pack, self.frames, frozenset(f for f, note in notes.items() if "photo" in note))


def _report(tally: Outcome, out: Path) -> None:
    # Residuals are shares of the picture's side: 256 pixels make packs of all sizes comparable.
    fits = np.array(tally.residuals) * 256
    misses = np.array(tally.misses) * 256
    print(f"{out}: {tally.portraits} portraits, {tally.pictures} pictures")
    print(f"fit, px at 256: median {np.median(fits):.2f}, 95 % {np.percentile(fits, 95):.2f}")
    print(
        f"tracked against asked, px at 256: median {np.median(misses):.2f}, 95 % {np.percentile(misses, 95):.2f}"
    )
    print(f"re-renderings: {tally.followed} kept, {tally.missed} refused")
    for reason, count in tally.refused.most_common():
        print(f"portraits refused: {count}, {reason}")


def write_sheet(pack: Path, out: Path, rows: int = 14) -> None:
    """Draw a few portraits at full size, each beside its re-renderings."""
    sets = list(sets_of(pack))
    shown = [sets[i] for i in np.linspace(0, len(sets) - 1, min(rows, len(sets))).astype(int)]
    wide = max(map(len, shown))
    lines = [np.hstack([*s, *[np.zeros_like(s[0])] * (wide - len(s))]) for s in shown]
    cv2.imwrite(str(out), np.vstack(lines)[..., ::-1])
