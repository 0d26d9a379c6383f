"""The papers' own metrics, by networks that the user supplies as ONNX files.

No package ships these networks. Pictures go in as RGB, float32 ``[1, 3, S, S]`` in -1..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimicam.engine.backends.openvino import OpenVinoNetwork
from mimicam.engine.errors import EngineError
from mimicam.engine.types import Float, Image
from mimicam.training.evaluation import metrics
from mimicam.training.evaluation.evaluate import Reenactment, Tally

_POINTS = (468, 473, 1, 61, 291)
"""Right and left iris, tip of the nose, corners of the mouth; MediaPipe's numbers."""
_TEMPLATE_PX = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Positions of these points in ArcFace's crop of 112 pixels (Deng et al., CVPR 2019)."""
_ARCFACE_PX, _INCEPTION_PX = 112, 299


@dataclass(frozen=True, kw_only=True)
class PaperNetworks:
    """Networks of the papers' metrics. None is not measured."""

    arcface: OpenVinoNetwork | None = None
    """Aligned face of 112 pixels to an embedding: CSIM."""
    lpips: OpenVinoNetwork | None = None
    """Two pictures to their distance: LPIPS."""
    inception: OpenVinoNetwork | None = None
    """Picture of 299 pixels to features: FID."""

    def tally(self, tally: Tally, one: Reenactment) -> None:
        """Add CSIM: cosine of the embeddings of result and portrait."""
        if self.arcface is None:
            return
        # Embedded once per pair: the network takes longer than drawing a frame.
        own = self._embed(one.portrait.images[one.at], one.portrait.landmarks[one.at])
        for image, face in zip(one.results, one.faces, strict=True):
            if face is not None:
                tally.add("CSIM", metrics.cosine(self._embed(image, face.landmarks), own))

    def tally_truth(self, tally: Tally, one: Reenactment) -> None:
        """Add LPIPS to the driver's frames."""
        if self.lpips is None:
            return
        for result, truth in zip(one.results, one.driver.images, strict=True):
            (distance,) = self.lpips(_input(result), _input(truth))
            tally.add("LPIPS", float(distance.item()))

    def tally_sets(self, tally: Tally, fakes: Sequence[Image], reals: Sequence[Image]) -> None:
        """Add FID of two sets of pictures."""
        if self.inception is None:
            return
        features = [np.stack([self._features(image) for image in images]) for images in (fakes, reals)]
        tally.add("FID", metrics.frechet(*features))

    def _embed(self, image: Image, landmarks_px: Float) -> Float:
        assert self.arcface is not None
        (found,) = self.arcface(_input(aligned_face(image, landmarks_px)))
        return np.array(found[0], np.float32)

    def _features(self, image: Image) -> Float:
        assert self.inception is not None
        side = (_INCEPTION_PX, _INCEPTION_PX)
        (found,) = self.inception(_input(np.asarray(cv2.resize(image, side, interpolation=cv2.INTER_LINEAR))))
        return np.array(found[0], np.float32)


def aligned_face(image: Image, landmarks_px: Float) -> Image:
    """Turn and scale a face to ArcFace's template, ``[112, 112, 3]``."""
    # Least squares over all five points; the default would leave out those that fit badly.
    rows = landmarks_px[list(_POINTS), :2].astype(np.float64)
    centre, target = rows.mean(0), _TEMPLATE_PX.mean(0)
    # As complex numbers a rotation with scale is one factor, which least squares give directly.
    a, b = (rows - centre) @ (1, 1j), (_TEMPLATE_PX - target) @ (1, 1j)
    turn = (b * a.conj()).sum() / (a * a.conj()).sum().real
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    matrix = np.column_stack([linear, target - linear @ centre])
    return np.asarray(cv2.warpAffine(image, matrix, (_ARCFACE_PX, _ARCFACE_PX)))


def open_network(path: Path | None, metric: str) -> OpenVinoNetwork | None:
    """Open the network of a metric, if one is given.

    Raises:
        EngineError: the file is missing, or OpenVINO does not read it.
    """
    if path is None:
        return None
    if not path.is_file():
        raise EngineError(f"{path} does not exist: give the ONNX file of {metric}'s network")
    return OpenVinoNetwork(path, name=f"the network of {metric}")


def _input(image: Image) -> Float:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
