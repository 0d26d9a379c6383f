"""Train the compact preset on a lent GPU machine: ``python -m training.gpu_session --carry carry --out "$OUT"``.

For a bare machine: needs PyTorch, NumPy, OpenCV and, for the landmark loss, onnx. The packs of ``mimicam carry`` are
decoded once and stay on the GPU; batches are drawn and augmented there. ``--out`` receives small files only, each replaced
at least every two minutes: ``weights.pt`` (averaged weights, fp16; what ``mimicam bundle`` and ``--weights`` read),
``curve.csv``, ``samples.jpg``, ``session.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from engine.errors import EngineError
from engine.files import write_atomically
from training.carry import CarriedPack, read_packs
from training.compact.recipe import CompactOptions, CompactRecipe
from training.data.device_pairs import DevicePack, DeviceSampler, device_stream
from training.data.pairs import Batch
from training.trainer import Trainer, TrainerOptions
from training.weights import load_average, save_half

_FIGURE_PAIRS = 48


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """One session."""

    carry: Path
    out: Path
    minutes: float
    """Of the whole session, decoding included."""
    steps: int
    """Length of the learning-rate curve; the session ends there or when its time is over."""
    batch: int
    size: int
    other_share: float
    """Of each batch, for each pack after the first."""
    publish_s: float
    seed: int
    device: str


class Publishing:
    """A recipe that also writes its small files every so often; see `training.trainer.Recipe`."""

    def __init__(
        self, recipe: CompactRecipe, write: Callable[[int], None], every_s: float, clock: Callable[[], float]
    ) -> None:
        self._recipe, self._write, self._every_s, self._clock = recipe, write, every_s, clock
        self._written = clock()
        self.name, self.late = recipe.name, recipe.late
        self.modules, self.optimisers, self.sample_grid = (
            recipe.modules,
            recipe.optimisers,
            recipe.sample_grid,
        )

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """One update, then the files if it is time."""
        losses = self._recipe.step(step, batch)
        if self._clock() - self._written > self._every_s:
            self._write(step + 1)
            self._written = self._clock()
        return losses


class Session:
    """Data on the device, a recipe, and what is written of it."""

    def __init__(self, options: SessionOptions, compact: CompactOptions) -> None:
        self._options = options
        self._started = time.monotonic()
        self._device = torch.device(options.device)
        # Not TF32: distances between landmarks and pixels are differences of products (LandmarkFlow).
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.benchmark = True
        torch.manual_seed(options.seed)
        cv2.setNumThreads(1)
        self._packs = read_packs(options.carry)
        self._recipe = CompactRecipe(
            compact,
            perceptual=self._file("perceptual.pt"),
            landmarks=self._file("landmarks.onnx"),
            device=options.device,
        )
        start = self._file("weights.pt")
        if start is not None:
            self._recipe.start_from(load_average(start))
        self._shown = self._validation()
        self._scratch = Path(tempfile.mkdtemp(prefix="session-"))
        options.out.mkdir(parents=True, exist_ok=True)

    def _file(self, name: str) -> Path | None:
        path = self._options.carry / name
        return path if path.is_file() else None

    def run(self) -> int:
        """Train until the time is over, the last step, or a signal; returns the step reached."""
        o = self._options
        left = o.minutes - (time.monotonic() - self._started) / 60
        if left <= 0:
            raise EngineError(f"--minutes {o.minutes} went by while the data was read: give more")
        recipe = Publishing(self._recipe, self.publish, o.publish_s, time.monotonic)
        keep = TrainerOptions(
            out=self._scratch,
            steps=o.steps,
            minutes=left,
            checkpoint_every_s=float("inf"),
            samples_every=sys.maxsize,
        )
        trainer = Trainer(recipe, keep)
        samplers = self._samplers()
        reached = trainer.run(lambda first: device_stream(samplers, first))
        self.publish(reached)
        shutil.rmtree(self._scratch, ignore_errors=True)
        return reached

    def publish(self, step: int) -> None:
        """Write the small files, each complete or not at all."""
        out = self._options.out
        save_half(self._recipe.average.state_dict(), out / "weights.pt", step=step)
        curve = self._scratch / "curve.csv"
        if curve.is_file():
            with write_atomically(out / "curve.csv") as part:
                shutil.copyfile(curve, part)
        seconds = time.monotonic() - self._started
        facts = {"step": step, "seconds": round(seconds, 1), "batch": self._options.batch, **self._machine()}
        if self._shown is not None:
            facts |= {k: round(v, 3) for k, v in self._recipe.figures(self._shown).items()}
            self._write_grid(self._shown, out / "samples.jpg")
        with write_atomically(out / "session.json") as part:
            part.write_text(json.dumps(facts, indent=1))
        print(json.dumps(facts), flush=True)

    def _write_grid(self, batch: Batch, path: Path) -> None:
        grid = self._recipe.sample_grid({name: value[:10] for name, value in batch.items()})
        pixels = ((grid.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
        done, data = cv2.imencode(".jpg", pixels[:, :, ::-1])
        assert done, "OpenCV always writes JPEG"
        with write_atomically(path) as part:
            part.write_bytes(data.tobytes())

    def _machine(self) -> dict[str, object]:
        if self._device.type != "cuda":
            return {"device": "cpu"}
        peak = torch.cuda.max_memory_allocated() / 2**30
        return {"device": torch.cuda.get_device_name(), "peak_gib": round(peak, 1)}

    def _samplers(self) -> list[DeviceSampler]:
        o = self._options
        other = round(o.batch * o.other_share)
        samplers = []
        for number, pack in enumerate(self._packs):
            count = o.batch - other * (len(self._packs) - 1) if number == 0 else other
            if count > 0:
                loaded = self._to_device(pack, validation=False)
                samplers.append(DeviceSampler(loaded, size=o.size, batch=count, seed=o.seed))
        return samplers

    def _validation(self) -> Batch | None:
        """Fixed pairs of people who are not trained on; None where the first pack carries none."""
        main = self._packs[0]
        if len(main.rows(validation=True)) < 2:
            return None
        loaded = self._to_device(main, validation=True)
        return DeviceSampler(loaded, size=self._options.size, batch=_FIGURE_PAIRS, seed=1).batch(0)

    def _to_device(self, pack: CarriedPack, *, validation: bool) -> DevicePack:
        rows = pack.rows(validation=validation)
        tables = (pack.landmarks, pack.blendshapes, pack.segment, pack.pose_group, pack.made)
        return DevicePack(pack.frames[rows], *(table[rows] for table in tables), device=self._device)


def _parse(argv: Sequence[str]) -> tuple[SessionOptions, CompactOptions]:
    parser = argparse.ArgumentParser(prog="python -m training.gpu_session", description=__doc__)
    add = parser.add_argument
    add("--carry", type=Path, required=True, help="folder of 'mimicam carry'")
    add("--out", type=Path, required=True, help="receives small files only")
    add("--minutes", type=float, default=9.0, help="of the whole session; it ends cleanly then")
    add("--steps", type=int, default=8000, help="length of the learning-rate curve")
    add("--batch", type=int, default=96)
    add("--size", type=int, default=256)
    add("--other-share", type=float, default=0.125, help="of each batch, for each pack after the first")
    add("--publish-s", type=float, default=90.0, help="how often the files are written")
    add("--seed", type=int, default=0, help="give another one when going on: it draws other batches")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--lr", type=float, default=4e-4)
    add("--lr-final", type=float, default=5e-5)
    add("--warmup", type=int, default=200)
    add("--perceptual-weight", type=float, default=0.15)
    add("--landmark-weight", type=float, default=6.0)
    add("--landmark-samples", type=int, default=32, help="of each batch")
    add("--gan", type=float, default=0.0, help="weight of a discriminator, for a last stage")
    add("--gan-parts", type=float, default=0.0, help="weight of two more, of the mouth and of the eyes")
    a = parser.parse_args(argv)
    session = SessionOptions(
        carry=a.carry, out=a.out, minutes=a.minutes, steps=a.steps, batch=a.batch, size=a.size,
        other_share=a.other_share, publish_s=a.publish_s, seed=a.seed, device=a.device,
    )  # fmt: skip
    compact = CompactOptions(
        lr=a.lr, lr_final=a.lr_final, warmup=a.warmup, steps=a.steps, perceptual=a.perceptual_weight,
        landmark=a.landmark_weight, landmark_samples=a.landmark_samples, gan=a.gan, gan_parts=a.gan_parts,
    )  # fmt: skip
    return session, compact


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 1 refused."""
    session, compact = _parse(sys.argv[1:] if argv is None else argv)
    try:
        reached = Session(session, compact).run()
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"stopped at step {reached}; the files are in {session.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
