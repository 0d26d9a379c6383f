"""``mimicam pack``: decode and track clips and pictures into a pack."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.progress import Progress

from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.training.data.pack import Packer, Segment, packed_files, read_clip_folder, read_clip_index
from mimicam.training.data.split import VALIDATION, read_people, validation_people

__all__ = ["VALIDATION", "Pack", "PackSynthetic"]


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Decode clips or pictures once, track every face, and write a pack that training reads."""

    folder: Path
    """Folder of mp4 files or pictures, square crops with the face free to move inside."""
    index: Path | None = None
    """CSV with the columns file, identity and, where clips jump, jump_cuts_s; 'mimicam prepare' writes one. Without
    it every clip below the folder is taken: person/video/clip.mp4 (VoxCeleb) or person.mp4 (HDTF)."""
    out: Path
    """Folder to write."""
    size: int = 256
    """Side of the stored pictures, pixels."""
    every: int = 2
    """Keep every n-th frame: neighbours at 25 fps teach the same twice."""
    validation: Path | None = None
    """Text file of the people kept out of training, one a line. Without it the project's own list where it names
    anyone here, else a share of the people by a hash of their name."""
    validation_percent: int = 5
    """Of the people, where the hash decides."""

    def __post_init__(self) -> None:
        if not 0 <= self.validation_percent <= 100:
            raise EngineError(f"--validation-percent must lie in 0..100, got {self.validation_percent}")

    def segments(self) -> list[Segment]:
        """What is packed, split by person."""
        if self.index is None:
            found = read_clip_folder(self.folder, frozenset())
        else:
            found = read_clip_index(self.folder, self.index, frozenset())
        listed = None if self.validation is None else read_people(self.validation)
        kept = validation_people({s.identity for s in found}, listed, self.validation_percent)
        return [replace(s, validation=s.identity in kept) for s in found]

    def run(self) -> None:
        """Pack everything that was found."""
        read = filter(None, (self.folder, self.index, self.validation))
        refuse_to_overwrite_inputs(packed_files(self.out), read)
        segments = self.segments()
        people = {s.identity: s.validation for s in segments}
        print(
            f"{len(segments)} clips; {sum(people.values())} of {len(people)} people are kept out of training"
        )
        packer = Packer(self.out, size=self.size, every=self.every)
        with Progress() as progress:
            task = progress.add_task("packing", total=len(segments))
            for segment in segments:
                packer.add(self.folder / segment.file, segment)
                progress.advance(task)
        packer.close()


_POSE_OF = (0, 0, 1, 1)
"""Which of a quadruple's two poses a picture has; see `training.synthetic.quadruple.ORDER`."""


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
        refuse_to_overwrite_inputs(packed_files(self.out), [self.quadruples])
        packer = Packer(self.out, size=self.size)
        with np.load(self.quadruples) as data, Progress() as progress:
            images = data["images"]
            for number in progress.track(range(len(images)), description="packing"):
                name = f"{self.quadruples.stem}-{number}"
                packer.begin(Segment(file=name, identity=name, validation=self.validation))
                for place, image in enumerate(images[number]):
                    packer.keep(image, pose_group=2 * number + _POSE_OF[place])
        packer.close()
