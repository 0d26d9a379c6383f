"""``mimicam train daegan-ablation``: the ablation of DAE-GAN's table 1 at small scale."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from mimicam.engine.errors import EngineError
from mimicam.engine.models.daegan.presets import PRESETS
from mimicam.engine.models.daegan.trunk_weights import read_trunk
from mimicam.engine.models.daegan.weights import save_daegan
from mimicam.engine.types import Image
from mimicam.training.commands.train.daegan import start_from
from mimicam.training.daegan.ablation import PAPER, VARIANTS, Variant, first_frame, measure
from mimicam.training.daegan.options import DaeGanOptions
from mimicam.training.daegan.recipe import DaeGanRecipe
from mimicam.training.daegan.videos import VideoSampler
from mimicam.training.data.pack_folder import check_pack
from mimicam.training.data.pairs import FramePack
from mimicam.training.trainer import Trainer, TrainerOptions, set_threads

_SEED_OF_VALIDATION = 1
Figures = dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class TrainDaeGanAblation:
    """Train each row of DAE-GAN's ablation, measure it on people kept out, and print the table.

    Rows: vanilla, then smoothness, several frames, several scales, adversarial learning and feature
    matching, each added to the row before. Run it again with the same --out to continue.
    """

    pack: Path
    """Pack of clips, written by 'mimicam data pack'."""
    out: Path
    """Folder: a run for each row, and ablation.json."""
    preset: str = "daegan-compact-64"
    """Size of the networks, one of 'mimicam train daegan'."""
    frames: int = 8
    """Frames of a portrait in rows that have several."""
    batch: int = 8
    """Videos per step."""
    steps: int = 2000
    """Steps of each row; the last two go on from the fourth for as many."""
    lr: float = 1e-3
    """Learning rate of the embedders."""
    lr_generator: float = 4e-4
    """Learning rate of the generator. The discriminator's is four times as high."""
    measured: int = 16
    """Validation batches that are measured."""
    perceptual: Path | None = None
    """torchvision's mobilenet_v2 weights; adds a Frechet distance on its features."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """PyTorch device that trains."""
    threads: int = 0
    """CPU threads of PyTorch; 0 uses all cores."""
    seed: int = 0
    """Seed of the initial weights and of the batches."""

    def run(self) -> None:
        """Train what is not finished, measure, and print the table."""
        if self.preset not in PRESETS:
            raise EngineError(f"there is no preset '{self.preset}': choose one of {', '.join(PRESETS)}")
        check_pack(self.pack)
        set_threads(self.threads)
        figures: Figures = {}
        for variant in VARIANTS:
            recipe, finished = self._train(variant)
            if not finished:
                print(f"stopped in row {variant.name}: run the command again to continue")
                return
            figures[variant.name] = measure(recipe, self._validation(), variant, self._frechet())
        _show(figures)
        path = self.out / "ablation.json"
        # Only when all rows are measured: a table that lacks some would be read as complete.
        path.write_text(
            json.dumps({"steps": self.steps, "preset": self.preset, "figures": figures}, indent=1)
        )
        print(f"wrote {path}")

    def _train(self, variant: Variant) -> tuple[DaeGanRecipe, bool]:
        """Return a row's recipe, and whether it reached its last step."""
        # For each row anew: rows differ by their part alone, not by where they start.
        torch.manual_seed(self.seed)
        stage_one = 0 if variant.generated else self.steps
        options = DaeGanOptions(
            stage_one_steps=stage_one,
            # The rate of stage 1 falls as in a run that has a second stage.
            steps=self.steps if variant.generated else 2 * self.steps,
            lr=self.lr,
            lr_generator=self.lr_generator,
            lr_discriminator=4 * self.lr_generator,
            **variant.options,
        )
        recipe = DaeGanRecipe(options, config=PRESETS[self.preset], device=self.device)
        if recipe.trunk_encoders():
            # It is never trained: fresh values would leave noise to read from.
            recipe.start_from_trunk(read_trunk())
        folder = self.out / variant.name
        trainer = Trainer(recipe, TrainerOptions(out=folder, steps=self.steps))
        if not trainer.resume() and variant.generated:
            start_from(recipe, self._last_reconstruction() / "model.safetensors")
        stream = self._sampler(validation=False).stream
        # From the same stream, so that rows of one frame are compared on the same targets.
        reached = trainer.run(first_frame(stream) if variant.single_frame else stream)
        save_daegan(recipe.model, folder / "model.safetensors")
        return recipe, reached >= self.steps

    def _last_reconstruction(self) -> Path:
        return self.out / [variant.name for variant in VARIANTS if not variant.generated][-1]

    def _sampler(self, *, validation: bool) -> VideoSampler:
        return VideoSampler(
            FramePack(self.pack, validation=validation),
            size=PRESETS[self.preset].size,
            frames=self.frames,
            batch=self.batch,
            seed=_SEED_OF_VALIDATION if validation else self.seed,
        )

    def _validation(self) -> list[dict[str, torch.Tensor]]:
        """Return the same portraits and targets for every row."""
        sampler = self._sampler(validation=True)
        return [sampler.batch(step) for step in range(self.measured)]

    def _frechet(self) -> Callable[[list[Image], list[Image]], float] | None:
        if self.perceptual is None:
            return None
        from mimicam.training.evaluation.perceptual import PictureFeatures

        return PictureFeatures(self.perceptual).frechet


def _show(figures: Figures) -> None:
    """Print SSIM and Frechet distance of each row, the paper's beside; theirs is FID at 256
    pixels."""
    names = list(next(iter(figures.values())))
    table = Table("added", *names, "SSIM (paper)", "FID (paper)", title="DAE-GAN, table 1: ablation")
    for name, values in figures.items():
        table.add_row(name, *(f"{value:.4f}" for value in values.values()), *map(str, PAPER[name]))
    Console().print(table)
