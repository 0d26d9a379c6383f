"""Write what training on a remote GPU needs into one small folder:
``python -m scripts.remote_training.pack --help``.

For a remote machine without internet access and with a transfer limit. Packs are thinned out evenly
until they fit; weights and loss networks are written in fp16. ``scripts/gpu_train.py --pack DIR``
reads the folder (docs/training.md).
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.training.compact.weights import load_average, save_half
from mimicam.training.losses.perceptual import MobileNetDistance
from mimicam.training.trainer import read_checkpoint
from scripts.remote_training.portable import write_packs

_WRITTEN = {".webp", ".xz", ".pt", ".onnx", ".json"}
_LIMIT_MIB = 32.0
"""Size limit of the folder, MiB. The checkout is about as large; together they stay under 64 MiB, a
common limit."""


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """Contents of the folder to write."""

    packs: tuple[Path, ...]
    """Packs of 'mimicam data pack'; the first is the main one."""
    out: Path
    """Folder to write; an older one is replaced."""
    weights: Path | None = None
    """Checkpoint of a run to continue from."""
    daegan: Path | None = None
    """Checkpoint of a DAE-GAN run of the compact preset to start from."""
    perceptual: Path | None = None
    """torchvision's mobilenet_v2 weights."""
    landmarks: Path | None = None
    """The tracker's landmark network as ONNX."""
    shares: tuple[float, ...] = ()
    """Part of the pictures' bytes for each pack after the first; empty gives each a fifth."""
    limit_mib: float = _LIMIT_MIB
    """Size limit of everything together."""
    quality: int = 80
    """Quality of WebP, 1..100."""
    size: int = 256
    """Side of the pictures, pixels."""

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise EngineError(f"--quality must lie in 1..100, got {self.quality}")


def write_folder(options: PackOptions) -> None:
    """Write the folder.

    Raises:
        EngineError: a file is missing or of the wrong kind, or the networks alone are too large.
    """
    o, out = options, options.out
    _clear(o)
    if o.weights is not None:
        save_half(load_average(o.weights), out / "weights.pt")
    if o.daegan is not None:
        _write_daegan(o.daegan, out / "daegan.pt")
    if o.perceptual is not None:
        _write_perceptual(o.perceptual, out / "perceptual.pt")
    if o.landmarks is not None:
        shutil.copyfile(o.landmarks, out / "landmarks.onnx")
    room = int(o.limit_mib * 2**20) - _size(out)
    if room < 2**20:
        raise EngineError(f"the networks alone leave {room / 2**20:.1f} MiB: raise --limit-mib")
    write_packs(o.packs, out, limit_bytes=room, quality=o.quality, size_px=o.size, say=print, shares=o.shares)
    print(f"{out}: {_size(out) / 2**20:.1f} MiB")


def _clear(options: PackOptions) -> None:
    """Make the folder, or remove an older one's files; anything else in it is refused."""
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    old = [path for path in out.iterdir() if path.suffix in _WRITTEN]
    read = (*options.packs, options.weights, options.daegan, options.perceptual, options.landmarks)
    refuse_to_overwrite_inputs(old, (path for path in read if path is not None))
    if old and not (out / "pack.json").is_file():
        raise EngineError(
            f"{out} holds {old[0].name}, which this command did not write: choose another --out"
        )
    for path in old:
        path.unlink()


def _write_daegan(checkpoint: Path, out: Path) -> None:
    """Write the networks that run live, in fp16."""
    state = read_checkpoint(checkpoint)
    if state["recipe"] != "daegan":
        raise EngineError(f"{checkpoint} is of recipe '{state['recipe']}': give a run of 'train daegan'")
    model = {n: v.half() if v.is_floating_point() else v for n, v in state["modules"]["model"].items()}
    torch.save({"recipe": "daegan", "step": state["step"], "modules": {"model": model}}, out)


def _write_perceptual(weights: Path, out: Path) -> None:
    """Write the layers that the distance uses, in fp16."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    MobileNetDistance(weights)  # raises where the file is wrong
    # Deeper blocks are most of the file and are not used.
    last = MobileNetDistance.last_block()
    names = [n for n in state if n.startswith("features.") and int(n.split(".")[1]) <= last]
    torch.save({n: state[n].half() if state[n].is_floating_point() else state[n] for n in names}, out)


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.iterdir() if p.is_file())


def _parse(given: Sequence[str]) -> PackOptions:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.remote_training.pack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--packs",
        type=Path,
        nargs="+",
        required=True,
        help="packs of 'mimicam data pack'; the first is the main one",
    )
    add("--out", type=Path, required=True, help="folder to write; an older one is replaced")
    add("--weights", type=Path, help="checkpoint of a run to continue from")
    add("--daegan", type=Path, help="checkpoint of a DAE-GAN run of the compact preset to start from")
    add("--perceptual", type=Path, help="torchvision's mobilenet_v2 weights")
    add("--landmarks", type=Path, help="the tracker's landmark network as ONNX")
    add(
        "--shares",
        type=float,
        nargs="+",
        default=[],
        metavar="SHARE",
        help="part of the pictures' bytes for each pack after the first (default: a fifth each)",
    )
    add(
        "--limit-mib",
        type=float,
        default=_LIMIT_MIB,
        help="size of everything together (default: %(default)s)",
    )
    add("--quality", type=int, default=80, help="quality of WebP, 1..100 (default: %(default)s)")
    add("--size", type=int, default=256, help="side of the pictures, pixels (default: %(default)s)")
    found = vars(parser.parse_args(given))
    return PackOptions(**found | {name: tuple(found[name]) for name in ("packs", "shares")})


def main(arguments: Sequence[str]) -> int:
    """Write the folder; return 0 if written, 1 if refused."""
    try:
        write_folder(_parse(arguments))
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
