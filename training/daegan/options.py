"""Settings of DAE-GAN's recipe: the paper's, and what it does not have."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mimicam.engine.models.daegan.network import PoseEmbedding, reconstruct


@dataclass(frozen=True, kw_only=True)
class DaeGanOptions:
    """The paper's settings (sections 3 and 4), with stages counted in steps instead of epochs."""

    stage_one_steps: int = 30_000
    """Steps of the first stage, which trains the embedders only (the paper: 30 epochs)."""
    steps: int = 100_000
    """Step at which all learning rates reach 0."""
    lr: float = 1e-4
    """Learning rate of the embedders."""
    beta_1: float = 0.0
    """Adam's first beta for the embedders; the others have the paper's 0."""
    last_share: float = 0.0
    """Share of each learning rate that is left at the last step."""
    lr_generator: float = 1e-4
    lr_discriminator: float = 4e-4
    smoothness: float = 1.0
    guidance: float = 0.0
    """Weight with which landmarks guide the displacements; see `training.daegan.guidance`. Not in
    the paper."""
    parts: float = 0.0
    """How much more eyes and mouth count in equations 3 and 6, see `part_weights`. Needs
    ``guidance``. Not in the paper."""
    part_losses: float = 0.0
    """Weight of the same losses of mouth and eyes, cut out: see `training.daegan.part_losses`. Needs
    ``guidance``. Not in the paper."""
    drawn: float = 0.0
    """Weight of the mean share of what the compact preset's generator draws over the warped face,
    where that can be right. The errors of warps by some pixels are smaller once they are blurred;
    this makes the blur cost more. Not in the paper."""
    content: float = 1.0
    feature_matching: float = 1.0
    adversarial: float = 1.0
    """Weight of the generator's adversarial loss."""
    adversarial_steps: int = 0
    """Steps of stage 2 over which that weight rises from 0, while the discriminator learns."""
    perceptual: float = 0.0
    """Weight of the perceptual distance between the generator's picture and the target. Not in the
    paper."""
    perceptual_embedders: float = 0.0
    """Weight of that distance for the embedders' reconstruction. Not in the paper."""
    ema: float = 0.0
    """Decay of the running average of the weights, per step; 0 keeps none, as in the paper."""
    clip: float = math.inf
    """Largest norm of a network's gradient. The paper clips none."""
    reconstruct: Callable[[Tensor, PoseEmbedding], Tensor] = reconstruct
    """Reconstruction of a frame from an embedded face; equation 2."""
    embedder_turns: tuple[tuple[str, ...], ...] = (("face", "pose"),)
    """Embedders that a step of stage 2 updates, one by one; steps take the entries in turn. An empty
    entry updates none."""

    def adversarial_at(self, step: int) -> float:
        """Return the weight of the generator's adversarial loss in a step."""
        if not self.adversarial_steps:
            return self.adversarial
        # Rises with the discriminator's knowledge: at first its gradients would only be noise.
        return self.adversarial * min((step - self.stage_one_steps) / self.adversarial_steps, 1.0)

    def rate(self, step: int, network: str, time_share: float) -> float:
        """Return a network's learning rate.

        It falls linearly; the embedders' drops to a tenth when stage 2 starts the others.

        Args:
            network: face, pose, guidance, generator, discriminator or part_discriminators.
            time_share: share of the available time that has passed, 0..1.
        """
        if network in ("face", "pose", "guidance"):
            # Trained from the first step on, so their rate falls over the whole run.
            start, begin = (self.lr if step < self.stage_one_steps else self.lr / 10), 0
        else:
            start, begin = (
                (self.lr_generator if network == "generator" else self.lr_discriminator),
                self.stage_one_steps,
            )
        # Each network's rate falls over the steps in which it is trained.
        done = max((step - begin) / max(self.steps - begin, 1), time_share)
        return start * max(1.0 - done * (1 - self.last_share), self.last_share)
