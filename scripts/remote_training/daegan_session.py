"""Train DAE-GAN's compact preset on one GPU within a time limit, from 64 to 256 pixels."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor

from mimicam.engine.errors import EngineError
from mimicam.training.daegan.device_videos import DeviceVideos, DeviceVideoSampler, Frames, device_videos
from mimicam.training.daegan.grow import grown
from mimicam.training.daegan.guidance import FacePoints, face_points
from mimicam.training.daegan.recipe import Batch, DaeGanRecipe
from mimicam.training.data.augmentation import Augmentation
from mimicam.training.trainer import Losses, read_checkpoint
from scripts.remote_training.daegan_phases import Phase, Weights, options_of
from scripts.remote_training.daegan_snapshots import DaeGanSnapshots
from scripts.remote_training.portable import PortablePack, read_packs
from scripts.remote_training.session import Deadline, set_switches
from scripts.remote_training.snapshots import Progress

START = "daegan.pt"
"""Weights in the pack's folder to start from."""
_READ_EVERY = 20
"""Steps between reading the losses, which waits for the GPU."""
_RESERVE_S = 8.0
"""Time reserved for the last snapshot, seconds."""
_FEWEST = 8
"""Smallest batch that is tried where memory is short."""
_EMBEDDERS = ("face_embedder.", "pose_embedder.")
State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class DaeGanSessionOptions:
    """Data and settings of one session."""

    pack: Path
    phases: tuple[Phase, ...]
    weights: Weights
    frames: int = 3
    """Most frames of a sample that are fused into a face."""
    other_share: float = 0.15
    """Share of the samples, for each pack after the first."""
    keep_generator: bool = False
    """Start from the generator of `START` too, not only from its embedders."""
    snapshot_s: float = 40.0
    validation: int = 32
    """Samples of validation people that are measured; the first ten are shown."""
    seed: int = 0
    device: str = "cuda"


class DaeGanSession:
    """Data on the device, and one recipe per phase."""

    def __init__(self, options: DaeGanSessionOptions, deadline: Deadline) -> None:
        """Read and decode the data, and move it to the device."""
        self._options, self._deadline = options, deadline
        self._device = torch.device(options.device)
        set_switches(options.seed)
        self._start = _read_start(options.pack / START, keep_generator=options.keep_generator)
        perceptual = options.pack / "perceptual.pt"
        self._perceptual = perceptual if perceptual.is_file() else None
        self._weights = options.weights
        if self._perceptual is None:
            print(f"{options.pack} holds no perceptual.pt: trains without the perceptual loss", flush=True)
            self._weights = options.weights.without_perceptual()
        packs = read_packs(options.pack)
        self._videos = self._on_device(packs, validation=False)
        self._shown = self._on_device(packs[:1], validation=True) if _validates(packs[0]) else None
        self._stopped = False
        self._step = 0
        self._written_s = -math.inf
        """Time of the last snapshot; the first is written after one step."""

    def _on_device(self, packs: Sequence[PortablePack], *, validation: bool) -> DeviceVideos:
        chosen = []
        for pack in packs:
            rows = pack.rows(validation=validation)
            chosen.append(
                Frames(
                    pictures=pack.frames[rows],
                    segment=pack.segment[rows],
                    is_synthetic=pack.is_synthetic[rows],
                    points=self._points(pack, rows),
                )
            )
        other = self._options.other_share
        shares = (1 - other * (len(chosen) - 1), *[other] * (len(chosen) - 1))
        kept = [(part, share) for part, share in zip(chosen, shares, strict=True) if part.segments(0)]
        if not kept:
            raise EngineError(f"{self._options.pack} holds no frames to train on: write it again")
        return device_videos([part for part, _ in kept], [share for _, share in kept], self._device)

    def _points(self, pack: PortablePack, rows: np.ndarray) -> FacePoints | None:
        if not self._weights.guidance:
            return None
        return face_points(pack.landmarks[rows], pack.blendshapes[rows], pack.segment[rows])

    def train(self, out: Path) -> int:
        """Train phase after phase until the time limit or a signal; return the step reached.

        Args:
            out: folder for the small files.
        """
        snapshots = DaeGanSnapshots(
            out,
            phases={phase.name: phase.share for phase in self._options.phases},
            started_from=START,
            perceptual=self._perceptual is not None,
        )
        begin_s, end_s = time.monotonic(), time.monotonic() + self._deadline.left_s() - _RESERVE_S
        if end_s <= begin_s:
            raise EngineError("--minutes passed while the data was read: give more")
        whole = sum(phase.share for phase in self._options.phases)
        states: tuple[State, dict[str, State]] | None = None
        passed = 0.0
        with _Signals(self):
            for phase in self._options.phases:
                passed += phase.share
                clock = Deadline(begin_s + (end_s - begin_s) * passed / whole)
                recipe = self._recipe(phase, clock, states)
                self._run(phase, recipe, clock, snapshots)
                # The optimisers start anew at each size, so the average may be what goes on.
                judges = {name: judge.state_dict() for name, judge in recipe.judges().items()}
                states = recipe.result.state_dict(), judges
                if self._stopped:
                    break
        return self._step

    def request_stop(self) -> None:
        """Finish the current step, write the files, and return from ``train``."""
        self._stopped = True

    def _recipe(
        self, phase: Phase, clock: Deadline, states: tuple[State, dict[str, State]] | None
    ) -> DaeGanRecipe:
        recipe = DaeGanRecipe(
            options_of(phase, self._weights),
            config=phase.config,
            device=self._options.device,
            perceptual=self._perceptual,
            time_share=clock.share,
        )
        fresh = recipe.model.state_dict()
        try:
            if states is not None:
                recipe.start_from(grown(states[0], fresh), states[1])
            else:
                given = {name: value.to(self._device) for name, value in self._start.items()}
                recipe.start_from(grown({**_alike(fresh, given), **given}, fresh))
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"{START} does not fit {phase.config.name}: leave it out") from error
        return recipe

    def _run(self, phase: Phase, recipe: DaeGanRecipe, clock: Deadline, snapshots: DaeGanSnapshots) -> None:
        videos = self._videos.scaled(phase.size)
        shown = self._validation(phase.size)
        first = self._step
        clock.begin()
        while True:
            run = _PhaseRun(phase, recipe, snapshots, shown)
            try:
                self._steps(run, self._sampler(videos, phase.batch), clock, first)
                run.write(self._step)
                self._written_s = time.monotonic()
                return
            except torch.cuda.OutOfMemoryError:
                if phase.batch <= _FEWEST:
                    raise
            phase = replace(phase, batch=phase.batch // 2)
            torch.cuda.empty_cache()
            print(f"{phase.name}: memory is short, goes on with batches of {phase.batch}", flush=True)

    def _steps(self, run: _PhaseRun, sampler: DeviceVideoSampler, clock: Deadline, first: int) -> None:
        with closing(sampler.stream(self._step)) as stream:
            for batch in run.progress.counted(stream):
                if self._stopped or clock.left_s() <= 0 or self._step - first >= run.phase.steps:
                    return
                run.add(run.recipe.step(self._step - first, batch))
                self._step += 1
                if (self._step - first) % _READ_EVERY == 0:
                    run.read()
                if time.monotonic() - self._written_s > self._options.snapshot_s:
                    run.write(self._step)
                    self._written_s = time.monotonic()

    def _sampler(self, videos: DeviceVideos, batch: int) -> DeviceVideoSampler:
        o = self._options
        return DeviceVideoSampler(
            videos, frames=o.frames, fewest=1, batch=batch, seed=o.seed, augmentation=Augmentation()
        )

    def _validation(self, size: int) -> Batch | None:
        """Draw fixed samples of validation people, as they are; None if the first pack has none."""
        if self._shown is None:
            return None
        videos = self._shown.scaled(size)
        o = self._options
        return DeviceVideoSampler(videos, frames=o.frames, batch=o.validation, seed=1).batch(0)


class _PhaseRun:
    """Measurements and snapshots of one phase."""

    def __init__(
        self, phase: Phase, recipe: DaeGanRecipe, snapshots: DaeGanSnapshots, shown: Batch | None
    ) -> None:
        self.phase, self.recipe, self.progress = phase, recipe, Progress(phase.batch)
        self._snapshots, self._shown = snapshots, shown
        self._waiting: list[Losses] = []
        self._last: dict[str, float] = {}

    def add(self, losses: Losses) -> None:
        """Keep the losses of a step, on the device."""
        self._waiting.append(losses)

    def read(self) -> None:
        """Average the losses since the last read; waits for the device once."""
        if not self._waiting:
            return
        names = list(self._waiting[0])
        device = self.recipe.skipped.device
        rows = [[_on(device, losses[name]) for name in names] for losses in self._waiting]
        means = torch.stack([torch.stack(row) for row in rows]).mean(0).tolist()
        self._last = {f"loss_{name}": round(value, 5) for name, value in zip(names, means, strict=True)}
        self._waiting = []

    def write(self, step: int) -> None:
        """Write the small files."""
        self.read()
        rates = self.progress.facts()
        facts = {"phase": self.phase.name, "size": self.phase.size, "batch": self.phase.batch, "step": step}
        self._snapshots.write(self.recipe, self._shown, {**facts, **rates, **self._last})


def _on(device: torch.device, value: float | Tensor) -> Tensor:
    # A fill, since a copy of a number would wait for the device.
    return value.float() if isinstance(value, Tensor) else torch.full((), value, device=device)


class _Signals:
    """While entered, SIGINT and SIGTERM end the session after the current step."""

    def __init__(self, session: DaeGanSession) -> None:
        self._session = session

    def __enter__(self) -> None:
        def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            self._session.request_stop()

        self._before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _read_start(path: Path, *, keep_generator: bool) -> State:
    """Read the weights to start from: the trunk of the encoders comes with them."""
    if not path.is_file():
        raise EngineError(
            f"{path} is missing: run 'mimicam train daegan' for one step here, and pack it with --daegan"
        )
    model: State = read_checkpoint(path)["modules"]["model"]
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in model.items()
        if keep_generator or name.startswith(_EMBEDDERS)
    }


def _alike(fresh: State, given: State) -> State:
    """Return the fresh weights that are not given."""
    return {name: value for name, value in fresh.items() if name not in given}


def _validates(pack: PortablePack) -> bool:
    return bool((pack.validation & ~pack.is_synthetic).any())
