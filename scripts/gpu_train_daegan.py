"""Train DAE-GAN's compact preset on a GPU for a few minutes:
``python scripts/gpu_train_daegan.py --pack DIR --out DIR --minutes 5``.

For a remote GPU without internet access, beside ``scripts/gpu_train.py`` and with its folder.
``--out`` receives three small files, each replaced at least every minute: model.safetensors for
``mimicam ... --model``, samples.jpg and report.json. The sample grid has the rows frame, target,
embedded face, warped reconstruction and generator's picture, of people never trained on.
docs/daegan.md describes it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

_STARTED_S = time.monotonic()  # --minutes counts the imports below: they take 10 to 20 s on a fresh machine
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from scripts.remote_training.command import run_on  # noqa: E402
from scripts.remote_training.daegan_phases import PHASES, Phase, Weights  # noqa: E402
from scripts.remote_training.daegan_session import DaeGanSession, DaeGanSessionOptions  # noqa: E402
from scripts.remote_training.session import Deadline  # noqa: E402

_REHEARSED_PHASE: dict[str, Any] = {"batch": 2, "steps": 2}
_REHEARSED_SESSION: dict[str, Any] = {"validation": 2}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpu_train_daegan.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    weights = Weights()
    add = parser.add_argument
    add("--pack", type=Path, required=True, help="folder written by scripts.remote_training.pack")
    add("--out", type=Path, required=True, help="folder for the small files")
    add("--minutes", type=float, default=5.0, help="time limit of the whole command, imports included")
    add(
        "--shares",
        type=float,
        nargs=len(PHASES),
        default=[phase.share for phase in PHASES],
        metavar="SHARE",
        help=f"time of {', '.join(phase.name for phase in PHASES)}; 0 leaves one out (default: %(default)s)",
    )
    add("--frames", type=int, default=3, help="most frames of a person that are fused into one face")
    add("--other-share", type=float, default=0.15, help="share of the samples, for each pack after the first")
    add("--keep-generator", action="store_true", help="start from the generator of daegan.pt too")
    add("--adversarial", type=float, default=weights.adversarial, help="weight of the adversarial loss")
    add("--perceptual", type=float, default=weights.perceptual, help="weight of the perceptual loss")
    add("--guidance", type=float, default=weights.guidance, help="weight of the landmarks for both warps")
    add("--snapshot-s", type=float, default=40.0, help="seconds between writing the files, at most 60")
    add("--seed", type=int, default=0, help="seed of fresh weights and of the batches")
    add("--device", default="cuda", help="PyTorch device that trains")
    add("--rehearse", action="store_true", help="train two steps of each phase on a CPU, as a test")
    return parser


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(given)
    if options.rehearse:
        options.device = "cpu"
    if not 0 < options.snapshot_s <= 60:
        parser.error("--snapshot-s must lie in 0..60")
    if min(options.shares) < 0 or not sum(options.shares):
        parser.error("--shares must not be negative, and not all 0")
    if options.frames < 1:
        parser.error("--frames must be at least 1")
    return options


def _phases(options: argparse.Namespace) -> tuple[Phase, ...]:
    more: dict[str, Any] = _REHEARSED_PHASE if options.rehearse else {}
    pairs = zip(PHASES, options.shares, strict=True)
    return tuple(replace(phase, share=share, **more) for phase, share in pairs if share)


def _train(options: argparse.Namespace, started_s: float) -> None:
    o = options
    session = DaeGanSession(
        DaeGanSessionOptions(
            pack=o.pack,
            phases=_phases(o),
            weights=replace(
                Weights(), adversarial=o.adversarial, perceptual=o.perceptual, guidance=o.guidance
            ),
            frames=o.frames,
            other_share=o.other_share,
            keep_generator=o.keep_generator,
            snapshot_s=o.snapshot_s,
            seed=o.seed,
            device=o.device,
            **_REHEARSED_SESSION if o.rehearse else {},
        ),
        Deadline(started_s + 60 * o.minutes),
    )
    print(f"data ready after {time.monotonic() - started_s:.1f} s", flush=True)
    reached = session.train(o.out)
    print(f"stopped at step {reached}; the files are in {o.out}")


def main(arguments: Sequence[str], *, started_s: float | None = None) -> int:
    """Train; return 0 if done, 1 if refused, 2 without a GPU.

    Args:
        started_s: monotonic time from which the minutes count; None is now.
    """
    started_s = time.monotonic() if started_s is None else started_s
    options = _arguments(arguments)
    return run_on(options.device, lambda: _train(options, started_s))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], started_s=_STARTED_S))
