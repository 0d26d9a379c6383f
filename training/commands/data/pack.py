"""``mimicam data pack``: decode and track clips and pictures into a pack."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import Progress

from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.training.data.pack import Packer, Segment, read_clip_folder, read_clip_index
from mimicam.training.data.pack_folder import pack_files
from mimicam.training.data.split import read_people, validation_people


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Decode clips or pictures once, track every face, and write a pack that training reads."""

    folder: Path
    """Folder of mp4 files or pictures: square crops in which the face moves freely."""
    index: Path | None = None
    """CSV with the columns file, identity and, for clips with jump cuts, jump_cuts_s; 'mimicam data
    prepare' writes one. By default every clip below the folder is packed: person/video/clip.mp4
    (VoxCeleb) or person.mp4 (HDTF)."""
    out: Path
    """Folder to write."""
    size: int = 256
    """Side of the stored pictures, pixels."""
    every: int = 2
    """Keep every n-th frame; at 25 fps neighbours hardly differ."""
    validation: Path | None = None
    """Text file of the people kept out of training, one per line. By default the project's own list
    if it names anyone here, otherwise a share of the people by a hash of their name."""
    validation_percent: int = 5
    """Percentage of the people that the hash keeps out of training."""

    def __post_init__(self) -> None:
        if not 0 <= self.validation_percent <= 100:
            raise EngineError(f"--validation-percent must lie in 0..100, got {self.validation_percent}")

    def segments(self) -> list[Segment]:
        """List what is packed, split by person."""
        if self.index is None:
            found = read_clip_folder(self.folder, frozenset())
        else:
            found = read_clip_index(self.folder, self.index, frozenset())
        listed = None if self.validation is None else read_people(self.validation)
        kept = validation_people({s.identity for s in found}, listed, self.validation_percent)
        return [replace(s, validation=s.identity in kept) for s in found]

    def run(self) -> None:
        """Pack everything that was found."""
        inputs = filter(None, (self.folder, self.index, self.validation))
        refuse_to_overwrite_inputs(pack_files(self.out), inputs)
        segments = self.segments()
        # By person: with frames of one person on both sides, every figure would flatter the model.
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
