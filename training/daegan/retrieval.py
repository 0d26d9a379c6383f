"""Learn the map from pose codes to what the retrieval by expression and pose compares. Not in the
paper, which compares the codes themselves (section 4.3).

A code is made for drawing: its directions differ in how much expression and pose each stands for.
The map gives the tracker's blendshapes and head angles, as far as they can be read from a code. It
is linear, and found in closed form. Shape letters: N pictures, P pose code, E embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from mimicam.engine.face.motion import read_motion
from mimicam.engine.models.base import as_network_input
from mimicam.engine.models.daegan.compact_embedders import CompactPoseEmbedder
from mimicam.engine.types import BLENDSHAPES, Float
from mimicam.training.daegan.recipe import DaeGanRecipe
from mimicam.training.data.pairs import FramePack

PICTURES = 2_000
_ANGLE_WEIGHT = 1.97
"""Weight of a radian beside a blendshape's 0..1; the tracker's distance has 2."""
_LEAST = 0.02
"""Added to each value's deviation: some blendshapes hardly ever move."""
_RIDGE = 1e-3
"""Weight of the map's squares per picture: codes have a deviation of 1."""
_CONSTANT = 6.0
"""Value of the embedding that is the same for all. Cosines of vectors with a large common part rank as
distances do; without one, faces near the mean have no direction."""
_AT_ONCE = 16


def learn_retrieval(recipe: DaeGanRecipe, packs: Sequence[FramePack], *, pictures: int = PICTURES) -> None:
    """Set the map in the trained networks and in their running average.

    Args:
        recipe: a compact preset.
        packs: all that was trained on.
        pictures: number of frames to read of each, spread over the pack.
    """
    codes, wanted = list[Float](), list[Float]()
    for pack in packs:
        spread = np.linspace(0, len(pack.indices) - 1, min(pictures, len(pack.indices)))
        rows = pack.indices[spread.astype(int)]
        motions = [read_motion(pack.landmarks[i], pack.blendshapes[i]) for i in rows]
        wanted += [
            np.array([*motion.expression, *motion.pose.angles_rad()], np.float32) for motion in motions
        ]
        # The average's codes: they are the ones that are shown.
        codes.append(_codes(recipe, pack, rows))
    weight_EP, bias_E = fit_retrieval(np.concatenate(codes), np.stack(wanted))
    for model in (recipe.model, recipe.result):
        assert isinstance(model.pose_embedder, CompactPoseEmbedder), "only compact presets have the map"
        with torch.no_grad():
            model.pose_embedder.retrieval.weight.copy_(torch.from_numpy(weight_EP))
            model.pose_embedder.retrieval.bias.copy_(torch.from_numpy(bias_E))


def fit_retrieval(codes_NP: Float, tracked_NT: Float) -> tuple[Float, Float]:
    """Return weight ``[E, P]`` and bias ``[E]`` of the map, by ridge regression.

    Args:
        tracked_NT: 52 blendshapes, and yaw, pitch and roll in radians.
    """
    wanted = tracked_NT.astype(np.float64)
    wanted *= _scale(wanted.std(0))
    mean, centre = codes_NP.mean(0, dtype=np.float64), wanted.mean(0)
    x, y = codes_NP - mean, wanted - centre
    ridge = _RIDGE * len(x) * np.eye(x.shape[1])
    weight_PT = np.linalg.solve(x.T @ x + ridge, x.T @ y)
    # Centred: the mean face is the origin, and the constant stands beside it.
    bias_T = -mean @ weight_PT
    weight_EP = np.vstack([weight_PT.T, np.zeros((1, x.shape[1]))])
    return weight_EP.astype(np.float32), np.append(bias_T, _CONSTANT).astype(np.float32)


def _scale(deviation_T: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the factor of each value. Cosines square differences, so values that vary much would
    decide alone; the root of their deviation lies between that and all alike."""
    scale_T = (deviation_T + _LEAST) ** -0.5
    for part, weight in ((slice(BLENDSHAPES), 1.0), (slice(BLENDSHAPES, None), _ANGLE_WEIGHT)):
        before, after = (deviation_T[part] ** 2).sum(), ((scale_T * deviation_T)[part] ** 2).sum()
        # As much as before in all.
        scale_T[part] *= weight * np.sqrt(before / after) if after else 1.0
    return scale_T


@torch.no_grad()
def _codes(recipe: DaeGanRecipe, pack: FramePack, rows: npt.NDArray[np.int_]) -> Float:
    size = recipe.model.config.size
    device = next(recipe.model.parameters()).device
    model = recipe.result.eval()
    codes = []
    for start in range(0, len(rows), _AT_ONCE):
        frames = (np.ascontiguousarray(pack.frames[i]) for i in rows[start : start + _AT_ONCE])
        small = (cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in frames)
        pictures = torch.from_numpy(np.concatenate([as_network_input(one) for one in small]))
        codes.append(model.pose_embedder.encode(pictures.to(device)).cpu().numpy())
    model.train()
    return np.concatenate(codes)
