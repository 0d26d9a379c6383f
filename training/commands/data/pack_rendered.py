"""``mimicam data pack-rendered``: track rendered heads into a pack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress

from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.training.data.pack import Packer, Segment
from mimicam.training.data.pack_folder import pack_files

_POSE_OF = (0, 0, 1, 1)
"""Pose, 0 or 1, of each of a quadruple's four pictures; see
`training.synthetic.quadruple.ORDER`."""


@dataclass(frozen=True, kw_only=True)
class PackRendered:
    """Track the heads that 'mimicam data render' rendered, and write a pack with one segment per
    head."""

    quadruples: Path
    """The npz file: ``images`` uint8 ``[N, 4, S, S, 3]``."""
    out: Path
    """Folder to write."""
    size: int = 256
    """Side of the stored pictures, pixels."""
    validation: bool = False
    """Keep these heads out of training."""

    def run(self) -> None:
        """Track and pack all heads."""
        refuse_to_overwrite_inputs(pack_files(self.out), [self.quadruples])
        packer = Packer(self.out, size=self.size)
        with np.load(self.quadruples) as data, Progress() as progress:
            images = data["images"]
            for number in progress.track(range(len(images)), description="packing"):
                name = f"{self.quadruples.stem}-{number}"
                packer.begin(Segment(file=name, identity=name, validation=self.validation))
                for place, image in enumerate(images[number]):
                    # Two poses by two expressions: a group is one head in one pose.
                    packer.keep(image, same_pose_group=2 * number + _POSE_OF[place])
        packer.close()
