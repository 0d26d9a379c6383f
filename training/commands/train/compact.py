"""``mimicam train compact``: train the compact preset on packs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from mimicam.engine.errors import EngineError
from mimicam.training.compact.recipe import CompactOptions, CompactRecipe
from mimicam.training.compact.weights import load_average
from mimicam.training.data.pack_folder import check_pack
from mimicam.training.data.pairs import FramePack, Mixture, PairSampler, shares_of_batch
from mimicam.training.trainer import Trainer, TrainerOptions, set_threads


@dataclass(frozen=True, kw_only=True)
class TrainCompact:
    """Train the compact preset. Run it again with the same --out to continue where it stopped."""

    pack: Path
    """Pack of clips, written by 'mimicam data pack'."""
    synthetic: Path | None = None
    """Pack of rendered heads, written by 'mimicam data pack-rendered'."""
    synthetic_share: float = 0.125
    """Share of each batch that comes from --synthetic, 0 to 1."""
    reexpressed: Path | None = None
    """Pack of portraits re-rendered with other expressions, written by 'mimicam data reexpress'."""
    reexpressed_share: float = 0.125
    """Share of each batch that comes from --reexpressed, 0 to 1."""
    out: Path
    """Folder of the run: checkpoint, loss curve, sample grids."""
    size: int = 256
    """Side of the training pictures, pixels."""
    batch: int = 16
    """Pairs per step."""
    steps: int = 20_000
    """Step at which the run ends and the learning rate reaches --lr-final."""
    first_step: int = 0
    """Step at which the learning-rate schedule of this stage begins."""
    lr: float = 4e-4
    """Learning rate after the warm-up."""
    lr_final: float = 5e-5
    """Learning rate at the last step."""
    minutes: float | None = None
    """Stop after this many minutes."""
    perceptual: Path | None = None
    """torchvision's mobilenet_v2 weights, for the perceptual loss."""
    perceptual_weight: float = 0.1
    """Weight of the perceptual loss."""
    landmarks: Path | None = None
    """The tracker's landmark network as ONNX, for the landmark loss."""
    landmark_weight: float = 2.0
    """Weight of the landmark loss."""
    cross_identity: int = 0
    """Number of portraits per batch that another person drives as well. Only their landmarks are
    compared, since no true picture exists. Needs --landmarks."""
    cross_identity_weight: float = 1.0
    """Weight of the cross-identity loss, relative to --landmark-weight."""
    gan: float = 0.0
    """Weight of the adversarial loss, for a last stage (0.02 is a start). 0 trains without a
    discriminator."""
    gan_parts: float = 0.0
    """Weight of the adversarial losses of the mouth and of the eyes, which have discriminators of
    their own."""
    gan_features: float = 1.0
    """Weight of feature matching, where there is a discriminator."""
    weights: Path | None = None
    """Checkpoint whose averaged weights a new run starts from; the small one of a remote GPU works
    too."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """PyTorch device that trains."""
    threads: int = 0
    """CPU threads of PyTorch; 0 uses all cores."""
    seed: int = 0
    """Seed of the initial weights and of the batches."""

    def run(self) -> None:
        """Train until the last step, the time limit, or Ctrl-C."""
        check_pack(self.pack)
        if self.cross_identity and self.landmarks is None:
            raise EngineError("--cross-identity needs --landmarks: no other loss compares its results")
        set_threads(self.threads)
        torch.manual_seed(self.seed)
        recipe = CompactRecipe(
            self._options(), perceptual=self.perceptual, landmarks=self.landmarks, device=self.device
        )
        trainer = Trainer(recipe, TrainerOptions(out=self.out, steps=self.steps, minutes=self.minutes))
        if trainer.resume():
            print(f"continuing at step {trainer.step}")
        elif self.weights is not None:
            recipe.start_from(load_average(self.weights))
        pairs = self._pairs()
        # A constant seed, so that the sample grids of all runs show the same pairs.
        shown = PairSampler(FramePack(self.pack, validation=True), size=self.size, batch=10, seed=1)
        reached = trainer.run(pairs.stream, shown.batch(0))
        print(f"stopped at step {reached}; the run is in {self.out}")

    def _options(self) -> CompactOptions:
        return CompactOptions(
            lr=self.lr,
            lr_final=self.lr_final,
            steps=self.steps,
            first_step=self.first_step,
            perceptual=self.perceptual_weight,
            landmark=self.landmark_weight,
            cross_identity=self.cross_identity_weight,
            gan=self.gan,
            gan_parts=self.gan_parts,
            gan_features=self.gan_features,
        )

    def _pairs(self) -> Mixture:
        draw = partial(PairSampler, size=self.size, seed=self.seed)
        left, others = shares_of_batch(
            self.batch,
            [(self.synthetic, self.synthetic_share), (self.reexpressed, self.reexpressed_share)],
        )
        clips = draw(
            FramePack(self.pack, validation=False), batch=left, cross_identity=min(self.cross_identity, left)
        )
        return Mixture([clips, *(draw(FramePack(p, validation=False), batch=count) for p, count in others)])
