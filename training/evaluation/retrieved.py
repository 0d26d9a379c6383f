"""Closeness of found pictures to the query, in head pose and expression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mimicam.engine.models.base import ImageDrivenModel
from mimicam.engine.retrieval.index import code_scores, tracker_scores
from mimicam.engine.stages.crop import cut, whole_box
from mimicam.engine.types import Float, Image
from mimicam.training.evaluation.clips import Clip

FOUND = 10
"""Pictures that a search returns."""
_PIXELS = 32
"""Side to which pictures are averaged for the search by pixels."""


def evaluate_retrieval(clips: list[Clip], model: ImageDrivenModel | None) -> dict[str, dict[str, float]]:
    """Search with every frame among the frames of all other people.

    Args:
        clips: frames of different people.
        model: has pose codes; None leaves the search by code out.

    Returns:
        By search (``chance``, ``pixels``, ``tracker``, ``pose code``): mean difference of the found
        pictures' head angles from the query's, degrees, and of their blendshapes.
    """
    images = [image for clip in clips for image in clip.images]
    person = np.repeat(np.arange(len(clips)), [len(clip.images) for clip in clips])
    motions = [motion for clip in clips for motion in clip.motions]
    angles = np.array([motion.pose.angles_rad() for motion in motions], np.float32)
    shapes = np.stack([motion.expression for motion in motions]).astype(np.float32)
    tracked = np.concatenate([shapes, angles], axis=1)
    small = np.stack([_pixels(image) for image in images])
    scores = {
        "chance": np.zeros((len(images), len(images)), np.float32),
        "pixels": np.stack([-np.linalg.norm(small - row, axis=1) for row in small]),
        "tracker": np.stack([tracker_scores(row, tracked) for row in tracked]),
    }
    if model is not None:
        codes = np.stack([_code(model, image) for image in images])
        scores["pose code"] = np.stack([code_scores(row, codes) for row in codes])
    others = person[:, None] != person[None]
    return {name: _differences(each, others, angles, shapes) for name, each in scores.items()}


def _differences(
    scores: Float, others: npt.NDArray[np.bool_], angles: Float, shapes: Float
) -> dict[str, float]:
    """Average over queries and their best pictures of other people; equal scores count alike."""
    turned, formed = [], []
    for row, allowed, own_angles, own_shapes in zip(scores, others, angles, shapes, strict=True):
        candidates = np.flatnonzero(allowed)
        # Equal scores (chance) count all candidates: taking the first ten would favour one person.
        if np.ptp(row[candidates]) > 0:
            candidates = candidates[np.argsort(-row[candidates], kind="stable")[:FOUND]]
        turned.append(np.abs(angles[candidates] - own_angles).mean())
        formed.append(np.abs(shapes[candidates] - own_shapes).mean())
    return {"angles_deg": float(np.rad2deg(np.mean(turned))), "blendshapes": float(np.mean(formed))}


def _pixels(image: Image) -> Float:
    small: Float = cut(image, whole_box(image), _PIXELS).astype(np.float32).reshape(-1)
    return small


def _code(model: ImageDrivenModel, image: Image) -> Float:
    codes = model.read_motion(cut(image, whole_box(image), model.size))
    return np.concatenate([codes.expression, codes.pose]).astype(np.float32)
