"""Recipe of DAE-GAN: embedders alone first, then all four networks one by one (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mimicam.engine.models.daegan.network import DAEGAN, AnyConfig, PoseEmbedding, reconstruct
from mimicam.engine.models.daegan.presets import build
from mimicam.training.daegan import losses
from mimicam.training.losses import adversarial
from mimicam.training.losses.discriminator import MultiScaleDiscriminator
from mimicam.training.trainer import Settings, channels_last

Batch = dict[str, Tensor]
_SCALES = 3
"""Sizes that the discriminator scores: full, half and a quarter."""


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
    lr_generator: float = 1e-4
    lr_discriminator: float = 4e-4
    smoothness: float = 1.0
    content: float = 1.0
    feature_matching: float = 1.0
    reconstruct: Callable[[Tensor, PoseEmbedding], Tensor] = reconstruct
    """Reconstruction of a frame from an embedded face; equation 2."""
    embedder_turns: tuple[tuple[str, ...], ...] = (("face", "pose"),)
    """Embedders that a step of stage 2 updates, one by one; steps take the entries in turn."""


class DaeGanRecipe:
    """Trains DAE-GAN; implements ``training.trainer.Recipe``.

    Batches hold ``frames`` ``[N, K, 3, S, S]`` and ``target`` ``[N, 3, S, S]`` of the same video,
    uint8 or float in -1..1. A batch may have ``source`` ``[N, 3, S, S]`` instead of ``frames``: one
    frame per video (K = 1). It may have ``driver``, the target in another light, which the pose
    embedder reads in the target's place.
    """

    name = "daegan"

    def __init__(
        self, options: DaeGanOptions | None = None, *, config: AnyConfig = DAEGAN, device: str = "cpu"
    ) -> None:
        self.options = options or DaeGanOptions()
        self.settings = Settings(now={"--preset": config.name}, former={})
        self._device = torch.device(device)
        self.model = build(config).to(self._device)
        for embedder in (self.model.face_embedder, self.model.pose_embedder):
            # A sixth faster on a core; the generator is not (2026-11).
            channels_last(embedder, self._device)
        self.discriminator = MultiScaleDiscriminator(config.width, config.most, _SCALES).to(self._device)
        o = self.options
        self._networks: dict[str, nn.Module] = {
            "face": self.model.face_embedder,
            "pose": self.model.pose_embedder,
            "generator": self.model.generator,
            "discriminator": self.discriminator,
        }
        rates = {"generator": o.lr_generator, "discriminator": o.lr_discriminator}
        self._optimisers = {
            name: torch.optim.Adam(
                network.parameters(),
                lr=rates.get(name, o.lr),
                betas=(0.0 if name in rates else o.beta_1, 0.9),
            )
            for name, network in self._networks.items()
        }

    def modules(self) -> dict[str, nn.Module]:
        """Return the model and the discriminator."""
        return {"model": self.model, "discriminator": self.discriminator}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Return one optimiser per network."""
        return dict(self._optimisers)

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Update both embedders in stage 1; in stage 2 each of the four networks in turn, the
        others frozen."""
        frames, target, driver = self._prepare(batch)
        # All names in every step: the curve has one column per name.
        figures = dict.fromkeys(("embedders", "adversarial", "content", "matching", "discriminator"), 0.0)
        if step < self.options.stage_one_steps:
            figures["embedders"] = self._update(
                step, ("face", "pose"), lambda: self._embed(frames, target, driver)
            )
            return figures
        turns = self.options.embedder_turns
        for name in turns[step % len(turns)]:
            figures["embedders"] = self._update(step, (name,), lambda: self._embed(frames, target, driver))
        with torch.no_grad():
            face = self.model.embed(frames).face
            code = self.model.pose_embedder.encode(driver)
        figures |= self._update_generator(step, face, code, target)
        figures["discriminator"] = self._update(
            step, ("discriminator",), lambda: self._discriminate(face, code, target)
        )
        return figures

    @torch.no_grad()
    def sample_grid(self, batch: Batch) -> Tensor:
        """Draw rows: a frame, the target, the embedded face, the warped reconstruction, the
        generator's picture."""
        with _evaluating(self.model):
            return self._sample_grid(batch)

    def _sample_grid(self, batch: Batch) -> Tensor:
        frames, target, driver = self._prepare(batch)
        face, reading = self.model.embed(frames).face, self.model.pose_embedder(driver)
        rows = [
            frames[:, 0],
            target,
            face,
            self.options.reconstruct(face, reading),
            self.model.picture(face, reading.code),
        ]
        return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)

    @torch.no_grad()
    def reconstructed(self, batch: Batch) -> Tensor:
        """Return the embedders' reconstruction of the targets, ``[N, 3, S, S]``."""
        frames, _, driver = self._prepare(batch)
        with _evaluating(self.model):
            return self.options.reconstruct(self.model.embed(frames).face, self.model.pose_embedder(driver))

    @torch.no_grad()
    def generated(self, batch: Batch) -> Tensor:
        """Return the generator's pictures of the targets, ``[N, 3, S, S]``."""
        frames, _, driver = self._prepare(batch)
        with _evaluating(self.model):
            picture: Tensor = self.model(frames, driver)
        return picture

    def _prepare(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        frames = batch["frames"] if "frames" in batch else batch["source"][:, None]
        target = batch["target"]
        given = (frames, target, batch.get("driver", target))
        moved = (x.to(self._device, non_blocking=True) for x in given)
        frames, target, driver = (x if x.is_floating_point() else x.float() / 127.5 - 1 for x in moved)
        return frames, target, driver

    def _embed(self, frames: Tensor, target: Tensor, driver: Tensor) -> Tensor:
        embedding = self.model.embed(frames)
        reading = self.model.pose_embedder(driver)
        # The embedded face, warped by the target's displacement, must be the target.
        image = self.options.reconstruct(embedding.face, reading)
        fields = (embedding.displacement, reading.displacement)
        return losses.embedder_loss(image, target, *fields, smoothness=self.options.smoothness)

    def _update_generator(self, step: int, face: Tensor, code: Tensor, target: Tensor) -> dict[str, float]:
        figures: dict[str, float] = {}

        def objective() -> Tensor:
            """Compute the generator's objective: equation 6."""
            image = self.model.picture(face, code)
            fake, real = self.discriminator(image), self.discriminator(target)
            terms = {
                "adversarial": adversarial.generator_loss(fake),
                "content": losses.reconstruction_loss(image, target),
                "matching": adversarial.feature_matching_loss(real, fake),
            }
            figures.update({name: value.item() for name, value in terms.items()})
            o = self.options
            return (
                terms["adversarial"] + o.content * terms["content"] + o.feature_matching * terms["matching"]
            )

        self._update(step, ("generator",), objective)
        return figures

    def _discriminate(self, face: Tensor, code: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            image = self.model.picture(face, code)
        return adversarial.discriminator_loss(self.discriminator(target), self.discriminator(image))

    def _update(self, step: int, names: tuple[str, ...], objective: Callable[[], Tensor]) -> float:
        for name, network in self._networks.items():
            # Frozen networks still pass gradients on to those that are trained.
            network.requires_grad_(name in names)
        for name in names:
            self._optimisers[name].param_groups[0]["lr"] = self.rate(step, name)
            self._optimisers[name].zero_grad(set_to_none=True)
        loss = objective()
        torch.autograd.backward(loss)
        for name in names:
            self._optimisers[name].step()
        return loss.item()

    def rate(self, step: int, network: str) -> float:
        """Return a network's learning rate.

        It falls linearly; the embedders' drops to a tenth when stage 2 starts the others.
        """
        o = self.options
        if network in ("face", "pose"):
            start, begin = (o.lr if step < o.stage_one_steps else o.lr / 10), 0
        else:
            start, begin = (
                (o.lr_discriminator if network == "discriminator" else o.lr_generator),
                o.stage_one_steps,
            )
        # Each network's rate falls over the steps in which it is trained.
        done = (step - begin) / max(o.steps - begin, 1)
        return start * max(1.0 - done, 0.0)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Normalise by what was learned, and learn nothing from the pictures within."""
    model.eval()
    try:
        yield
    finally:
        model.train()
