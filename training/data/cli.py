"""``mimicam pack``: decode and track clips and pictures into a pack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress

from training.data.pack import Packer, Segment, read_clip_index

VALIDATION = frozenset(
    [
        "P001",
        "P080",
        "P108",
        "P122",
        "P126",
        "P138",
        "P139",
        "P148",
        "P151",
        "P152",
        "P186",
        "P206",
        "P207",
        "P212",
    ]
)
"""Never trained on. Chosen for a spread of head motion and expression, sex, age, skin and camera; the
demo's driver (P186) is among them."""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Decode clips or pictures once, track every face, and write a pack that training reads."""

    folder: Path
    """Folder of mp4 files or pictures, square crops with the face free to move inside."""
    index: Path
    """CSV with the columns file, identity and, where clips jump, jump_cuts_s."""
    out: Path
    """Folder to write."""
    size: int = 256
    """Side of the stored pictures, pixels."""
    every: int = 2
    """Keep every n-th frame: neighbours at 25 fps teach the same twice."""

    def run(self) -> None:
        """Pack all rows of the index."""
        segments = read_clip_index(self.folder, self.index, VALIDATION)
        packer = Packer(self.out, size=self.size, every=self.every)
        with Progress() as progress:
            task = progress.add_task("packing", total=len(segments))
            for segment in segments:
                packer.add(self.folder / segment.file, segment)
                progress.advance(task)
        packer.close()


@dataclass(frozen=True, kw_only=True)
class PackSynthetic:
    """Track rendered quadruples, written by 'mimicam synthesize', and write a pack: one segment a head."""

    quadruples: Path
    """The npz file: ``images`` uint8 ``[N, 4, S, S, 3]``."""
    out: Path
    """Folder to write."""
    size: int = 256
    validation: bool = False
    """Keep these heads out of training."""

    def run(self) -> None:
        """Pack all heads."""
        packer = Packer(self.out, size=self.size)
        with np.load(self.quadruples) as data, Progress() as progress:
            images = data["images"]
            for number in progress.track(range(len(images)), description="packing"):
                name = f"{self.quadruples.stem}-{number}"
                packer.begin(Segment(file=name, identity=name, validation=self.validation))
                for image in images[number]:
                    packer.keep(image)
        packer.close()
