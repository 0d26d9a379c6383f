"""``mimicam train daegan``: train DAE-GAN on packs, and write the model that the engine loads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from mimicam.engine.errors import EngineError
from mimicam.engine.models.daegan.compact import CompactDaeGan
from mimicam.engine.models.daegan.compact_config import CompactDaeGanConfig
from mimicam.engine.models.daegan.presets import PRESETS
from mimicam.engine.models.daegan.trunk_weights import read_trunk
from mimicam.engine.models.daegan.weights import load_daegan, save_daegan
from mimicam.training.daegan.grow import grown
from mimicam.training.daegan.guidance import face_points
from mimicam.training.daegan.options import DaeGanOptions
from mimicam.training.daegan.reading import learn_to_read
from mimicam.training.daegan.recipe import DaeGanRecipe
from mimicam.training.daegan.retrieval import learn_retrieval
from mimicam.training.daegan.videos import JITTER, VideoSampler
from mimicam.training.data.augmentation import Augmentation
from mimicam.training.data.pack_folder import check_pack
from mimicam.training.data.pairs import FramePack, Mixture, shares_of_batch
from mimicam.training.trainer import Trainer, TrainerOptions, read_checkpoint, set_threads


@dataclass(frozen=True, kw_only=True)
class TrainDaeGan:
    """Train DAE-GAN on clips, then write model.safetensors to --out.

    Run it again with the same --out to continue.
    """

    pack: Path
    """Pack of clips, written by 'mimicam data pack'."""
    synthetic: Path | None = None
    """Pack of rendered heads, written by 'mimicam data pack-rendered'."""
    synthetic_share: float = 0.25
    """Share of each batch that comes from --synthetic, 0 to 1."""
    reexpressed: Path | None = None
    """Pack of portraits re-rendered with other expressions, written by 'mimicam data reexpress', or
    of single pictures."""
    reexpressed_share: float = 0.125
    """Share of each batch that comes from --reexpressed, 0 to 1."""
    out: Path
    """Folder of the run: checkpoint, loss curve, sample grids, model.safetensors."""
    weights: Path | None = None
    """model.safetensors or checkpoint.pt of a former run to start from, as the paper fine-tunes on
    RaFD; a checkpoint also gives the discriminator. --stage-one-steps 0 trains all networks at
    once. A run of daegan-compact-64 grows to daegan-compact-128, and that to daegan-compact."""
    preset: str = "daegan"
    """Size of the networks: daegan (256 pixels), daegan-small (64 pixels), daegan-debug, or the
    compact daegan-compact-64, daegan-compact-128 and daegan-compact (256 pixels)."""
    frames: int = 8
    """Frames of one video that the embedder fuses into one face."""
    fewest_frames: int | None = None
    """Draw the number of frames for each batch, from this one to --frames. Not given, it is always
    --frames."""
    augment: bool = False
    """Turn, scale, shift and recolour the frames of a video alike, then move each frame a little;
    the pose embedder reads the target in another light."""
    far: bool = False
    """Draw targets more often whose expression is far from the frames': blinks and open mouths are
    rare in clips."""
    batch: int = 8
    """Videos per step."""
    steps: int = 100_000
    """Step at which the run ends and the learning rates reach 0."""
    stage_one_steps: int = 30_000
    """Steps of the first stage, which trains the embedders only."""
    stage_one_epochs: float | None = None
    """Length of the first stage in passes over the frames, in the place of --stage-one-steps. The
    paper has 30."""
    lr: float = 1e-4
    """Learning rate of the embedders, and of the generator without --lr-generator (section 4)."""
    beta_1: float = 0.0
    """Adam's first beta for the embedders."""
    lr_generator: float | None = None
    """Learning rate of the generator."""
    lr_discriminator: float | None = None
    """Learning rate of the discriminator. Not given, it is four times the generator's, as in the
    paper."""
    content: float = 1.0
    """Weight of the content loss in equation 6."""
    feature_matching: float = 1.0
    """Weight of feature matching in equation 6."""
    alternate_embedders: bool = False
    """In stage 2, update one embedder in a step, in turn, instead of both."""
    freeze_embedders: bool = False
    """In stage 2, update generator and discriminator only: a third more steps in the same time,
    once displacements and layout are learned."""
    guidance: float = 0.0
    """Weight with which the tracker's landmarks guide both displacements. Not in the paper."""
    reading_pictures: int = 20_000
    """Pictures from which a fresh compact preset first learns to read faces, before step 0: some 20
    minutes of one core, in which nothing is saved. Needs --guidance. Not in the paper."""
    parts: float = 0.0
    """How much more eyes and mouth count in the pictures' errors. Needs --guidance. Not in the
    paper."""
    part_losses: float = 0.0
    """Weight of the losses of mouth and eyes, cut out, with discriminators of their own. Needs
    --guidance. Not in the paper."""
    drawn: float = 0.0
    """Weight of what the compact preset draws over the warped face where it need not: keeps results
    sharp. Not in the paper."""
    adversarial: float = 1.0
    """Weight of the generator's adversarial loss in equation 6."""
    adversarial_steps: int = 0
    """Steps of stage 2 over which that weight rises from 0."""
    perceptual: Path | None = None
    """torchvision's mobilenet_v2 weights, for a perceptual loss. Not in the paper."""
    perceptual_weight: float = 1.5
    """Weight of --perceptual for the generator's picture."""
    perceptual_embedders: float = 0.1
    """Weight of --perceptual for the embedders' reconstruction."""
    average: float = 0.0
    """Decay per step of a running average of the weights, which model.safetensors then holds; 0
    keeps none."""
    clip: float = math.inf
    """Largest norm of a network's gradient."""
    last_share: float = 0.0
    """Share of each learning rate that is left at the last step."""
    minutes: float | None = None
    """Stop after this many minutes."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """PyTorch device that trains."""
    threads: int = 0
    """CPU threads of PyTorch; 0 uses all cores."""
    seed: int = 0
    """Seed of the initial weights and of the batches."""

    def run(self) -> None:
        """Train, then write the model."""
        if self.preset not in PRESETS:
            raise EngineError(f"there is no preset '{self.preset}': choose one of {', '.join(PRESETS)}")
        if self.batch < 2 and isinstance(PRESETS[self.preset], CompactDaeGanConfig):
            raise EngineError("a compact preset normalises over the batch: give --batch 2 or more")
        check_pack(self.pack)
        set_threads(self.threads)
        torch.manual_seed(self.seed)
        videos, shown = self._videos(), self._sampler(self.pack, self.batch, validation=True)
        recipe = DaeGanRecipe(
            self._options(), config=PRESETS[self.preset], device=self.device, perceptual=self.perceptual
        )
        trainer = Trainer(recipe, TrainerOptions(out=self.out, steps=self.steps, minutes=self.minutes))
        if trainer.resume():
            print(f"continuing at step {trainer.step}")
            # A checkpoint without an average: fresh weights in it would outlast thousands of steps.
            if recipe.average is not None and "average" in trainer.added:
                recipe.average.restart(recipe.model)
        elif self.weights is not None:
            start_from(recipe, self.weights)
        elif isinstance(PRESETS[self.preset], CompactDaeGanConfig):
            recipe.start_from_trunk(read_trunk())
            if self.guidance and self.reading_pictures:
                learn_to_read(recipe, videos, pictures=self.reading_pictures, tell=print)
        reached = trainer.run(videos.stream, shown.batch(0))
        if isinstance(recipe.model, CompactDaeGan):
            given = [pack for pack in (self.pack, self.synthetic, self.reexpressed) if pack is not None]
            print("fitting what the retrieval compares; the run is saved already")
            learn_retrieval(recipe, [FramePack(pack, validation=False) for pack in given])
            trainer.save()
        save_daegan(recipe.result, self.out / "model.safetensors")
        print(f"stopped at step {reached}; the run and model.safetensors are in {self.out}")

    def _options(self) -> DaeGanOptions:
        lr = self.lr if self.lr_generator is None else self.lr_generator
        return DaeGanOptions(
            steps=self.steps,
            stage_one_steps=self._stage_one_steps(),
            lr=self.lr,
            beta_1=self.beta_1,
            lr_generator=lr,
            lr_discriminator=4 * lr if self.lr_discriminator is None else self.lr_discriminator,
            last_share=self.last_share,
            guidance=self.guidance,
            parts=self.parts,
            part_losses=self.part_losses,
            drawn=self.drawn,
            content=self.content,
            feature_matching=self.feature_matching,
            adversarial=self.adversarial,
            adversarial_steps=self.adversarial_steps,
            perceptual=0.0 if self.perceptual is None else self.perceptual_weight,
            perceptual_embedders=0.0 if self.perceptual is None else self.perceptual_embedders,
            ema=self.average,
            clip=self.clip,
            embedder_turns=self._embedder_turns(),
        )

    def _embedder_turns(self) -> tuple[tuple[str, ...], ...]:
        if self.freeze_embedders:
            return ((),)
        return (("face",), ("pose",)) if self.alternate_embedders else (("face", "pose"),)

    def _stage_one_steps(self) -> int:
        """Return the first stage's steps. In an epoch as many targets are drawn as there are
        frames."""
        if self.stage_one_epochs is None:
            return self.stage_one_steps
        frames = len(FramePack(self.pack, validation=False).indices)
        return math.ceil(self.stage_one_epochs * frames / self.batch)

    def _videos(self) -> Mixture:
        left, others = shares_of_batch(
            self.batch,
            [(self.synthetic, self.synthetic_share), (self.reexpressed, self.reexpressed_share)],
        )
        packs = [(self.pack, left), *others]
        return Mixture([self._sampler(pack, count, validation=False) for pack, count in packs])

    def _sampler(self, pack: Path, batch: int, *, validation: bool) -> VideoSampler:
        videos = FramePack(pack, validation=validation)
        points = None
        # Points guide a loss, and nothing is learnt from validation.
        if self.guidance and not validation:
            points = face_points(videos.landmarks, videos.blendshapes, videos.segment)
        return VideoSampler(
            videos,
            size=PRESETS[self.preset].size,
            frames=self.frames,
            batch=batch,
            seed=self.seed,
            fewest=None if validation else self.fewest_frames,
            augmentation=Augmentation() if self.augment and not validation else None,
            jitter=JITTER if self.augment and not validation else None,
            points=points,
            expressions=videos.blendshapes if self.far and not validation else None,
        )


def start_from(recipe: DaeGanRecipe, path: Path) -> None:
    """Load the weights of a model, or those of model and discriminator of a checkpoint.

    Raises:
        EngineError: the file is missing or damaged, or its networks have another size.
    """
    if path.suffix == ".safetensors":
        states = {"model": load_daegan(path).state_dict()}
    elif not path.is_file():
        raise EngineError(f"{path} does not exist: give model.safetensors or checkpoint.pt of a run")
    else:
        state = read_checkpoint(path)
        if state["recipe"] != recipe.name:
            raise EngineError(
                f"{path} is of recipe '{state['recipe']}', not '{recipe.name}': give another file"
            )
        states = state["modules"]
    modules = recipe.modules()
    for name in modules.keys() & states.keys():
        values, own = states[name], modules[name].state_dict()
        if isinstance(modules[name], CompactDaeGan):
            try:
                values = grown(values, own)
            except ValueError:
                raise EngineError(f"{path} does not grow to this --preset: give its own") from None
        if own.keys() != values.keys() or any(own[k].shape != v.shape for k, v in values.items()):
            raise EngineError(f"{path} has networks of another size: give its --preset")
        modules[name].load_state_dict(values)
    if recipe.average is not None and "average" not in states:
        recipe.average.restart(recipe.model)
