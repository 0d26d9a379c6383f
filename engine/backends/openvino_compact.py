"""The compact preset on OpenVINO: the default on every machine without a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.backends.bundle_facts import COMPACT_DIR, read_facts
from engine.backends.model import Features, as_network_input, check_own
from engine.backends.openvino_runtime import Network, has_bf16
from engine.errors import EngineError
from engine.runtime.cores import usable_cores
from engine.types import Float, Image, Layers

_INPUTS = (
    "latent", "map2", "map4", "map8", "map16",
    "source_points", "target_points", "affine", "head", "expression", "pose", "openings", "own_teeth",
)  # fmt: skip
"""What the generator is fed with: ``Features.arrays``, then ``engine.stages.motion.Drive.arrays``."""
_FILES = ("encoder.xml", "encoder.bin", "generator.xml", "generator.bin", "model.json")


class OpenVinoCompact:
    """See `engine.backends.model.TrackerModel`. Sampling grids stay in fp32 (marked in the file); the rest may be bf16."""

    def __init__(self, folder: Path = COMPACT_DIR, *, threads: int | None = None) -> None:
        """Load the encoder and the generator.

        Args:
            folder: written by ``mimicam bundle``.
            threads: inference threads; None takes the physical cores, at most four.

        Raises:
            EngineError: the folder is not complete, or does not load.
        """
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise EngineError(
                f"{folder} lacks {missing[0]}: reinstall mimicam, or pass --model with a bundle"
            )
        facts = read_facts(folder)
        threads = threads or min(usable_cores(), 4)
        precision = "bf16" if has_bf16() else "f32"
        self.name: str = facts.name
        self.sha256: str = facts.sha256
        self.size: int = facts.size
        self.backend = f"openvino {precision}, {threads} thread{'s' if threads > 1 else ''}"
        # The encoder runs once a portrait: its latency is a pause, its rounding stays in every frame.
        self._encoder = Network(folder / "encoder.xml", threads=threads, name="the portrait encoder")
        self._generator = Network(
            folder / "generator.xml", threads=threads, precision=precision, name="the generator"
        )
        if tuple(self._generator.inputs) != _INPUTS:
            raise EngineError(f"{folder} was made by another version of mimicam: make the bundle again")
        self._resident: Features | None = None

    def encode(self, crop: Image) -> Features:
        """See `engine.backends.model.Model.encode`."""
        image = as_network_input(crop)
        return Features(
            arrays=tuple(np.array(a, np.float32) for a in self._encoder(image)), model=self.sha256
        )

    def generate(self, features: Features, drive: tuple[Float, ...]) -> Layers:
        """See `engine.backends.model.TrackerModel.generate`."""
        check_own(features, self.sha256)
        if features is not self._resident:
            self._generator.give(0, *features.arrays)
            self._resident = features
        self._generator.give(len(features.arrays), *(a[None] for a in drive))
        painted, mask, flow = self._generator.run()
        return Layers(painted=painted[0], mask=mask[0, 0], flow=flow[0])
