"""Closeness of found pictures to the query, in head pose and expression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mimicam.engine.models.base import ImageDrivenModel
from mimicam.engine.retrieval.index import code_scores, tracker_scores
from mimicam.engine.retrieval.readings import compared
from mimicam.engine.stages.crop import cut, whole_box
from mimicam.engine.types import Float, Image
from mimicam.training.data.pairs import FramePack
from mimicam.training.evaluation.clips import Clip, read_clip

FOUND = 10
"""Pictures that a search returns."""
_PIXELS = 32
"""Side to which pictures are averaged for the search by pixels."""


def people_of(pack: FramePack) -> list[Clip]:
    """Read all validation frames, one clip a segment.

    All of them, since the ten nearest of a few pictures are far: among ten frames of each person,
    ranking by the true differences themselves does not halve both differences of chance.
    """
    return [
        read_clip(pack, pack.indices[pack.segment[pack.indices] == s])
        for s in np.unique(pack.segment[pack.indices])
    ]


def evaluate_retrieval(clips: list[Clip], model: ImageDrivenModel | None) -> dict[str, dict[str, float]]:
    """Search with every frame among the frames of all other people.

    Args:
        clips: frames of people; those of one identity are not searched for each other.
        model: has pose codes; None leaves the search by code out.

    Returns:
        By search (``chance``, ``pixels``, ``tracker``, ``pose code``): mean difference of the found
        pictures' head angles from the query's, degrees, and of their blendshapes.
    """
    images = [image for clip in clips for image in clip.images]
    person = np.repeat([clip.identity for clip in clips], [len(clip.images) for clip in clips])
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
        codes = np.stack([compared(model, cut(image, whole_box(image), model.size)) for image in images])
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
