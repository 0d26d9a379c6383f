"""``mimicam data render``: render heads with exact truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.training.synthetic import pack
from mimicam.training.synthetic.model import FaceModel
from mimicam.training.synthetic.quadruple import Generator
from mimicam.training.synthetic.render import Renderer


@dataclass(frozen=True, kw_only=True)
class RenderHeads:
    """Render heads with exact truth: two expressions by two poses each.

    Run it again to continue.
    """

    out: Path
    """The .npz file to write, or a folder that receives parts of 25 heads."""
    count: int = 1000
    """Number of heads, four pictures each."""
    seed: int = 1
    """The same seed gives the same heads."""
    size_px: int = 256
    """Side of the pictures, pixels."""
    model: Path | None = None
    """The head model, ict_face_model.npz. By default $MIMICAM_ICT_MODEL, then ../shared/data beside
    the repository."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise EngineError(f"--count must be at least 1, got {self.count}")
        if not 64 <= self.size_px <= 2048:
            raise EngineError(f"--size-px must lie in 64..2048, got {self.size_px}")

    def run(self) -> int:
        """Render what is missing, then merge; return the exit code."""
        refuse_to_overwrite_inputs([self.out], [self.model] if self.model else [])
        folder = pack.parts_folder(self.out)
        job = pack.Job(count=self.count, seed=self.seed, size_px=self.size_px, folder=folder)
        merged = self.out.suffix == ".npz"
        if merged and pack.is_finished(self.out, job):
            print(f"{self.out} is complete: {self.count} quadruples of seed {self.seed}")
            return 0
        model = FaceModel.load(self.model)
        rendered = self._render(job, model)
        if merged:
            pack.merge(job, self.out, {"expression_names": np.array(model.expression_names)})
        print(f"{self.out}: {self.count} quadruples of seed {self.seed}, {rendered} rendered now")
        return 0

    def _render(self, job: pack.Job, model: FaceModel) -> int:
        columns = (TextColumn("quadruples"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as bar:
            task = bar.add_task("render", total=job.count)
            return pack.render_parts(
                job,
                lambda: Generator(model, Renderer(model, job.size_px)),
                lambda done, _: bar.update(task, completed=done),
            )
