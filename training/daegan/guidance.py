"""Guide DAE-GAN's displacements by the tracker's landmarks. Not in the paper.

The paper finds warps from pictures alone, which takes far more training than one core or a few
minutes of a GPU give. Here each landmark has a resting place: the person's own face without
expression, from the front, where boxes place heads. Both warps must connect it with the landmark.

Points are ``(x, y)`` in crop space, -1..1 over the picture, which is also the displacements' unit.
Shape letters: F frames, G segments, N samples, K frames of a sample, L = 478 landmarks,
E values of an expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.engine.face.geometry import RIGID, face_geometry, fit_similarity
from mimicam.engine.face.landmarks import BLENDSHAPE_LANDMARKS
from mimicam.engine.models.compact.gaze import iris_position
from mimicam.engine.models.daegan.network import Embedding, PoseEmbedding
from mimicam.engine.stages.crop import at_rest
from mimicam.engine.types import BLENDSHAPES, LANDMARKS
from mimicam.training.data.geometry import mirrored_blendshapes

Floats = npt.NDArray[np.float32]
Of = Literal["face", "pose"]
"""Embedder that is guided."""
LIDS = (159, 145, 158, 153, 160, 144, 386, 374, 385, 380, 387, 373)
"""Upper and lower lids, in turn."""
_IRISES = slice(468, 478)
EXPRESSION = BLENDSHAPES + 2
"""Values of an expression, see `FacePoints.expressions`."""
_OF_EXPRESSIONS, _OF_GAZE = 4.0, 0.25
"""Weight of expressions in the loss of codes, and of the gaze in that."""
_EXPRESSIVE, _OF_LIDS, _OF_OVAL = 4.0, 8.0, 10.0
"""Weights of what the blendshape network reads, of lids, and of the face's outline, relative to the
other points. A turn shows as the nose's place between the outlines: with 1, the far one was left
behind by 13 of 256 pixels, and turns arrived by 0.6 (training/LOG.md)."""
_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""The face's outline."""
PAIRS = (
    (13, 14), (0, 17), (81, 178), (311, 402), (61, 291), (78, 308), (0, 1), (17, 1), (61, 1), (291, 1),
    (159, 145), (386, 374), (160, 144), (385, 380), (158, 153), (387, 373), (52, 159), (282, 386), (65, 295),
)  # fmt: skip
"""Points whose distance shows an expression: lips, mouth corners and nose, lids, brows and lids,
brows."""
PARTS = (*LIDS, 33, 133, 362, 263, 61, 291, 0, 17, 13, 14, 37, 267, 84, 314, 40, 270, 91, 321)
"""Lids, corners of the eyes, lips: what `part_weights` makes count more."""
_PART_CELLS = 32
_PART_SIGMA = 0.06
"""Width of a point's bump in crop space: that of an eye's height."""
_OF_FOLDS, _LEAST_SLOPE = 10.0, 0.1
"""Weight of `fold_loss`, and the smallest slope that costs nothing."""
_OF_PAIRS = 4.0
"""Weight of their distances. Errors of the head's place would hide them: lips part by a fifth of
that."""


class Points(NamedTuple):
    """What the tracker read of a batch."""

    resting: Tensor
    """Resting places, ``[N, L, 2]``."""
    frames: Tensor
    """Landmarks of the frames, ``[N, K, L, 2]``."""
    target: Tensor
    """Landmarks of the target, ``[N, L, 2]``."""
    expressions: Tensor
    """Expressions of the frames and, last, of the target, ``[N, K + 1, E]``; see
    `FacePoints.expressions`."""


@dataclass(frozen=True, kw_only=True)
class FacePoints:
    """Landmarks of a pack's frames, and the resting places of its people."""

    landmarks: Floats
    """``[F, L, 2]``"""
    resting: Floats
    """``[G, L, 2]``"""
    row: npt.NDArray[np.int64]
    """Row of ``resting`` for each frame, ``[F]``."""
    expressions: Floats
    """``[F, E]``: 52 blendshapes, then the gaze; see `engine.models.compact.gaze.iris_position`."""

    def of(self, frame: int, matrix_23: Floats, *, mirror: bool) -> Floats:
        """Return a frame's landmarks after mirroring, then a similarity of the picture, ``[L,
        2]``."""
        points = mirrored(self.landmarks[frame]) if mirror else self.landmarks[frame]
        # Row vectors: the transpose applies the similarity to each landmark.
        moved: Floats = points @ matrix_23[:, :2].T + matrix_23[:, 2]
        return moved.astype(np.float32, copy=False)

    def resting_of(self, frame: int, *, mirror: bool) -> Floats:
        """Return the resting places of a frame's landmarks, ``[L, 2]``. No augmentation moves
        them."""
        points = self.resting[self.row[frame]]
        return mirrored(points) if mirror else points

    def expression_of(self, frame: int, *, mirror: bool) -> Floats:
        """Return a frame's expression after mirroring, ``[E]``."""
        own: Floats = self.expressions[frame]
        if not mirror:
            return own
        order, sign = mirrored_expression()
        return own[order] * sign


def face_points(landmarks_FL3: Floats, blendshapes: Floats, segment: npt.NDArray[np.int_]) -> FacePoints:
    """Compute the resting places of each segment: the mean of its faces in the head's own frame,
    without what their blendshapes moved.

    A person's own face instead of the mean of all: so the face's shape stays with the embedded
    face, and a driver's does not travel with the pose code.
    """
    geometry = face_geometry()
    numbers, row = np.unique(segment, return_inverse=True)
    resting = np.empty((len(numbers), *geometry.mean[:, :2].shape), np.float32)
    gazes = np.empty((len(blendshapes), 2), np.float32)
    for number in range(len(numbers)):
        own = landmarks_FL3[row == number]
        # Rigid points only: a similarity of all would absorb part of the expression.
        rotation, scale, centre = fit_similarity(geometry.mean[RIGID], own[:, RIGID])
        shapes = (own - centre[:, None]) @ rotation / scale[:, None, None]
        # What the mean blendshapes add is taken away, so a person filmed smiling also rests
        # neutral.
        moved = np.tensordot(blendshapes[row == number].mean(0), geometry.shape_from_expression, 1)
        resting[number] = at_rest(shapes.mean(0) - moved)
        gazes[row == number] = [iris_position(shape) for shape in shapes]
    return FacePoints(
        landmarks=landmarks_FL3[..., :2].astype(np.float32),
        resting=resting,
        row=row,
        expressions=np.concatenate([blendshapes, gazes], 1).astype(np.float32),
    )


@cache
def mirrored_expression() -> tuple[npt.NDArray[np.int_], Floats]:
    """Return the order of an expression's values in the mirrored picture, and their signs, ``[E]``
    each."""
    order = np.append(mirrored_blendshapes(), [BLENDSHAPES, BLENDSHAPES + 1])
    sign = np.ones(EXPRESSION, np.float32)
    sign[BLENDSHAPES] = -1.0
    return order, sign


def mirrored(points_L2: Floats) -> Floats:
    """Mirror the picture: left and right landmarks change places, and x its sign."""
    return points_L2[..., face_geometry().mirror, :] * np.array([-1, 1], np.float32)


def face_field_loss(
    face_N2HW: Tensor, resting_NL2: Tensor, frames_NL2: Tensor, *, weight_L: Tensor, pairs_PL: Tensor
) -> Tensor:
    """Compare the displacement of equation 1 with the landmarks: mean weighted distance along both
    axes, and `pairs_loss`.

    The embedded face at a resting place must show the frame's landmark.

    Args:
        weight_L: see `landmark_weights`.
        pairs_PL: see `pair_matrix`.
    """
    error = resting_NL2 + field_at(face_N2HW, resting_NL2) - frames_NL2
    return (error.abs().mean(-1) * weight_L).mean() + pairs_loss(error, pairs_PL)


def pose_field_loss(
    pose_N2HW: Tensor, resting_NL2: Tensor, target_NL2: Tensor, *, weight_L: Tensor, pairs_PL: Tensor
) -> Tensor:
    """Compare the displacement of equation 2 with the landmarks: mean weighted distance along both
    axes, and `pairs_loss`.

    The picture at a landmark must show its resting place. Landmarks beyond the picture do not
    count.

    Args:
        weight_L: see `landmark_weights`.
        pairs_PL: see `pair_matrix`.
    """
    error = target_NL2 + field_at(pose_N2HW, target_NL2) - resting_NL2
    # Landmarks beyond the crop would read the field's repeated edge.
    inside = (target_NL2.abs().amax(-1) < 1).float()
    places = (error.abs().mean(-1) * weight_L * inside).sum() / (weight_L * inside).sum().clamp_min(1.0)
    return places + pairs_loss(error, pairs_PL, inside)


def fold_loss(field_N2HW: Tensor) -> Tensor:
    """Compute how far a displacement reverses the picture's order, mean over cells and both axes.

    Lids that are shut in the target lie on each other, and nothing in a coarse field can part them.
    The errors of their distance then make it swing: an eye appears twice, once upside down.
    """
    height, width = field_N2HW.shape[-2:]
    # Position of the sample less that of its neighbour, in cells; 1 where nothing moves.
    across = 1 + (field_N2HW[:, 0, :, 1:] - field_N2HW[:, 0, :, :-1]) * width / 2
    down = 1 + (field_N2HW[:, 1, 1:] - field_N2HW[:, 1, :-1]) * height / 2
    return F.relu(_LEAST_SLOPE - across).mean() + F.relu(_LEAST_SLOPE - down).mean()


def pairs_loss(error_NL2: Tensor, pairs_PL: Tensor, inside_NL: Tensor | None = None) -> Tensor:
    """Compute the error of the distances within `PAIRS`: weighted mean along both axes.

    Args:
        error_NL2: places found, less the true ones.
        pairs_PL: see `pair_matrix`.
        inside_NL: 0 for points that do not count, nor their pairs; 1 otherwise.
    """
    apart = (pairs_PL @ error_NL2).abs().mean(-1)
    if inside_NL is not None:
        apart = apart * (pairs_PL.abs() @ inside_NL[..., None] > 1.5)[..., 0]
    return _OF_PAIRS * apart.mean()


class Readout(nn.Linear):
    """Maps a code to the landmarks' distances from their resting places. Only training uses it.

    An encoder learns pose several times sooner from it than through a decoder and a field.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code, 2 * LANDMARKS)
        # Small, so that it starts by returning the resting places.
        nn.init.normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)

    def loss(
        self, code_NP: Tensor, resting_NL2: Tensor, landmarks_NL2: Tensor, weight_L: Tensor, pairs_PL: Tensor
    ) -> Tensor:
        """Compare with the landmarks: mean weighted distance along both axes, and `pairs_loss`."""
        moved = landmarks_NL2 - resting_NL2
        error = self(code_NP).view_as(moved) - moved
        return (error.abs().mean(-1) * weight_L).mean() + pairs_loss(error, pairs_PL)


class Guidance(nn.Module):
    """Guides both embedders: their displacements, and by a `Readout` each the codes. Not in the
    paper."""

    weight: Tensor
    pairs: Tensor

    def __init__(self, face_code: int, pose_code: int) -> None:
        super().__init__()
        self.face, self.pose = Readout(face_code), Readout(pose_code)
        self.shapes = nn.Linear(pose_code, BLENDSHAPES)
        self.register_buffer("weight", landmark_weights(), persistent=False)
        self.register_buffer("pairs", pair_matrix(), persistent=False)

    def forward(self, embedding: Embedding, reading: PoseEmbedding, points: Points) -> Tensor:
        """Compute the loss of displacements and codes, a scalar."""
        resting, frames, target, _ = points
        # Each frame has landmarks of its own, and the person's resting places.
        own, frames = resting[:, None].expand_as(frames).flatten(0, 1), frames.flatten(0, 1)
        face = self.codes(embedding.code.flatten(0, 1), own, frames, of="face")
        face = face + self.field(embedding.displacement.flatten(0, 1), own, frames, of="face")
        pose = self.codes(reading.code, resting, target, of="pose")
        return face + pose + self.field(reading.displacement, resting, target, of="pose")

    def field(self, field_N2HW: Tensor, resting_NL2: Tensor, landmarks_NL2: Tensor, *, of: Of) -> Tensor:
        """Compute the loss of one embedder's displacements, a scalar."""
        loss = face_field_loss if of == "face" else pose_field_loss
        places = loss(field_N2HW, resting_NL2, landmarks_NL2, weight_L=self.weight, pairs_PL=self.pairs)
        return places + _OF_FOLDS * fold_loss(field_N2HW)

    def codes(self, code_NP: Tensor, resting_NL2: Tensor, landmarks_NL2: Tensor, *, of: Of) -> Tensor:
        """Compute the loss of one embedder's codes, a scalar."""
        readout = self.face if of == "face" else self.pose
        return readout.loss(code_NP, resting_NL2, landmarks_NL2, weight_L=self.weight, pairs_PL=self.pairs)

    def expressions(self, code_NP: Tensor, gaze_N2: Tensor, wanted_NE: Tensor) -> Tensor:
        """Compute the loss of what a pose code tells of the expression, a scalar.

        A code whose blendshapes can be read linearly also tells what landmarks of a mean face hide,
        and the retrieval compares such readings.

        Args:
            gaze_N2: see `engine.models.daegan.compact_embedders.Posed.gaze`.
            wanted_NE: see `FacePoints.expressions`.
        """
        shapes, looking = wanted_NE.split([BLENDSHAPES, 2], 1)
        apart = (self.shapes(code_NP) - shapes).abs().mean()
        return _OF_EXPRESSIONS * (apart + _OF_GAZE * (gaze_N2 - looking).abs().mean())


def field_at(field_N2HW: Tensor, points_NL2: Tensor) -> Tensor:
    """Read a displacement at points, ``[N, L, 2]``; bilinear, edges repeat."""
    read = F.grid_sample(field_N2HW, points_NL2[:, None], padding_mode="border", align_corners=False)
    return read[:, :, 0].transpose(1, 2)


def shown_at(pose_N2HW: Tensor, resting_NL2: Tensor, rounds: int = 30) -> Tensor:
    """Return where a picture warped by equation 2 shows the resting places, ``[N, L, 2]``.

    It inverts the displacement by a damped fixed-point iteration that starts at the resting places,
    so it depends on no landmark of the picture.
    """
    points = resting_NL2
    for _ in range(rounds):
        # Fixed point of p + field(p) = rest. Half steps converge where the field changes quickly.
        points = points + 0.5 * (resting_NL2 - points - field_at(pose_N2HW, points))
    return points


def part_weights(landmarks_NL2: Tensor, size: int, *, weight: float) -> Tensor:
    """Return the weight of each pixel for picture losses, 1 in the mean, ``[N, 1, size, size]``.

    Eyes and mouth fill a few percent of a picture, so its mean error hardly tells whether they
    move. Here they count ``1 + weight`` before the division by the mean.

    Args:
        landmarks_NL2: landmarks of the target.
    """
    points = landmarks_NL2[:, list(PARTS)]
    # Coarse maps are enough: the bumps are several cells wide.
    places = (torch.arange(_PART_CELLS, device=points.device) * 2 + 1) / _PART_CELLS - 1
    across, down = ((places - points[..., i, None]) ** 2 / (2 * _PART_SIGMA**2) for i in (0, 1))
    # The largest bump of all points, not their sum: lips have more points than lids.
    bumps = torch.exp(-(down[..., :, None] + across[..., None, :])).amax(1, keepdim=True)
    maps = F.interpolate(1 + weight * bumps, size=(size, size), mode="bilinear", align_corners=False)
    return maps / maps.mean((1, 2, 3), keepdim=True)


def landmark_weights() -> Tensor:
    """Return the weight of each landmark, 1 in the mean, ``[L]``.

    Irises have none: fields of 32 pixels cannot move them inside of the lids.
    """
    weight = np.ones(LANDMARKS, np.float32)
    weight[BLENDSHAPE_LANDMARKS] = _EXPRESSIVE
    weight[list(_OVAL)] = _OF_OVAL
    weight[list(LIDS)] = _OF_LIDS
    # The fields move skin; irises move within the eye and have no resting place on it.
    weight[_IRISES] = 0.0
    return torch.from_numpy(weight / weight.mean())


def pair_matrix() -> Tensor:
    """Return the matrix that maps points to the differences within `PAIRS`, ``[P, L]``."""
    matrix = torch.zeros(len(PAIRS), LANDMARKS)
    for row, (first, second) in enumerate(PAIRS):
        matrix[row, first], matrix[row, second] = 1.0, -1.0
    return matrix
