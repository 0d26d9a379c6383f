"""``mimicam figure disentangle``: embedded faces and displacement fields (DAE-GAN, figure 7)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro

from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs, write_atomically
from mimicam.engine.models.daegan.bundle import Weights
from mimicam.engine.models.daegan.weights import load_daegan
from mimicam.engine.models.load import model_path
from mimicam.engine.portrait_clip import spread_frames
from mimicam.engine.portrait_face import find_face
from mimicam.engine.stages.crop import cut, portrait_box
from mimicam.engine.types import Image
from mimicam.training.daegan.figure import disentangled


@dataclass(frozen=True, kw_only=True)
class Disentangle:
    """Draw what a DAE-GAN makes of the frames of a clip.

    Rows: frames, reconstructions, the face embedded from each frame alone, and the displacement
    that leads from it to the frame, direction as hue and length as strength. The faces should be
    almost equal, the displacements not.
    """

    clip: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="CLIP")]
    """Video of one person."""
    model: str = "daegan"
    """Name of the bundled model, a folder of 'mimicam models bundle', or model.safetensors of 'mimicam
    train daegan'."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="OUT.png")]
    """Picture to write."""
    count: int = 6
    """Number of frames, spread over the clip's first minute."""

    def run(self) -> None:
        """Draw and write the picture."""
        weights = Weights.of(model_path(self.model)).file
        refuse_to_overwrite_inputs([self.out], [self.clip, weights])
        if self.count < 1:
            raise EngineError(f"--count must be at least 1, not {self.count}")
        model = load_daegan(weights)
        frames = spread_frames(self.clip, self.count)
        grid = disentangled(model, _crops(frames, str(self.clip), model.config.size))
        ok, png = cv2.imencode(".png", grid[:, :, ::-1])
        assert ok, "OpenCV encodes every RGB picture as PNG"
        with write_atomically(self.out) as part:
            part.write_bytes(png.tobytes())
        print(f"wrote {self.out}")


def _crops(frames: list[Image], label: str, size: int) -> list[Image]:
    """Cut all frames by the box of the first face that is found, as in training."""
    for frame in frames:
        try:
            image, face, _ = find_face(frame, label)
        except EngineError:
            continue  # the next frame may show it
        if image.shape == frame.shape:
            return [np.ascontiguousarray(cut(each, portrait_box(face), size)) for each in frames]
    raise EngineError(f"{label} shows no face: give a video of one person, from the front and well lit")
