"""``mimicam carry``: what a training session on a lent GPU machine needs, in one small folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.errors import EngineError
from engine.files import refuse_to_overwrite_inputs
from training.carry import write_packs
from training.perceptual import MobileNetDistance
from training.weights import load_average, save_half

_WRITTEN = {".webp", ".xz", ".pt", ".onnx", ".json"}


@dataclass(frozen=True, kw_only=True)
class Carry:
    """Write packs, weights and loss networks small enough to travel to a GPU machine (docs/training.md)."""

    packs: tuple[Path, ...]
    """Packs of 'mimicam pack'; the first is the main one."""
    out: Path
    """Folder to write; an older one is replaced."""
    weights: Path | None = None
    """Checkpoint of a run to go on from."""
    perceptual: Path | None = None
    """torchvision's mobilenet_v2 weights."""
    landmarks: Path | None = None
    """The tracker's landmark network as ONNX."""
    limit_mib: float = 40.0
    """Of everything together."""
    quality: int = 80
    """WebP's, 1..100."""
    size: int = 256
    """Side of the carried pictures."""

    def __post_init__(self) -> None:
        if not self.packs:
            raise EngineError("--packs names no pack: give at least one folder")
        if not 1 <= self.quality <= 100:
            raise EngineError(f"--quality must lie in 1..100, got {self.quality}")

    def run(self) -> None:
        """Write the folder."""
        self._clear()
        if self.weights is not None:
            save_half(load_average(self.weights), self.out / "weights.pt")
        if self.perceptual is not None:
            self._carry_perceptual(self.perceptual)
        if self.landmarks is not None:
            shutil.copyfile(self.landmarks, self.out / "landmarks.onnx")
        room = int(self.limit_mib * 2**20) - _size(self.out)
        if room < 2**20:
            raise EngineError(f"the networks alone leave {room / 2**20:.1f} MiB: raise --limit-mib")
        write_packs(
            self.packs, self.out, limit_bytes=room, quality=self.quality, size_px=self.size, say=print
        )
        print(f"{self.out}: {_size(self.out) / 2**20:.1f} MiB")

    def _clear(self) -> None:
        """Make the folder, or remove an older one's files; those of somebody else are left alone."""
        self.out.mkdir(parents=True, exist_ok=True)
        old = [path for path in self.out.iterdir() if path.suffix in _WRITTEN]
        refuse_to_overwrite_inputs(
            old, filter(None, (*self.packs, self.weights, self.perceptual, self.landmarks))
        )
        if old and not (self.out / "carry.json").is_file():
            raise EngineError(
                f"{self.out} holds {old[0].name}, which carry did not write: choose another --out"
            )
        for path in old:
            path.unlink()

    def _carry_perceptual(self, weights: Path) -> None:
        """The layers that the distance reads, in fp16."""
        state = torch.load(weights, map_location="cpu", weights_only=True)
        MobileNetDistance(weights)  # says what is wrong with the file, if anything is
        names = [
            n
            for n in state
            if n.startswith("features.") and int(n.split(".")[1]) <= MobileNetDistance.last_block()
        ]
        half = {n: state[n].half() if state[n].is_floating_point() else state[n] for n in names}
        torch.save(half, self.out / "perceptual.pt")


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.iterdir() if p.is_file())
