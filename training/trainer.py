"""Run a recipe: steps, loss curve, sample grids, checkpoints. A run can stop at any time and
resumes exactly.

A run is a folder: ``checkpoint.pt`` (modules, averages, optimisers, step, random state),
``curve.csv``, and ``samples/``. Batches are a function of the step, so a resumed run draws the
batches that an uninterrupted one would have drawn.
"""

from __future__ import annotations

import csv
import logging
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically

_log = logging.getLogger(__name__)
Batch = dict[str, Tensor]
Losses = Mapping[str, float | Tensor]
"""Losses of one step by name. Tensors are read only when a line of the curve is written: reading
one waits for the GPU."""


N = TypeVar("N", bound=nn.Module)


def set_threads(count: int) -> None:
    """Let PyTorch train with so many CPU threads; 0 keeps its own choice, all cores.

    OpenCV prepares batches with one: its threads would compete with those that train.
    """
    if count:
        torch.set_num_threads(count)
    cv2.setNumThreads(1)


def channels_last(network: N, device: torch.device) -> N:
    """Move a network to a device, in the memory layout in which convolutions run fastest."""
    moved: N = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options that a run must keep from its first step to its last: values by option."""

    now: Mapping[str, str]
    former: Mapping[str, str]
    """Those of checkpoints that recorded none."""

    def check(self, recorded: Mapping[str, str] | None, checkpoint: Path) -> None:
        """Compare the options with those of a checkpoint.

        Raises:
            EngineError: they differ.
        """
        before = self.former if recorded is None else recorded
        # Options that this version no longer has are left alone.
        wrong = {name: value for name, value in before.items() if self.now.get(name, value) != value}
        if wrong:
            options = " ".join(f"{name} {value}" for name, value in wrong.items())
            raise EngineError(
                f"{checkpoint} was trained with {options}: give this to continue, or choose another --out"
            )


class Recipe(Protocol):
    """A training recipe: what is trained, and how a step updates it. The trainer does the rest."""

    name: str
    """Name that a checkpoint is checked against.

    A recipe may also have ``optional_modules``, names of modules that a checkpoint may lack because
    a later stage adds them, and ``settings``, see `Settings`."""

    def modules(self) -> dict[str, nn.Module]:
        """Return every module that a checkpoint holds, by name, running averages included."""

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Return every optimiser by its name."""

    def step(self, step: int, batch: Batch) -> Losses:
        """Update the weights once; return the losses for the curve."""

    def sample_grid(self, batch: Batch) -> Tensor:
        """Draw a picture ``[3, H, W]`` in [-1, 1] that shows the current results."""


@dataclass(frozen=True, kw_only=True)
class TrainerOptions:
    """Folder and limits of a run, and how often its files are written."""

    out: Path
    steps: int
    """Step at which training ends."""
    minutes: float | None = None
    """Time limit of this call; whichever of the two comes first ends it."""
    checkpoint_every_s: float = 120.0
    samples_every: int = 500
    log_every: int = 20
    leader: Path | None = None
    """Folder of the process that writes the checkpoint, if several train one model. None: this
    process writes it."""


class Trainer:
    """One run of one recipe. Not thread-safe."""

    def __init__(
        self, recipe: Recipe, options: TrainerOptions, *, agree: Callable[[bool], bool] | None = None
    ) -> None:
        """Args:
        agree: called before every step with whether this process wants to stop; returns whether all
            processes stop. Processes that reduce gradients together must take the same steps: if
            one left alone, the others would wait for it for ever.
        """
        self._recipe, self._options, self._agree = recipe, options, agree
        self._stop = False
        self._curve = _CurveState()
        self.added: frozenset[str] = frozenset()
        """Modules that the resumed checkpoint lacks."""
        self.step = 0
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "samples").mkdir(exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """Return the run's checkpoint file."""
        return (self._options.leader or self._options.out) / "checkpoint.pt"

    def resume(self) -> bool:
        """Load the run's checkpoint, if there is one: weights, optimisers, step and random state,
        all exact.

        Raises:
            EngineError: the checkpoint is damaged, of another recipe, of other settings, or its
                networks have other layers.
        """
        if not self.checkpoint.exists():
            return False
        state = read_checkpoint(self.checkpoint)
        if state["recipe"] != self._recipe.name:
            raise EngineError(
                f"{self.checkpoint} is of recipe '{state['recipe']}', not '{self._recipe.name}': choose another --out"
            )
        settings: Settings | None = getattr(self._recipe, "settings", None)
        if settings is not None:
            settings.check(state.get("settings"), self.checkpoint)
        new = set(getattr(self._recipe, "optional_modules", ())) - state["modules"].keys()
        self.added = frozenset(new & self._recipe.modules().keys())
        try:
            for name, module in self._recipe.modules().items():
                if name not in new:
                    module.load_state_dict(state["modules"][name])
            for name, optimiser in self._recipe.optimisers().items():
                if name not in new:
                    optimiser.load_state_dict(state["optimisers"][name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise EngineError(
                f"{self.checkpoint} has other networks, of other options or another version:"
                " choose another --out; 'train compact' and 'train daegan' start from this one with --weights"
            ) from error
        # After the modules were made: making them has drawn random weights.
        torch.set_rng_state(state["rng"])
        if torch.cuda.is_available() and state["rng_cuda"]:
            torch.cuda.set_rng_state_all(state["rng_cuda"])
        self._curve = _CurveState(**state.get("curve", {}))  # checkpoints before 2026-11-21 have none
        self.step = state["step"]
        return True

    def save(self) -> None:
        """Write the checkpoint under a temporary name, then rename it, so that no failure loses the
        previous one.

        Does nothing in a process that has a leader.
        """
        if self._options.leader is not None:
            return
        settings: Settings | None = getattr(self._recipe, "settings", None)
        state: dict[str, Any] = {
            "recipe": self._recipe.name,
            "settings": None if settings is None else dict(settings.now),
            "step": self.step,
            "modules": {n: m.state_dict() for n, m in self._recipe.modules().items()},
            "optimisers": {n: o.state_dict() for n, o in self._recipe.optimisers().items()},
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "curve": self._curve.read(),
        }
        with write_atomically(self.checkpoint) as part, part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            # The rename must not reach the disk before the contents.
            os.fsync(file.fileno())

    def run(self, batches: Callable[[int], Iterator[Batch]], samples: Batch | None = None) -> int:
        """Train until the last step, the time limit, or a signal; return the step reached.

        Args:
            batches: returns the stream of batches from a step on.
            samples: batch that sample grids show.
        """
        started = saved = time.monotonic()
        before_s = self._curve.seconds
        limit = None if self._options.minutes is None else started + 60 * self._options.minutes
        curve = _Curve(self._options.out / "curve.csv", self.step, self._curve)
        with _StopOnSignal(self):
            for batch in batches(self.step):
                # All processes must agree before the step, or some would wait in it for ever.
                timed_out = limit is not None and time.monotonic() > limit
                if self._agreed(self.step >= self._options.steps or self._stop or timed_out):
                    break
                curve.add(self._recipe.step(self.step, batch))
                self.step += 1
                self._curve.seconds = before_s + time.monotonic() - started
                if self.step % self._options.log_every == 0:
                    curve.write(self.step)
                if samples is not None and self.step % self._options.samples_every == 0:
                    self._write_samples(samples)
                if time.monotonic() - saved > self._options.checkpoint_every_s:
                    self.save()
                    saved = time.monotonic()
        self.save()
        return self.step

    def request_stop(self) -> None:
        """Finish the current step, save, and return from ``run``."""
        self._stop = True

    def _agreed(self, stop: bool) -> bool:
        return stop if self._agree is None else self._agree(stop)

    def _write_samples(self, samples: Batch) -> None:
        grid = self._recipe.sample_grid(samples)
        pixels = ((grid.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
        path = self._options.out / "samples" / f"{self.step:07d}.jpg"
        # OpenCV wants blue first.
        cv2.imwrite(str(path), np.ascontiguousarray(pixels[:, :, ::-1]))


class _StopOnSignal:
    """While entered, SIGINT and SIGTERM stop the trainer after the current step."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> None:
        def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            self._trainer.request_stop()

        try:
            # Only the main thread may set handlers.
            self._previous = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:
            _log.debug("not the main thread: signals are left alone")

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU.

    Raises:
        EngineError: the file is damaged, or holds something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise EngineError(f"{path} is not a checkpoint, or is damaged: choose another --out") from error
    if not isinstance(state, dict) or "recipe" not in state:
        raise EngineError(f"{path} is not a checkpoint of a run: choose another --out")
    return state


@dataclass(kw_only=True)
class _CurveState:
    """State of the curve that a checkpoint holds, so that a resumed curve equals an uninterrupted
    one."""

    sums: dict[str, float] = field(default_factory=dict)
    """Losses since the last line."""
    count: int = 0
    """Steps since the last line."""
    seconds: float = 0.0
    """Training time of all runs together."""
    waiting: list[Losses] = field(default_factory=list)
    """Losses of steps that are not in the sums yet."""

    def read(self) -> dict[str, Any]:
        """Return the state as plain numbers; waits for the device to finish."""
        tensors = [v for losses in self.waiting for v in losses.values() if isinstance(v, Tensor)]
        # One read from the device for all waiting steps.
        numbers = iter(torch.stack(tensors).tolist() if tensors else [])
        for losses in self.waiting:
            for name, value in losses.items():
                number = next(numbers) if isinstance(value, Tensor) else value
                self.sums[name] = self.sums.get(name, 0.0) + number
        self.count += len(self.waiting)
        self.waiting = []
        return {"sums": dict(self.sums), "count": self.count, "seconds": self.seconds}


class _Curve:
    """Writes ``curve.csv``: means of the losses between two lines. Lines past the resumed step are
    dropped.

    A resumed run may have other losses: the file is rewritten whenever a column is added.
    """

    def __init__(self, path: Path, step: int, state: _CurveState) -> None:
        self._path, self._state = path, state
        self._rows = _kept_rows(path, step)
        self._columns: list[str] = []
        self._write_all()

    def add(self, losses: Losses) -> None:
        self._state.waiting.append(losses)

    def write(self, step: int) -> None:
        state = self._state
        state.read()
        means = {name: f"{total / state.count:.5f}" for name, total in state.sums.items()}
        row = {"step": str(step), "seconds": f"{state.seconds:.1f}", **means}
        self._rows.append(row)
        state.sums, state.count = {}, 0
        if set(row) <= set(self._columns):
            with self._path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns, restval="").writerow(row)
        else:
            self._write_all()

    def _write_all(self) -> None:
        self._columns = list(dict.fromkeys(name for row in self._rows for name in row))
        with self._path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            if self._rows:
                writer.writeheader()
                writer.writerows(self._rows)


def _kept_rows(path: Path, step: int) -> list[dict[str, str]]:
    """Read the curve's lines up to ``step``, without a last line that was cut off while it was
    written."""
    if not step or not path.exists():
        return []
    with path.open(newline="") as lines:
        # A cut-off line has None for the missing columns.
        rows = [row for row in csv.DictReader(lines) if None not in row.values()]
    return [row for row in rows if row["step"].isdecimal() and int(row["step"]) <= step]
