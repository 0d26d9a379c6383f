"""Train the compact preset on one GPU within a time limit: data on the device, a recipe, and small
output files."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from mimicam.engine.errors import EngineError
from mimicam.training.compact.recipe import CompactOptions, CompactRecipe
from mimicam.training.compact.weights import load_average
from mimicam.training.data.device_batches import BatchDrawer, device_stream
from mimicam.training.data.device_pairs import DevicePack, DeviceSampler
from mimicam.training.data.pairs import Batch
from mimicam.training.trainer import Losses, Trainer, TrainerOptions
from scripts.remote_training.drawn import drawn_pack
from scripts.remote_training.portable import PortablePack, read_packs
from scripts.remote_training.snapshots import Progress, Snapshots

_ALGORITHMS = 3
"""Algorithms that cuDNN times for each of about 250 convolutions. With all ten, the search takes 15
to 30 s."""
_LOG_EVERY = 10
"""Steps per line of the curve; reading their losses waits for the GPU once."""
_RESERVE_S = 4.0
"""Time reserved for the last snapshot, seconds."""


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """Data and batches of one session."""

    pack: Path | None
    """Folder written by `scripts.remote_training.pack`; None is drawn noise."""
    batch: int
    size: int
    other_shares: tuple[float, ...]
    """Share of each batch for each pack after the first; one number counts for all of them."""
    cross_identity: int
    """Portraits per batch that another person drives as well; see
    `training.data.pairs.cross_identity_drives`."""
    seed: int
    device: str


class Deadline:
    """Time limit that starts with training and ends when the session must write its last files."""

    def __init__(self, end_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._end_s, self._clock = end_s, clock
        self._begin_s = clock()

    def begin(self) -> None:
        """Start: the data is on the device."""
        self._begin_s = self._clock()

    def left_s(self) -> float:
        """Return the seconds until the end; negative after it."""
        return self._end_s - self._clock()

    def share(self) -> float:
        """Return the share of the time that has passed, 0..1."""
        whole = self._end_s - self._begin_s
        return 1.0 if whole <= 0 else min(max((self._clock() - self._begin_s) / whole, 0.0), 1.0)


class RemoteTraining:
    """Data on the device, a recipe, and its batches."""

    def __init__(self, options: SessionOptions, compact: CompactOptions, deadline: Deadline) -> None:
        """Read and decode the data, and move it to the device."""
        self.options, self.deadline = options, deadline
        self.device = torch.device(options.device)
        set_switches(options.seed)
        self._packs = [drawn_pack(options.size)] if options.pack is None else read_packs(options.pack)
        self.recipe = CompactRecipe(
            compact,
            perceptual=self._file("perceptual.pt"),
            landmarks=self._file("landmarks.onnx"),
            device=options.device,
            time_share=deadline.share,
        )
        start = self._file("weights.pt")
        if start is not None:
            self.recipe.start_from(load_average(start))
        self.complete = None not in (self._file("perceptual.pt"), self._file("landmarks.onnx"))
        """True if every loss is computed. Without some, steps are faster than in real training."""
        self.samplers = self._samplers()
        self.shown = self._validation()

    def _file(self, name: str) -> Path | None:
        path = None if self.options.pack is None else self.options.pack / name
        return path if path is not None and path.is_file() else None

    def _samplers(self) -> list[DeviceSampler]:
        o = self.options
        counts = batch_counts(o.batch, o.other_shares, len(self._packs))
        samplers = []
        for number, (pack, count) in enumerate(zip(self._packs, counts, strict=True)):
            cross_identity = min(o.cross_identity, count) if number == 0 else 0
            if count > 0:
                loaded = self._to_device(pack, validation=False)
                samplers.append(
                    DeviceSampler(
                        loaded, size=o.size, batch=count, seed=o.seed, cross_identity=cross_identity
                    )
                )
        return samplers

    def _validation(self) -> Batch | None:
        """Draw fixed pairs of validation people; None if the first pack has none.

        They are as many as a batch: for another number cuDNN would time every convolution again.
        """
        main = self._packs[0]
        if len(main.rows(validation=True)) < 2:
            return None
        loaded = self._to_device(main, validation=True)
        sampler = DeviceSampler(loaded, size=self.options.size, batch=self.options.batch, seed=1)
        return BatchDrawer([sampler]).batch(0)

    def _to_device(self, pack: PortablePack, *, validation: bool) -> DevicePack:
        rows = pack.rows(validation=validation)
        tables = (pack.landmarks, pack.blendshapes, pack.segment, pack.same_pose_group, pack.is_synthetic)
        return DevicePack(pack.frames[rows], *(table[rows] for table in tables), device=self.device)

    def train(self, out: Path, *, steps: int | None, every_s: float, **facts: object) -> int:
        """Train until the time limit, the last step, or a signal; return the step reached.

        Args:
            out: folder for the small files.
            steps: last step; None trains until the time limit.
            every_s: seconds between writing the files.
            facts: further entries of the report.
        """
        self._check_time()
        scratch = Path(tempfile.mkdtemp(prefix="training-"))
        progress = Progress(self.options.batch)
        snapshots = Snapshots(self.recipe, self.shown, out, progress, curve=scratch / "curve.csv")
        snapshots.add_facts(every_loss=self.complete, cross_identity=self.options.cross_identity, **facts)
        # The trainer's own files go to a scratch folder: only the small ones are kept.
        keep = TrainerOptions(
            out=scratch,
            steps=sys.maxsize if steps is None else steps,
            minutes=(self.deadline.left_s() - _RESERVE_S) / 60,
            checkpoint_every_s=float("inf"),
            samples_every=sys.maxsize,
            log_every=_LOG_EVERY,
        )
        trainer = Trainer(_Writing(self.recipe, snapshots, every_s), keep)
        self.deadline.begin()
        progress.begin()
        try:
            reached = trainer.run(lambda first: progress.counted(device_stream(self.samplers, first)))
            snapshots.write(reached)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return reached

    def _check_time(self) -> None:
        if self.deadline.left_s() <= _RESERVE_S:
            raise EngineError("--minutes passed while the data was read: give more")

    def steps(self, progress: Progress) -> Iterator[int]:
        """Train without files; yield the number of each step once it is queued."""
        for step, batch in enumerate(progress.counted(device_stream(self.samplers, 0))):
            self.recipe.step(step, batch)
            yield step


def batch_counts(batch: int, other_shares: Sequence[float], packs: int) -> list[int]:
    """Return the pairs of a batch that each pack gives; the first gives what the others leave.

    Raises:
        EngineError: the shares do not fit the packs, or leave nothing for the first.
    """
    shares = list(other_shares) * (packs - 1) if len(other_shares) == 1 else list(other_shares)
    others = [round(batch * share) for share in shares]
    if len(others) != packs - 1 or min(others, default=0) < 0 or batch - sum(others) < 1:
        raise EngineError(
            f"--other-share needs one number, or {packs - 1}: none below 0, and their sum below 1"
        )
    return [batch - sum(others), *others]


class _Writing:
    """A recipe that also writes the small files regularly; see `training.trainer.Recipe`."""

    def __init__(self, recipe: CompactRecipe, snapshots: Snapshots, every_s: float) -> None:
        self._recipe, self._snapshots, self._every_s = recipe, snapshots, every_s
        self._written = time.monotonic()
        self.name, self.optional_modules = recipe.name, recipe.optional_modules
        self.modules, self.optimisers = recipe.modules, recipe.optimisers
        self.sample_grid = recipe.sample_grid

    def step(self, step: int, batch: Batch) -> Losses:
        """Update the weights, then write the files if they are due."""
        losses = self._recipe.step(step, batch)
        if time.monotonic() - self._written > self._every_s:
            self._snapshots.write(step + 1)
            self._written = time.monotonic()
        return losses


def set_switches(seed: int) -> None:
    """Set PyTorch's switches for a session on a GPU, and the seed of fresh weights."""
    # Not TF32 in products: distances between landmarks and pixels are differences of products
    # (LandmarkFlow). Convolutions keep PyTorch's TF32.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, _ALGORITHMS
    torch.manual_seed(seed)
    cv2.setNumThreads(1)
