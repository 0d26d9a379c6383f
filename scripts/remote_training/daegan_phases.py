"""Phases of a DAE-GAN session: embedders alone, then all networks at 64, 128 and 256 pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mimicam.engine.models.daegan.compact_config import CompactDaeGanConfig
from mimicam.engine.models.daegan.presets import PRESETS
from mimicam.training.daegan.options import DaeGanOptions

_WITHOUT_END = 10**9
"""Steps of a phase that only the time ends, and its learning rates with it."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One size and one stage of training."""

    name: str
    size: int
    batch: int
    share: float
    """Share of the session's time."""
    embedders_only: bool = False
    """Stage 1 of section 3.3; otherwise all four networks are trained."""
    lr: float
    """Learning rate of the embedders as `DaeGanOptions` has it: stage 2 takes a tenth."""
    lr_generator: float = 3e-4
    last_share: float
    """Share of the rates that is left at the end of the phase."""
    steps: int = _WITHOUT_END

    @property
    def config(self) -> CompactDaeGanConfig:
        """Return the compact preset of this size."""
        (config,) = (
            each
            for each in PRESETS.values()
            if isinstance(each, CompactDaeGanConfig) and each.size == self.size
        )
        return config


PHASES = (
    Phase(name="embedders-64", size=64, batch=96, share=0.28, embedders_only=True, lr=6e-4, last_share=0.3),
    Phase(name="all-64", size=64, batch=96, share=0.14, lr=1e-3, last_share=0.7),
    Phase(name="all-128", size=128, batch=64, share=0.23, lr=1e-3, last_share=0.5),
    Phase(name="all-256", size=256, batch=32, share=0.35, lr=1e-3, last_share=0.05),
)
"""Embedders get most of the time at 64 pixels: their code held no expression after 15,000 samples
(training/LOG.md). All fields have 32 pixels, so larger pictures teach them little more."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of the losses in every phase, see `DaeGanOptions`."""

    content: float = 10.0
    feature_matching: float = 10.0
    adversarial: float = 0.2
    adversarial_steps: int = 300
    perceptual: float = 1.5
    perceptual_embedders: float = 0.1
    guidance: float = 8.0
    parts: float = 6.0
    part_losses: float = 1.0
    drawn: float = 0.5

    def without_perceptual(self) -> Weights:
        """Return the weights for a session that lacks the perceptual network."""
        return replace(self, perceptual=0.0, perceptual_embedders=0.0)


def options_of(phase: Phase, weights: Weights) -> DaeGanOptions:
    """Return the recipe's options for a phase, whose steps count from 0."""
    return DaeGanOptions(
        stage_one_steps=phase.steps if phase.embedders_only else 0,
        steps=phase.steps,
        lr=phase.lr,
        beta_1=0.9,
        last_share=phase.last_share,
        lr_generator=phase.lr_generator,
        lr_discriminator=4e-4,
        content=weights.content,
        feature_matching=weights.feature_matching,
        adversarial=weights.adversarial,
        adversarial_steps=weights.adversarial_steps,
        perceptual=weights.perceptual,
        perceptual_embedders=weights.perceptual_embedders,
        guidance=weights.guidance,
        parts=weights.parts if weights.guidance else 0.0,
        part_losses=weights.part_losses if weights.guidance else 0.0,
        drawn=weights.drawn,
        ema=0.995,
        clip=10.0,
        embedder_turns=(("face",), ("pose",)),
    )
