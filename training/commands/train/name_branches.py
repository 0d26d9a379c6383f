"""``mimicam train name-branches``: the last step of ``mimicam train dpe``, from a run to a
model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.nn.functional import l1_loss

from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.training.commands.train.dpe import find_preset, make_batches
from mimicam.training.dpe.branches import measure_branches
from mimicam.training.dpe.face import TrackerFeatures
from mimicam.training.dpe.recipe import DpeRecipe
from mimicam.training.trainer import Trainer, TrainerOptions

_PAIRS = 4
"""Pairs per batch."""


@dataclass(frozen=True, kw_only=True)
class NameBranches:
    """Measure which branch of a DPE run moves expression and which pose, name them, and write the
    model."""

    run_folder: Path
    """Folder of a run of 'mimicam train dpe'."""
    out: Path
    """The model to write; ends in .safetensors."""
    pack: Path
    """Pack whose validation people are measured."""
    landmarks: Path
    """face_landmarks_478.onnx, which measures."""
    blendshapes: Path
    """face_blendshapes_52.onnx, which measures."""
    preset: str = "published"
    """Size of the networks, as given to 'mimicam train dpe'."""
    batches: int = 16
    """Number of batches of four pairs that are measured."""
    least: float = 0.5
    """Smallest difference between the branches that is accepted. A perfect model has 2; untrained
    ones were measured at up to 0.6 over few pairs."""

    def run(self) -> None:
        """Measure and name the branches, then write the model."""
        inputs = (self.run_folder, self.pack, self.landmarks, self.blendshapes)
        # Before minutes of measuring.
        refuse_to_overwrite_inputs([self.out, self.out.with_suffix(".json")], inputs)
        config = find_preset(self.preset)
        reader = TrackerFeatures(self.landmarks, self.blendshapes)
        recipe = DpeRecipe(l1_loss, reader, config=config)  # never takes a step, so any distance will do
        if not Trainer(recipe, TrainerOptions(out=self.run_folder, steps=0)).resume():
            raise EngineError(f"{self.run_folder} holds no checkpoint.pt: give the folder of a run")
        # Frames that differ tell the branches apart better than random ones.
        drawn = make_batches(self.pack, config, _PAIRS, kind="mined", validation=True, seed=2)
        report = measure_branches(recipe.average.edit, reader.read, _pairs(drawn.batch, self.batches))
        print(report)
        written = recipe.write_model(self.out, report, least=self.least)
        print(f"wrote {written.out}" + (", branches exchanged" if report.swapped else ""))


def _pairs(batch: Callable[[int], dict[str, Tensor]], count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield source and driving pictures in -1..1."""
    for index in range(count):
        drawn = batch(index)
        yield drawn["source"].float() / 127.5 - 1, drawn["target"].float() / 127.5 - 1
