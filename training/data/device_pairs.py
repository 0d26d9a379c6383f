"""`training.data.pairs` on the GPU: frames stay there as bytes, and a batch is drawn, moved and coloured there.

Every augmentation is a similarity of the picture's plane, which moves a head's pose and leaves its canonical shape as it
is. So all frames are read once, plain and mirrored, and a batch needs no fitting. Only the maps of openings are drawn on the
CPU, by the functions that the live path uses, in threads and three steps ahead. The same pair with the same augmentation
gives the same arrays as `PairSampler`'s; a test holds the two together.

On a GPU batches are drawn on a stream of their own: on that of the training step each copy to the host would wait until the
step is done, and only then the drawing begin. For the same reason nothing here asks the device for errors or numbers: no
checked linear algebra, no ``.item()``, no index that lies on the host.

Shape letters: N frames of the pack, B batch, L = 478 landmarks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mimicam.engine.errors import EngineError
from mimicam.engine.face.expression_filter import displacements
from mimicam.engine.face.geometry import RIGID, face_geometry, fit_similarity
from mimicam.engine.models.compact.conditioning import CONTROL
from mimicam.engine.models.compact.edit import edit_pose
from mimicam.engine.models.compact.landmark_flow import pixel_grid
from mimicam.engine.types import Float, HeadPose, MotionCode
from mimicam.training.data.geometry import mirrored_blendshapes, pose_rows
from mimicam.training.data.openings import OpeningsPainter
from mimicam.training.data.pairs import (
    FAR_SHARE,
    FIRST,
    PAIR_WEIGHTS,
    STILL_SHARE,
    STILL_STRANGERS,
    STRANGER,
    Augmentation,
    Batch,
    read_ahead,
    rows_to_draw,
)

_TRIES = 5
_BY_EXPRESSION_SHARE = 0.5
_AHEAD = 3
"""Batches drawn before they are asked for, on a GPU."""


@dataclass(frozen=True, kw_only=True)
class Motions:
    """Motion codes of many faces; see `engine.types.MotionCode`."""

    rotation: Tensor
    """``[..., 3, 3]``"""
    translation: Tensor
    """``[..., 2]``"""
    scale: Tensor
    """``[...]``"""
    shape: Tensor
    """``[..., 478, 3]``"""
    expression: Tensor
    """``[..., 52]``"""
    displacement: Tensor
    """``[..., 478, 3]``: what expression did to the shape; only differences count; see `engine.face.expression_filter`."""

    def at(self, *index: Tensor) -> Motions:
        """Some of them."""
        return Motions(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def moved(self, matrix_B23: Tensor) -> Motions:
        """After a similarity of the picture's plane: crop space after from crop space before."""
        linear, shift = matrix_B23[:, :, :2], matrix_B23[:, :, 2]
        scale = _determinant(linear).sqrt()
        turn = torch.zeros_like(self.rotation)
        turn[:, :2, :2] = linear / scale[:, None, None]
        turn[:, 2, 2] = 1
        return Motions(
            rotation=turn @ self.rotation,
            translation=(linear @ self.translation[:, :, None])[..., 0] + shift,
            scale=self.scale * scale,
            shape=self.shape,
            expression=self.expression,
            displacement=self.displacement,
        )

    def placed(self) -> Tensor:
        """``[B, 478, 3]``; see `engine.face.geometry.place`."""
        points = self.shape @ (self.rotation.transpose(-1, -2) * self.scale[:, None, None])
        return torch.cat([points[..., :2] + self.translation[:, None], points[..., 2:]], dim=-1)

    def codes(self) -> list[MotionCode]:
        """Each as the live path has it, on the CPU."""
        parts = (
            self.rotation.flatten(1),
            self.translation,
            self.scale[:, None],
            self.shape.flatten(1),
            self.expression,
        )
        rows = torch.cat(parts, dim=1).cpu().numpy()  # one copy, one wait
        ends = np.cumsum([part.shape[1] for part in parts])[:-1]
        return [_code(*np.split(row, ends)) for row in rows]

    def pose_vector(self) -> Tensor:
        """``[B, 12]``; see `engine.face.motion.pose_vector`."""
        size = self.scale.log()[:, None] + 1
        return torch.cat([self.rotation.flatten(1), self.translation, size], dim=1)


def _code(rotation: Float, translation: Float, scale: Float, shape: Float, expression: Float) -> MotionCode:
    pose = HeadPose(rotation=rotation.reshape(3, 3), translation=translation, scale=float(scale[0]))
    return MotionCode(expression=expression, pose=pose, shape=shape.reshape(-1, 3))


def read_motions(landmarks_NL3: np.ndarray, blendshapes: np.ndarray, pose_row: np.ndarray) -> Motions:
    """All frames, plain at index 0 of the first axis and mirrored at index 1, on the CPU.

    ``pose_row`` int ``[N]``: the frame that each one's head pose is read from.
    """
    geometry = face_geometry()
    mirrored = landmarks_NL3[:, geometry.mirror] * np.array([-1, 1, 1], np.float32)
    landmarks = np.stack([landmarks_NL3, mirrored]).astype(np.float32)
    fitted = fit_similarity(geometry.mean[RIGID], landmarks[:, :, RIGID])
    rotation, scale, centre = (part[:, pose_row] for part in fitted)
    centre[..., 2] = fitted[2][..., 2]
    placed = (landmarks - centre[:, :, None]) @ rotation / scale[..., None, None]
    shape: Float = placed.astype(np.float32, copy=False)
    expression = np.stack([blendshapes, blendshapes[:, mirrored_blendshapes()]])
    arrays = {
        "rotation": rotation, "translation": centre[..., :2], "scale": scale, "shape": shape, "expression": expression,
        "displacement": displacements(shape, expression, rotation),
    }  # fmt: skip
    return Motions(
        **{name: torch.from_numpy(np.ascontiguousarray(a, np.float32)) for name, a in arrays.items()}
    )


class DevicePack:
    """Frames and readings on one device."""

    def __init__(
        self,
        frames_NSS3: np.ndarray,
        landmarks_NL3: np.ndarray,
        blendshapes: np.ndarray,
        segment: np.ndarray,
        pose_group: np.ndarray,
        made: np.ndarray,
        *,
        device: torch.device,
    ) -> None:
        """``segment`` int ``[N]``, ascending: frames of one person without a cut.
        ``pose_group``, ``made``: see `training.data.pack`."""
        self.device = device
        self.frames = torch.from_numpy(frames_NSS3).to(device)
        pose_row = pose_rows(pose_group)
        tables = (pose_row, rows_to_draw(segment, made))
        self.pose_row, self.to_draw = (torch.from_numpy(table).to(device) for table in tables)
        motions = read_motions(landmarks_NL3, blendshapes, pose_row)
        self.motions = Motions(**{f.name: getattr(motions, f.name).to(device) for f in fields(motions)})
        weights = np.concatenate(
            [blendshapes * PAIR_WEIGHTS, landmarks_NL3[:, ::20].reshape(len(segment), -1)], axis=1
        )
        weights[:, blendshapes.shape[1] :] *= 5 / landmarks_NL3[:, ::20].shape[1] / 3
        self.places = torch.from_numpy(weights.astype(np.float32)).to(device)
        """The L1 distance of two rows is how much a pair moves; see `PairSampler`."""
        _, starts, lengths = np.unique(segment, return_index=True, return_counts=True)
        self.starts = torch.from_numpy(starts).to(device)
        self.lengths = torch.from_numpy(lengths).to(device)
        self.control, self.rigid = (torch.from_numpy(rows).to(device) for rows in (CONTROL, RIGID))


class DeviceSampler:
    """Draws batches on the device; the batch of a step is always the same for the same seed and device."""

    def __init__(
        self,
        pack: DevicePack,
        *,
        size: int,
        batch: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        strangers: int = 0,
    ) -> None:
        """``strangers``: so many portraits of a batch are also given another person's motion; see `stranger_drives`."""
        self._pack, self._size, self._batch, self._seed = pack, size, batch, seed
        self._strangers = strangers
        self._augmentation = augmentation or Augmentation()
        weights = pack.lengths.sqrt() * (pack.lengths > 1)
        if not bool(weights.any()):
            raise EngineError("a pack has no person with two frames in one clip: leave it out")
        self._chances = weights.cumsum(0) / weights.sum()
        """Of the segments, added up."""
        self._shares = torch.tensor([FAR_SHARE, STILL_SHARE], device=pack.device)[:, None, None]
        self._row = torch.arange(batch, device=pack.device)
        self._openings = OpeningsPainter(batch, size // 2, pack.device)
        self._stranger_openings = OpeningsPainter(max(strangers, 1), size // 2, pack.device)

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return self._pack.device

    def batch(self, step: int) -> Batch:
        """As `PairSampler.batch`."""
        random = torch.Generator(self._pack.device).manual_seed(self._seed * 1_000_003 + step)
        pair_B2 = self._far_pairs(random)
        matrix_B23 = self._matrices(random)
        mirror_B = (self._uniform(random, self._batch) < 0.5).long()
        by_expression_B = self._uniform(random, self._batch) < _BY_EXPRESSION_SHARE
        images = self.pictures(pair_B2, matrix_B23, mirror_B)
        images = self._recoloured(random, images)
        batch = {
            "source": images[:, 0],
            "target": images[:, 1],
            **self.drive(pair_B2, matrix_B23, mirror_B, by_expression_B),
        }
        if self._strangers:
            still_S = self._uniform(random, self._strangers) < STILL_STRANGERS
            batch |= self.stranger_drives(*self._motions(pair_B2, matrix_B23, mirror_B), still_S)
        return batch

    def pictures(self, pair_B2: Tensor, matrix_B23: Tensor, mirror_B: Tensor) -> Tensor:
        """``[B, 2, 3, size, size]``, 0..255, resampled once."""
        frames = self._pack.frames[pair_B2.flatten()].permute(0, 3, 1, 2).float()
        linear_B22 = matrix_B23[:, :, :2]
        at = pixel_grid(self._size, matrix_B23)[None] - matrix_B23[:, None, :, 2]
        at = (
            at @ linear_B22 / _determinant(linear_B22)[:, None, None]
        )  # the inverse of a scaled rotation, transposed
        flip = torch.stack([1.0 - 2.0 * mirror_B, torch.ones_like(matrix_B23[:, 0, 0])], dim=-1)
        grid = (at * flip[:, None]).view(-1, self._size, self._size, 2).repeat_interleave(2, dim=0)
        moved = F.grid_sample(frames, grid, padding_mode="reflection", align_corners=False)
        return moved.view(-1, 2, *moved.shape[1:])

    def drive(self, pair_B2: Tensor, matrix_B23: Tensor, mirror_B: Tensor, by_expression_B: Tensor) -> Batch:
        """The arrays of `engine.models.compact.conditioning.Conditioning`, and ``target_landmarks``."""
        source, target = self._motions(pair_B2, matrix_B23, mirror_B)
        change = target.displacement - source.displacement
        shape = torch.where(by_expression_B[:, None, None], source.shape + change, target.shape)
        arrays = self._arrays(source, replace(target, shape=shape), self._openings)
        return {**arrays, "target_landmarks": target.placed()}

    def stranger_drives(self, source: Motions, target: Motions, still_S: Tensor) -> Batch:
        """Drives of the first sources by the pair after each; see `training.data.pairs.stranger_drives`.

        ``still_S``: which strangers lend their expression only.
        """
        count = len(still_S)
        rows = torch.arange(count, device=self._pack.device)
        portrait, driver = source.at(rows), target.at((rows + 1) % len(target.scale))
        moved = replace(
            driver,
            shape=portrait.shape + driver.displacement - portrait.displacement,
            **_edited_poses(portrait, driver, still_S.cpu().numpy()),
        )
        arrays = self._arrays(portrait, moved, self._stranger_openings) | {"landmarks": moved.placed()}
        return {STRANGER + name: value for name, value in arrays.items()}

    def _motions(self, pair_B2: Tensor, matrix_B23: Tensor, mirror_B: Tensor) -> tuple[Motions, Motions]:
        """Of the pairs' sources and targets, after augmentation."""
        source, target = (self._pack.motions.at(mirror_B, pair_B2[:, i]).moved(matrix_B23) for i in (0, 1))
        return source, target

    def _arrays(self, source: Motions, drawn: Motions, paint: OpeningsPainter) -> Batch:
        points, own = drawn.placed(), source.placed()
        carried = replace(drawn, shape=source.shape).placed()
        rigid = self._pack.rigid
        return {
            "source_points": own[:, self._pack.control],
            "target_points": points[:, self._pack.control],
            "affine": fit_affine(carried[:, rigid, :2], own[:, rigid, :2]),
            "head": torch.cat([drawn.translation, drawn.scale[:, None]], dim=1),
            "expression": torch.stack([source.expression, drawn.expression], dim=1),
            "pose": torch.stack([source.pose_vector(), drawn.pose_vector()], dim=1),
            "openings": paint(source.codes(), drawn.codes()),
        }

    def _far_pairs(self, random: torch.Generator) -> Tensor:
        pack = self._pack
        chance = self._uniform(random, self._batch)
        # Rounding may put the last sum below 1.
        segment = torch.searchsorted(self._chances, chance, right=True).clamp(max=len(self._chances) - 1)
        share = self._uniform(random, self._batch, _TRIES, 2)
        draws = pack.starts[segment, None, None] + (share * pack.lengths[segment, None, None]).long()
        distance = (pack.places[draws[..., 0]] - pack.places[draws[..., 1]]).abs().sum(-1)
        pose = pack.pose_row[draws]
        alike = (draws[..., 0] != draws[..., 1]) & (pose[..., 0] == pose[..., 1])
        wish = (self._uniform(random, 2, self._batch, 1) < self._shares).float()
        far = (wish[0] * distance + wish[1] * FIRST * alike).argmax(dim=1)
        source, target = draws[self._row, far].unbind(1)
        to_draw = pack.to_draw[target]
        return torch.stack([torch.where(source == to_draw, target, source), to_draw], dim=1)

    def _matrices(self, random: torch.Generator) -> Tensor:
        a = self._augmentation
        roll = np.deg2rad(a.roll_deg) * (2 * self._uniform(random, self._batch) - 1)
        scale = a.scale[0] + (a.scale[1] - a.scale[0]) * self._uniform(random, self._batch)
        shift = 2 * a.shift * (2 * self._uniform(random, self._batch, 2) - 1)
        cos, sin = scale * roll.cos(), scale * roll.sin()
        rows = [torch.stack([cos, -sin, shift[:, 0]], dim=1), torch.stack([sin, cos, shift[:, 1]], dim=1)]
        return torch.stack(rows, dim=1)

    def _recoloured(self, random: torch.Generator, images: Tensor) -> Tensor:
        """uint8; the two pictures of a pair alike."""
        a = self._augmentation
        shared, channel, gamma = (2 * self._uniform(random, self._batch, n) - 1 for n in (1, 3, 1))
        gain = 1 + a.colour * (shared + channel / 3)
        gamma = 1 + a.gamma * gamma
        light = (images.clamp(0, 255) / 255) ** gamma[:, :, None, None, None] * gain[:, None, :, None, None]
        return (light.clamp(0, 1) * 255).round().to(torch.uint8)

    def _uniform(self, random: torch.Generator, *shape: int) -> Tensor:
        return torch.rand(shape, generator=random, device=self._pack.device)


def _edited_poses(portrait: Motions, driver: Motions, still: np.ndarray) -> dict[str, Tensor]:
    """Rotation, translation and scale of each portrait, turned as the live path turns it, or left as it is."""
    device = portrait.scale.device
    own, other = ([code.pose for code in motions.codes()] for motions in (portrait, driver))
    poses = [a if keep else edit_pose(a, b, None, 1.0) for a, b, keep in zip(own, other, still, strict=True)]
    return {
        "rotation": torch.from_numpy(np.stack([pose.rotation for pose in poses])).to(device),
        "translation": torch.from_numpy(np.stack([pose.translation for pose in poses])).to(device),
        "scale": torch.tensor([pose.scale for pose in poses]).to(device),
    }


def device_stream(samplers: Sequence[DeviceSampler], first_step: int) -> Iterator[Batch]:
    """Batches from ``first_step`` on, the first sampler's pairs first; on a GPU, ready for the current stream."""
    device = samplers[0].device
    if device.type != "cuda":
        yield from read_ahead(lambda step: _together(samplers, step), first_step)
        return
    own, main = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    own.wait_stream(main)  # the packs may still be on their way

    def draw(step: int) -> tuple[Batch, torch.cuda.Event]:
        with torch.cuda.stream(own):
            return _together(samplers, step), own.record_event()

    for batch, ready in read_ahead(draw, first_step, ahead=_AHEAD):
        main.wait_event(ready)
        for value in batch.values():
            value.record_stream(main)  # or its memory would be given to a later batch while this one is read
        yield batch


def _together(samplers: Sequence[DeviceSampler], step: int) -> Batch:
    parts = [sampler.batch(step) for sampler in samplers]
    if len(parts) == 1:
        return parts[0]
    return {key: torch.cat([part[key] for part in parts if key in part]) for key in parts[0]}


def fit_affine(source_BK2: Tensor, target_BK2: Tensor) -> Tensor:
    """``[B, 2, 3]``; see `conditioning.fit_affine`. About the points' means, so that two unknowns are left."""
    mean_B12, to_B12 = source_BK2.mean(1, keepdim=True), target_BK2.mean(1, keepdim=True)
    centred = source_BK2 - mean_B12
    turned = centred.transpose(-1, -2)
    normal_B22 = turned @ centred + 1e-6 * torch.eye(2, device=source_BK2.device)
    (a, b), (c, d) = (row.unbind(-1) for row in normal_B22.unbind(-2))
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    inverse_B22 = adjugate / _determinant(normal_B22)[:, None, None]
    linear_B22 = (inverse_B22 @ (turned @ (target_BK2 - to_B12))).transpose(-1, -2)
    shift_B21 = to_B12.transpose(-1, -2) - linear_B22 @ mean_B12.transpose(-1, -2)
    return torch.cat([linear_B22, shift_B21], dim=-1)


def _determinant(matrix_B22: Tensor) -> Tensor:
    """``[B]``; ``torch.det`` factorises, and checks."""
    return matrix_B22[:, 0, 0] * matrix_B22[:, 1, 1] - matrix_B22[:, 0, 1] * matrix_B22[:, 1, 0]
