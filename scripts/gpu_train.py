"""Train the compact preset on a GPU for a few minutes:
``python scripts/gpu_train.py --pack DIR --out DIR --minutes 5``.

For a remote GPU without internet access. ``python -m scripts.remote_training.pack`` writes the
folder for ``--pack``. ``--out`` receives five small files, each replaced at least every minute:
averaged weights (fp16), loss curve, samples, and a report as JSON and as a page. The smoke run of
``scripts/gpu_check.py``, in or beside ``--out``, gives the number of steps. The learning rate
follows these steps or the minutes, whichever is further. docs/training.md describes it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_STARTED_S = time.monotonic()  # --minutes counts the imports below: they take 10 to 20 s on a fresh machine
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

from mimicam.benchmarks.gpu_parts import SMOKE_S  # noqa: E402
from mimicam.training.compact.recipe import CompactOptions  # noqa: E402
from scripts.remote_training.command import run_on  # noqa: E402
from scripts.remote_training.session import Deadline, RemoteTraining, SessionOptions  # noqa: E402
from scripts.remote_training.smoke import run_smoke  # noqa: E402
from scripts.remote_training.step_count import find_step_count  # noqa: E402

_SNAPSHOT_S = 45.0
_GUESS_STEPS_PER_S = 15.0
_REHEARSAL = {"batch": 2, "size": 32, "device": "cpu", "cross_identity": 1, "warmup": 1, "snapshot_s": 4.0}
_REHEARSED_SMOKE_S = 3.0
_REHEARSED_STEPS = 10


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpu_train.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--pack",
        type=Path,
        help="folder written by scripts.remote_training.pack; optional with --rehearse and --smoke",
    )
    add("--out", type=Path, help="folder for the small files")
    add("--minutes", type=float, default=5.0, help="time limit of the whole command, imports included")
    add("--steps", type=int, help="last step, and length of the learning-rate schedule")
    add(
        "--steps-from",
        type=Path,
        metavar="FILE",
        help="gpu_check.json with the smoke run that gives the number of steps",
    )
    add("--batch", type=int, default=256, help="pairs per step; 12 GiB of GPU memory for each 96")
    add("--size", type=int, default=256, help="side of the pictures, pixels")
    add(
        "--cross-identity",
        "--strangers",  # the name of before version 0.2
        type=int,
        default=24,
        metavar="N",
        help="portraits per batch that another person drives as well",
    )
    add(
        "--other-share",
        type=float,
        nargs="+",
        default=[0.125],
        metavar="SHARE",
        help="share of each batch, for each pack after the first; one number counts for all of them",
    )
    add("--snapshot-s", type=float, default=_SNAPSHOT_S, help="seconds between writing the files, at most 60")
    add("--seed", type=int, default=0, help="seed of the batches; use another one to continue from weights")
    add("--device", default="cuda", help="PyTorch device that trains")
    add("--lr", type=float, default=4e-4, help="learning rate after the warm-up")
    add("--lr-final", type=float, default=5e-5, help="learning rate at the end")
    add("--warmup", type=int, default=200, help="steps over which the learning rate rises")
    add("--perceptual-weight", type=float, default=0.15, help="weight of the perceptual loss")
    add("--landmark-weight", type=float, default=6.0, help="weight of the landmark loss")
    add("--landmark-samples", type=int, default=80, help="pictures per batch with landmark loss")
    add("--gan", type=float, default=0.0, help="weight of the adversarial loss, for a last stage")
    add("--gan-parts", type=float, default=0.0, help="weight of the adversarial losses of mouth and eyes")
    add("--gan-features", type=float, default=1.0, help="weight of feature matching, with a discriminator")
    add(
        "--smoke",
        type=Path,
        metavar="FILE.json",
        help=f"train for {SMOKE_S} s and write only figures: steps/s and a profile",
    )
    add("--rehearse", action="store_true", help="train ten steps at toy size on a CPU, as a test")
    return parser


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(given)
    if options.rehearse:
        vars(options).update(_REHEARSAL)
    if options.smoke is None and options.out is None:
        parser.error("name a folder with --out")
    if options.smoke is None and options.pack is None and not options.rehearse:
        parser.error("name a folder with --pack")
    if not 0 < options.snapshot_s <= 60:
        parser.error("--snapshot-s must lie in 0..60")
    return options


def _training(options: argparse.Namespace, deadline: Deadline, steps: int) -> RemoteTraining:
    o = options
    session = SessionOptions(
        pack=o.pack, batch=o.batch, size=o.size, other_shares=tuple(o.other_share),
        cross_identity=o.cross_identity, seed=o.seed, device=o.device,
    )  # fmt: skip
    compact = CompactOptions(
        lr=o.lr, lr_final=o.lr_final, warmup=o.warmup, steps=steps, perceptual=o.perceptual_weight,
        landmark=o.landmark_weight, landmark_samples=o.landmark_samples, gan=o.gan, gan_parts=o.gan_parts,
        gan_features=o.gan_features,
    )  # fmt: skip
    return RemoteTraining(session, compact, deadline)


def _smoke(options: argparse.Namespace) -> None:
    seconds = _REHEARSED_SMOKE_S if options.rehearse else float(SMOKE_S)
    training = _training(options, Deadline(time.monotonic() + 3600), steps=100_000)
    few = {"profiled_steps": 1} if options.rehearse else {}
    found = run_smoke(training, seconds, options.smoke, **few)
    print(f"{found['steps_per_s']:.2f} steps/s, {found['samples_per_s']:.0f} samples/s")


def _train(options: argparse.Namespace, started_s: float) -> None:
    o = options
    deadline = Deadline(started_s + 60 * o.minutes)
    device = torch.cuda.get_device_name() if o.device.startswith("cuda") else "cpu"
    guess = round(_GUESS_STEPS_PER_S * 60 * o.minutes)
    count = find_step_count(
        o.out, deadline.left_s(), batch=o.batch, device=device, given=o.steps_from, guess=guess
    )  # fmt: skip
    steps, source = (count.steps, count.source) if o.steps is None else (o.steps, "--steps")
    print(f"learning-rate curve of {steps} steps ({source})", flush=True)
    training = _training(o, deadline, steps)
    last = _REHEARSED_STEPS if o.rehearse and o.steps is None else o.steps
    reached = training.train(o.out, steps=last, every_s=o.snapshot_s, curve_steps=steps, curve_from=source)
    print(f"stopped at step {reached}; the files are in {o.out}")


def main(arguments: Sequence[str], *, started_s: float | None = None) -> int:
    """Train; return 0 if done, 1 if refused, 2 without a GPU.

    Args:
        started_s: monotonic time from which the minutes count; None is now.
    """
    started_s = time.monotonic() if started_s is None else started_s
    options = _arguments(arguments)
    if options.smoke is not None:
        return run_on(options.device, lambda: _smoke(options))
    return run_on(options.device, lambda: _train(options, started_s))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], started_s=_STARTED_S))
