"""Recipe of DAE-GAN: embedders alone first, then all four networks one by one (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from mimicam.engine.models.daegan.compact import CompactDaeGan
from mimicam.engine.models.daegan.compact_config import CompactDaeGanConfig
from mimicam.engine.models.daegan.compact_embedders import CompactPoseEmbedder, TrunkEncoder
from mimicam.engine.models.daegan.config import DAEGAN, AnyConfig
from mimicam.engine.models.daegan.layers import resized
from mimicam.engine.models.daegan.network import DaeGanNetworks
from mimicam.engine.models.daegan.presets import build
from mimicam.training.daegan import losses
from mimicam.training.daegan.average import Average
from mimicam.training.daegan.following import following
from mimicam.training.daegan.guidance import Guidance, Points, part_weights
from mimicam.training.daegan.layout import layout_loss
from mimicam.training.daegan.options import DaeGanOptions
from mimicam.training.daegan.part_losses import PartDiscriminators, PartLosses
from mimicam.training.losses import adversarial
from mimicam.training.losses.discriminator import MultiScaleDiscriminator
from mimicam.training.losses.perceptual import MobileNetDistance
from mimicam.training.optimiser import guarded_adam, step_if_finite
from mimicam.training.trainer import Losses, Settings, channels_last

Batch = dict[str, Tensor]
_SCALES = 3
"""Sizes that the discriminator scores: full, half and a quarter."""


class DaeGanRecipe:
    """Trains DAE-GAN; implements ``training.trainer.Recipe``.

    Batches hold ``frames`` ``[N, K, 3, S, S]`` and ``target`` ``[N, 3, S, S]`` of the same video,
    uint8 or float in -1..1. A batch may have ``source`` ``[N, 3, S, S]`` instead of ``frames``: one
    frame per video (K = 1). It may have ``driver``, the target in another light, which the pose
    embedder reads in the target's place.
    """

    name = "daegan"
    optional_modules = frozenset({"average", "guidance", "part_discriminators"})
    """Runs without ``ema``, ``guidance`` or ``part_losses`` lack them."""

    def __init__(
        self,
        options: DaeGanOptions | None = None,
        *,
        config: AnyConfig = DAEGAN,
        device: str = "cpu",
        perceptual: Path | None = None,
        time_share: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Args:
        perceptual: torchvision's mobilenet_v2 weights, for the two weights of that name.
        time_share: share of the available time that has passed, 0..1. Learning rates follow the
        steps
            or the time, whichever is further.
        """
        self.options = options or DaeGanOptions()
        if (self.options.parts or self.options.part_losses) and not self.options.guidance:
            raise ValueError("parts and part_losses need guidance, whose batches have landmarks")
        if self.options.drawn and not isinstance(config, CompactDaeGanConfig):
            raise ValueError("drawn needs a compact preset, whose pictures have a warped layer")
        self.settings = Settings(now={"--preset": config.name}, former={})
        self._device, self._time_share = torch.device(device), time_share
        self.model = build(config).to(self._device)
        if self._device.type == "cpu":
            for embedder in (self.model.face_embedder, self.model.pose_embedder):
                # A sixth faster on a core; the generator is not (2026-11). A GPU's group
                # normalisation would copy each map back.
                channels_last(embedder, self._device)
        self.discriminator = MultiScaleDiscriminator(config.width, config.most, _SCALES).to(self._device)
        self.average = Average(self.model, self.options.ema) if self.options.ema else None
        self.skipped = torch.zeros((), device=self._device)
        """Number of updates skipped because their gradients were not finite."""
        self._distance = (
            None if perceptual is None else channels_last(MobileNetDistance(perceptual), self._device)
        )
        o = self.options
        face_code = config.face_code if isinstance(config, CompactDaeGanConfig) else config.code
        self.guidance = Guidance(face_code, config.code).to(self._device) if o.guidance else None
        parts = PartDiscriminators(config.width, config.most).to(self._device) if o.part_losses else None
        self.part_discriminators = parts
        self._parts = None if parts is None else PartLosses(parts, o, self._distances)
        self._networks: dict[str, nn.Module] = {
            "face": self.model.face_embedder,
            "pose": self.model.pose_embedder,
            "generator": self.model.generator,
            **self.judges(),
        }
        if self.guidance is not None:
            self._networks["guidance"] = self.guidance
        self._optimisers = _optimisers(self._networks, o)

    def modules(self) -> dict[str, nn.Module]:
        """Return model and discriminator; average, guidance and discriminators of parts where there are
        any."""
        modules: dict[str, nn.Module] = {"model": self.model, **self.judges()}
        if self.average is not None:
            modules["average"] = self.average.model
        if self.guidance is not None:
            modules["guidance"] = self.guidance
        return modules

    def judges(self) -> dict[str, nn.Module]:
        """Return the discriminators by the names that they have in `modules`."""
        parts = self.part_discriminators
        own: dict[str, nn.Module] = {"discriminator": self.discriminator}
        return own if parts is None else {**own, "part_discriminators": parts}

    def start_from(
        self, model: dict[str, Tensor], judges: Mapping[str, dict[str, Tensor]] | None = None
    ) -> None:
        """Load weights, the running average's too, and those of `judges`. The optimisers start anew."""
        self.model.load_state_dict(model)
        for name, state in (judges or {}).items():
            self.judges()[name].load_state_dict(state)
        if self.average is not None:
            self.average.restart(self.model)

    def trunk_encoders(self) -> list[TrunkEncoder]:
        """Return the encoders of a compact preset, which read through `FaceTrunk`; none of the
        others."""
        embedders = (self.model.face_embedder, self.model.pose_embedder)
        return [one.encoder for one in embedders if isinstance(one.encoder, TrunkEncoder)]

    def start_from_trunk(self, trunk: dict[str, Tensor]) -> None:
        """Load the landmark network's trunk into the encoders; see `read_trunk` of the engine."""
        for encoder in self.trunk_encoders():
            encoder.trunk.load_state_dict(trunk)
        if self.average is not None:
            self.average.restart(self.model)

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Return one optimiser per network."""
        return dict(self._optimisers)

    @property
    def result(self) -> DaeGanNetworks:
        """Return the networks to show and to write: the running average if there is one."""
        return self.model if self.average is None else self.average.model

    def step(self, step: int, batch: Batch) -> Losses:
        """Update both embedders in stage 1; in stage 2 each of the four networks in turn, the
        others frozen.

        The losses stay on the device: reading them would make the host wait for the step.
        """
        with ExitStack() as stack:
            for encoder in self.trunk_encoders():
                stack.enter_context(encoder.trunk.keeping())
            figures = self._step(step, batch)
        if self.average is not None:
            self.average.follow(self.model, step)
        return figures

    def _step(self, step: int, batch: Batch) -> dict[str, float | Tensor]:
        frames, target, driver = self.pictures(batch)
        # All names in every step: the curve has one column per name.
        names = ("embedders", "guidance", "adversarial", "content", "matching", "discriminator")
        figures: dict[str, float | Tensor] = dict.fromkeys(names, 0.0)
        points = None if self.guidance is None else self.points(batch)

        def embed() -> Tensor:
            loss, figures["guidance"] = self._embed(frames, target, driver, points)
            return loss

        guided = () if self.guidance is None else ("guidance",)
        if step < self.options.stage_one_steps:
            figures["embedders"] = self._update(step, ("face", "pose", *guided), embed)
            return figures
        turns = self.options.embedder_turns
        for name in turns[step % len(turns)]:
            figures["embedders"] = self._update(step, (name, *guided), embed)
        with torch.no_grad():
            # Embedded once without gradients: generator and discriminator only read the frozen
            # embedders' results, and both see the same face.
            face = self.model.embed(frames).face
            code = self.model.pose_embedder.encode(driver)
        figures |= self._update_generator(step, face, code, target, points)

        def judge() -> Tensor:
            terms = self._discriminate(face, code, target, points)
            figures.update({name: value.detach() for name, value in terms.items()})
            return torch.stack(list(terms.values())).sum()

        self._update(step, tuple(self.judges()), judge)
        return figures

    @torch.no_grad()
    def sample_grid(self, batch: Batch) -> Tensor:
        """Draw rows: a frame, the target, the embedded face, the warped reconstruction, the
        generator's picture."""
        with _evaluating(self.result):
            return self._sample_grid(batch)

    def _sample_grid(self, batch: Batch) -> Tensor:
        frames, target, driver = self.pictures(batch)
        model = self.result
        face, reading = model.embed(frames).face, model.pose_embedder(driver)
        rows = [
            frames[:, 0],
            target,
            resized(face, target.shape[-1]),
            self.options.reconstruct(face, reading),
            model.picture(face, reading.code),
        ]
        return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)

    @torch.no_grad()
    def reconstructed(self, batch: Batch) -> Tensor:
        """Return the embedders' reconstruction of the targets, ``[N, 3, S, S]``."""
        frames, _, driver = self.pictures(batch)
        with _evaluating(self.result) as model:
            return self.options.reconstruct(model.embed(frames).face, model.pose_embedder(driver))

    @torch.no_grad()
    def generated(self, batch: Batch) -> Tensor:
        """Return the generator's pictures of the targets, ``[N, 3, S, S]``."""
        frames, _, driver = self.pictures(batch)
        with _evaluating(self.result) as model:
            picture: Tensor = model(frames, driver)
        return picture

    def followed(self, batch: Batch) -> Tensor:
        """Measure `following` on a batch that has landmarks, ``[3]``."""
        _, _, driver = self.pictures(batch)
        points = (batch[name].to(self._device) for name in ("target_points", "resting"))
        with _evaluating(self.result) as model:
            return following(model, driver, *points)

    def pictures(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return frames ``[N, K, 3, S, S]``, targets and drivers ``[N, 3, S, S]`` of a batch, on
        the device in -1..1."""
        # Pairs from other samplers are videos of one frame.
        frames = batch["frames"] if "frames" in batch else batch["source"][:, None]
        target = batch["target"]
        given = (frames, target, batch.get("driver", target))
        moved = (x.to(self._device, non_blocking=True) for x in given)
        # Packs hold bytes, a quarter of the transfer; samplers on the device give floats already.
        frames, target, driver = (x if x.is_floating_point() else x.float() / 127.5 - 1 for x in moved)
        return frames, target, driver

    def points(self, batch: Batch) -> Points:
        """Return the landmarks of a batch on the device."""
        names = ("resting", "frame_points", "target_points", "expressions")
        return Points(*(batch[name].to(self._device, non_blocking=True) for name in names))

    def _embed(
        self, frames: Tensor, target: Tensor, driver: Tensor, points: Points | None
    ) -> tuple[Tensor, Tensor]:
        """Compute the embedders' objective, and the guidance loss in it."""
        embedding = self.model.embed(frames)
        reading = self.model.pose_embedder(driver)
        # The embedded face, warped by the target's displacement, must be the target.
        image = self.options.reconstruct(embedding.face, reading)
        fields = (embedding.displacement, reading.displacement)
        loss = losses.embedder_loss(
            image,
            target,
            *fields,
            smoothness=self.options.smoothness,
            weight_N1SS=self._part_weights(points, target),
        )
        if weight := self.options.perceptual_embedders:
            loss = loss + weight * self._distances(image, target)
        if self.guidance is None or points is None:
            return loss, loss.new_zeros(())
        guidance = self.guidance(embedding, reading, points)
        if isinstance(self.model.pose_embedder, CompactPoseEmbedder):
            posed = self.model.pose_embedder.posed(reading.code)
            guidance = guidance + layout_loss(posed.layout, points.target)
            guidance = guidance + self.guidance.expressions(
                reading.code, posed.gaze, points.expressions[:, -1]
            )
        return loss + self.options.guidance * guidance, guidance.detach()

    def _part_weights(self, points: Points | None, target: Tensor) -> Tensor | None:
        """Return the pixels' weights for a batch; None where all count alike."""
        if points is None or not self.options.parts:
            return None
        return part_weights(points.target, target.shape[-1], weight=self.options.parts)

    def _distances(self, image: Tensor, target: Tensor) -> Tensor:
        """Compute the perceptual distance, in half precision: the network is frozen."""
        assert self._distance is not None, "a perceptual weight needs the network"
        with torch.autocast(self._device.type, torch.bfloat16):
            distance: Tensor = self._distance(image, target)
        return distance.float()

    def _update_generator(
        self, step: int, face: Tensor, code: Tensor, target: Tensor, points: Points | None
    ) -> dict[str, float | Tensor]:
        figures: dict[str, float | Tensor] = {}
        o, weights = self.options, self._part_weights(points, target)

        def objective() -> Tensor:
            """Compute the generator's objective: equation 6, and what has a weight beside it."""
            with self._mixed():
                image, drawn = self._picture(face, code)
                # The discriminators are frozen here, but gradients pass through them to the picture.
                fake, real = self.discriminator(image), self.discriminator(target)
            terms = {
                "adversarial": adversarial.generator_loss(fake),
                "content": losses.reconstruction_loss(image, target, weights),
                "matching": adversarial.feature_matching_loss(real, fake),
            }
            loss = o.adversarial_at(step) * terms["adversarial"] + o.content * terms["content"]
            loss = loss + o.feature_matching * terms["matching"]
            if o.perceptual:
                terms["perceptual"] = self._distances(image, target)
                loss = loss + o.perceptual * terms["perceptual"]
            if o.drawn:
                terms["drawn"] = drawn
                loss = loss + o.drawn * drawn
            if self._parts is not None and points is not None:
                terms["parts"] = self._parts.of_generator(image, target, points.target, step)
                loss = loss + o.part_losses * terms["parts"]
            figures.update({name: value.detach() for name, value in terms.items()})
            return loss

        self._update(step, ("generator",), objective)
        return figures

    def _picture(self, face: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the generator's picture; return it with the mean share of what is drawn over the warped
        face where that can be right, 0 for the paper's generator."""
        if not isinstance(self.model, CompactDaeGan):
            return self.model.picture(face, code).float(), face.new_zeros(())
        layers = self.model.layers(face, code)
        needless = (1 - layers.share.float()) * (1 - layers.unseen.float())
        return layers.picture().float(), needless.mean()

    def _discriminate(
        self, face: Tensor, code: Tensor, target: Tensor, points: Points | None
    ) -> dict[str, Tensor]:
        with self._mixed():
            with torch.no_grad():
                image = self.model.picture(face, code)
            real, fake = self.discriminator(target), self.discriminator(image)
            terms = {"discriminator": adversarial.discriminator_loss(real, fake)}
            if self._parts is not None and points is not None:
                terms["parts_discriminator"] = self._parts.of_discriminators(image, target, points.target)
        return terms

    def _mixed(self) -> torch.autocast:
        """Convolutions of generator and discriminator in bfloat16, positions in float32."""
        return torch.autocast(self._device.type, torch.bfloat16)

    def _update(self, step: int, names: tuple[str, ...], objective: Callable[[], Tensor]) -> Tensor:
        for name, network in self._networks.items():
            # Frozen networks still pass gradients on to those that are trained.
            network.requires_grad_(name in names)
        for name in names:
            self._optimisers[name].param_groups[0]["lr"] = self.rate(step, name)
            self._optimisers[name].zero_grad(set_to_none=True)
        loss = objective()
        torch.autograd.backward(loss)
        for name in names:
            norm = nn.utils.clip_grad_norm_(self._networks[name].parameters(), self.options.clip)
            # Check norm and loss: the gradient of an absolute value is finite even where the value
            # is not.
            self.skipped += step_if_finite(self._optimisers[name], norm + loss.detach())
        return loss.detach()

    def rate(self, step: int, network: str) -> float:
        """Return a network's learning rate; see `DaeGanOptions.rate`."""
        return self.options.rate(step, network, self._time_share())


def _optimisers(networks: dict[str, nn.Module], options: DaeGanOptions) -> dict[str, torch.optim.Adam]:
    """Make one for each network. The generator's and the discriminators' have no momentum, as in the
    paper."""
    rates = {"generator": options.lr_generator}
    rates |= dict.fromkeys(("discriminator", "part_discriminators"), options.lr_discriminator)
    return {
        name: guarded_adam(
            network.parameters(),
            lr=rates.get(name, options.lr),
            betas=(0.0 if name in rates else options.beta_1, 0.9),
        )
        for name, network in networks.items()
    }


@contextmanager
def _evaluating(model: DaeGanNetworks) -> Iterator[DaeGanNetworks]:
    """Normalise by what was learned, and learn nothing from the pictures within."""
    model.eval()
    try:
        yield model
    finally:
        model.train()
