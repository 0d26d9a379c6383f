"""Compute batches of pairs on a GPU: frames are warped and coloured there, and opening masks are
drawn on the CPU, by the functions of the live path.

The pairs of all packs are computed at once, with those that another person drives. The host that
queues the operations is what limits a step, so their number counts, not their size.

On a GPU, batches are drawn on a stream of their own. On the stream of the training step, each copy
to the host would wait for the end of that step. For the same reason nothing here reads results or
errors from the device in that stream: no checked linear algebra, no ``.item()``, no index that lies
on the host.

Shape letters: B pairs, C of them driven by another person too, L = 478 landmarks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mimicam.engine.face.geometry import RIGID
from mimicam.engine.models.compact.conditioning import CONTROL
from mimicam.engine.models.compact.edit import edit_pose
from mimicam.engine.models.compact.landmark_flow import pixel_grid
from mimicam.engine.types import Float, HeadPose
from mimicam.training.data.device_motions import Motions, determinant
from mimicam.training.data.device_pairs import DeviceSampler, Pairs
from mimicam.training.data.openings import OpeningsPainter
from mimicam.training.data.pairs import CROSS, Batch, read_ahead

_AHEAD = 3
"""Number of batches drawn ahead on a GPU."""


class BatchDrawer:
    """Draws the batches of several packs, the first sampler's pairs first. Not thread-safe."""

    def __init__(self, samplers: Sequence[DeviceSampler]) -> None:
        """Args:
        samplers: of one device and size, of packs of one size. Only the first may have
            cross-identity pairs.
        """
        first, *others = samplers
        if any(s.cross_identity for s in others):
            raise ValueError("samplers: only the first may have cross_identity")
        if len({(s.size, s.frame_px, s.device) for s in samplers}) > 1:
            raise ValueError("samplers: all must have one size, one device, and packs of one size")
        self._samplers, self._size = samplers, first.size
        self._first = first.batch_size
        count = sum(s.batch_size for s in samplers) + first.cross_identity
        self._openings = OpeningsPainter(count, first.size // 2, first.device)
        self._control, self._rigid = (torch.from_numpy(rows).to(first.device) for rows in (CONTROL, RIGID))

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step: the arrays of `training.data.pairs.PairSampler.batch`."""
        pairs = _joined([sampler.pairs(step) for sampler in self._samplers])
        images = _recoloured(pictures(pairs, self._size), pairs)
        return {"source": images[:, 0], "target": images[:, 1], **self.drives(pairs)}

    def drives(self, pairs: Pairs) -> Batch:
        """Compute the arrays of `engine.models.compact.conditioning.Conditioning`, and ``target_landmarks``.

        If another person drives the first portraits too, the same again with `CROSS` before the
        names; see `training.data.pairs.cross_identity_drives`.
        """
        source, target = motions(pairs)
        # Live use moves the source's own shape by the change of expression.
        change = target.displacement - source.displacement
        shape = torch.where(pairs.by_expression[:, None, None], source.shape + change, target.shape)
        drawn = replace(target, shape=shape)
        count, crossed = len(shape), len(pairs.still)
        if not crossed:
            return {**self._arrays(source, drawn), "target_landmarks": target.placed()}
        portrait, moved = self._crossed(source, target, pairs.still)
        arrays = self._arrays(source.joined(portrait), drawn.joined(moved))
        return {
            **{name: value[:count] for name, value in arrays.items()},
            "target_landmarks": target.placed(),
            **{CROSS + name: value[count:] for name, value in arrays.items()},
            f"{CROSS}landmarks": moved.placed(),
        }

    def _crossed(self, source: Motions, target: Motions, still_C: Tensor) -> tuple[Motions, Motions]:
        """Drive the first sources by the next pair's target; return both motions."""
        portrait = source.part(slice(0, len(still_C)))
        driver = target.part(slice(0, self._first)).after(len(still_C))
        return portrait, replace(
            driver,
            shape=portrait.shape + driver.displacement - portrait.displacement,
            **_edited_poses(portrait, driver, still_C),
        )

    def _arrays(self, source: Motions, drawn: Motions) -> Batch:
        points, own = drawn.placed(), source.placed()
        # The head motion alone: the source's shape at the driven pose.
        carried = replace(drawn, shape=source.shape).placed()
        rigid = self._rigid
        return {
            "source_points": own[:, self._control],
            "target_points": points[:, self._control],
            "affine": fit_affine(carried[:, rigid, :2], own[:, rigid, :2]),
            "head": torch.cat([drawn.translation, drawn.scale[:, None]], dim=1),
            "expression": torch.stack([source.expression, drawn.expression], dim=1),
            "pose": torch.stack([source.pose_vector(), drawn.pose_vector()], dim=1),
            "opening_masks": self._openings(source, drawn),
        }


def motions(pairs: Pairs) -> tuple[Motions, Motions]:
    """Return the motions of the pairs' sources and targets, after augmentation."""
    both = Motions.unpacked(pairs.motions.flatten(0, 1)).moved(pairs.matrix.repeat_interleave(2, dim=0))
    return both.part(slice(0, None, 2)), both.part(slice(1, None, 2))


def pictures(pairs: Pairs, size: int) -> Tensor:
    """Warp the pairs' pictures, ``[B, 2, 3, size, size]``, 0..255, resampled once."""
    frames, matrix_B23 = pairs.frames.flatten(0, 1).permute(0, 3, 1, 2).float(), pairs.matrix
    linear_B22 = matrix_B23[:, :, :2]
    at = pixel_grid(size, matrix_B23)[None] - matrix_B23[:, None, :, 2]
    # Row vectors times a scaled rotation, over its determinant, apply the inverse.
    at = at @ linear_B22 / determinant(linear_B22)[:, None, None]
    flip = torch.stack([1.0 - 2.0 * pairs.mirror, torch.ones_like(matrix_B23[:, 0, 0])], dim=-1)
    grid = (at * flip[:, None]).view(-1, size, size, 2).repeat_interleave(2, dim=0)
    moved = F.grid_sample(frames, grid, padding_mode="reflection", align_corners=False)
    return moved.view(-1, 2, *moved.shape[1:])


def _joined(parts: Sequence[Pairs]) -> Pairs:
    if len(parts) == 1:
        return parts[0]
    return Pairs(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Pairs)})


def _recoloured(images: Tensor, pairs: Pairs) -> Tensor:
    """Change colour and gamma, alike in the two pictures of a pair; returns uint8."""
    gain, gamma = pairs.gain[:, None, :, None, None], pairs.gamma[:, :, None, None, None]
    light = (images.clamp(0, 255) / 255) ** gamma * gain
    return (light.clamp(0, 1) * 255).round().to(torch.uint8)


def _edited_poses(portrait: Motions, driver: Motions, still_S: Tensor) -> dict[str, Tensor]:
    """Compute each portrait's pose: turned as in live use, or unchanged where ``still_S``."""
    parts = [
        torch.cat([m.rotation.flatten(1), m.translation, m.scale[:, None]], 1) for m in (portrait, driver)
    ]
    rows = torch.cat([*parts, still_S[:, None].float()], dim=1).cpu().numpy()  # one copy, one wait
    poses = [_edited_pose(row[:_POSE], row[_POSE:-1], still=bool(row[-1])) for row in rows]
    moved = torch.from_numpy(np.stack(poses)).to(portrait.scale.device)
    rotation, translation, scale = moved[:, :9].unflatten(1, (3, 3)), moved[:, 9:11], moved[:, 11]
    return {"rotation": rotation, "translation": translation, "scale": scale}


_POSE = 12
"""Numbers of a pose: rotation, translation, scale."""


def _edited_pose(portrait: Float, driver: Float, *, still: bool) -> Float:
    if still:
        return portrait
    own, other = (
        HeadPose(rotation=row[:9].reshape(3, 3), translation=row[9:11], scale=float(row[11]))
        for row in (portrait, driver)
    )
    pose = edit_pose(own, other, None, 1.0)
    return np.array([*pose.rotation.ravel(), *pose.translation, pose.scale], np.float32)


def device_stream(samplers: Sequence[DeviceSampler], first_step: int) -> Iterator[Batch]:
    """Yield batches from ``first_step`` on, the first sampler's pairs first; on a GPU, ready for
    the current stream."""
    device, drawer = samplers[0].device, BatchDrawer(samplers)
    if device.type != "cuda":
        yield from read_ahead(drawer.batch, first_step)
        return
    own, main = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    own.wait_stream(main)  # the copies of the packs may not have finished

    def draw(step: int) -> tuple[Batch, torch.cuda.Event]:
        with torch.cuda.stream(own):
            return drawer.batch(step), own.record_event()

    for batch, ready in read_ahead(draw, first_step, ahead=_AHEAD):
        main.wait_event(ready)
        for value in batch.values():
            # Otherwise a later batch could be given its memory while this step still reads it.
            value.record_stream(main)
        yield batch


def fit_affine(source_BK2: Tensor, target_BK2: Tensor) -> Tensor:
    """Fit ``[B, 2, 3]`` about the points' means, which leaves two unknowns; see
    `engine.models.compact.conditioning.fit_affine`."""
    mean_B12, to_B12 = source_BK2.mean(1, keepdim=True), target_BK2.mean(1, keepdim=True)
    centred = source_BK2 - mean_B12
    turned = centred.transpose(-1, -2)
    # Normal equations, solved by the adjugate: a checked solver would wait for the device.
    normal_B22 = turned @ centred + 1e-6 * torch.eye(2, device=source_BK2.device)
    (a, b), (c, d) = (row.unbind(-1) for row in normal_B22.unbind(-2))
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    inverse_B22 = adjugate / determinant(normal_B22)[:, None, None]
    linear_B22 = (inverse_B22 @ (turned @ (target_BK2 - to_B12))).transpose(-1, -2)
    shift_B21 = to_B12.transpose(-1, -2) - linear_B22 @ mean_B12.transpose(-1, -2)
    return torch.cat([linear_B22, shift_B21], dim=-1)
