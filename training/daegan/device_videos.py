"""Draw the samples of `training.daegan.videos` on a GPU: frames stay there as bytes, and are warped
and coloured there.

The host draws numbers only: frames, similarities and lights, a few kilobytes a batch. It draws some
steps ahead in a thread, into pinned memory, so that copies wait for nothing. The ranges are those
of `VideoSampler`; the order of the draws is not.

Shape letters: F frames, N samples, K + 1 frames of a sample, S side.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.engine.face.geometry import face_geometry
from mimicam.training.daegan.guidance import FacePoints, mirrored_expression
from mimicam.training.daegan.videos import JITTER
from mimicam.training.data.augmentation import Augmentation
from mimicam.training.data.pairs import read_ahead

Batch = dict[str, Tensor]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
_AHEAD = 4
"""Number of batches whose numbers are drawn ahead."""
_CHUNK = 512
"""Frames that are scaled at once; all at once would take gigabytes as floats."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Frames of one person without a cut."""

    rows: Rows
    targets: Rows
    """Those that may be a target: a picture drawn from another one is good enough as a source
    only."""


@dataclass(frozen=True, kw_only=True)
class Frames:
    """One pack on the host."""

    pictures: npt.NDArray[np.uint8]
    """``[F, S, S, 3]``, RGB."""
    segment: npt.NDArray[np.int_]
    """Segment of each, ascending."""
    is_synthetic: npt.NDArray[np.bool_]
    """Pictures that were drawn from another one of their segment; see `training.data.pack`."""
    points: FacePoints | None = None
    """Their landmarks; None if nothing needs them."""

    def segments(self, before: int) -> list[Segment]:
        """Return the segments that have a target; rows count from ``before``."""
        _, starts = np.unique(self.segment, return_index=True)
        groups = np.split(np.arange(len(self.segment)), starts[1:])
        pairs = ((rows + before, rows[~self.is_synthetic[rows]] + before) for rows in groups)
        return [Segment(rows=rows, targets=targets) for rows, targets in pairs if len(targets)]


@dataclass(frozen=True, kw_only=True)
class DevicePoints:
    """Landmarks of all frames on one device; see `FacePoints`."""

    landmarks: Tensor
    """``[F, L, 2]``"""
    resting: Tensor
    """``[G, L, 2]``"""
    row: Tensor
    """int ``[F]``"""
    mirror: Tensor
    """int ``[L]``: the landmark of the other side."""
    expressions: Tensor
    """``[F, E]``"""
    order: Tensor
    """int ``[E]``: the value of the other side."""
    sign: Tensor
    """``[E]``: its sign in the mirrored picture."""

    def of(self, rows_NF: Tensor, matrix_NF23: Tensor, flip_N: Tensor) -> Batch:
        """Return ``frame_points``, ``target_points``, ``resting`` and ``expressions`` of a batch; see
        `VideoSampler`.

        Args:
            matrix_NF23: similarity of each frame, after mirroring.
            flip_N: -1 for samples that are mirrored, else 1.
        """
        own = self._mirrored(self.landmarks[rows_NF], flip_N[:, None])
        shown = self.expressions[rows_NF]
        moved = own @ matrix_NF23[..., :2].transpose(-1, -2) + matrix_NF23[..., None, :, 2]
        return {
            "frame_points": moved[:, :-1],
            "target_points": moved[:, -1],
            "resting": self._mirrored(self.resting[self.row[rows_NF[:, -1]]], flip_N),
            "expressions": torch.where(flip_N[:, None, None] < 0, shown[..., self.order] * self.sign, shown),
        }

    def _mirrored(self, points: Tensor, flip: Tensor) -> Tensor:
        x, y = points.unbind(-1)
        # Mirroring swaps the landmarks of both sides, besides the sign of x.
        other = torch.stack([-x, y], -1)[..., self.mirror, :]
        return torch.where(flip[..., None, None] < 0, other, points)


@dataclass(frozen=True, kw_only=True)
class DeviceVideos:
    """Frames on one device, and which of them belong together."""

    frames: Tensor
    """uint8 ``[F, 3, S, S]``"""
    segments: Sequence[Segment]
    weights: npt.NDArray[np.float64]
    """Probability of each segment."""
    points: DevicePoints | None = None

    def scaled(self, size: int) -> DeviceVideos:
        """Return the same videos with a side of ``size`` pixels."""
        if self.frames.shape[-1] == size:
            return self
        parts = [
            F.interpolate(part.float(), size=(size, size), mode="area").round().byte()
            for part in self.frames.split(_CHUNK)
        ]
        return replace(self, frames=torch.cat(parts))


def device_videos(packs: Sequence[Frames], shares: Sequence[float], device: torch.device) -> DeviceVideos:
    """Move the frames of several packs of one size to a device.

    Args:
        shares: probability of each pack. Segments within it weigh as the square root of their
            length.
    """
    frames, segments, weights, before = list[Tensor](), list[Segment](), list[npt.NDArray[np.float64]](), 0
    for pack, share in zip(packs, shares, strict=True):
        found = pack.segments(before)
        # As in `VideoSampler`: the square root keeps long clips from dominating.
        own = np.sqrt([len(each.rows) for each in found])
        frames.append(torch.from_numpy(pack.pictures).to(device).permute(0, 3, 1, 2).contiguous())
        segments += found
        weights.append(share * own / own.sum())
        before += len(pack.segment)
    joined = np.concatenate(weights)
    return DeviceVideos(
        frames=torch.cat(frames),
        segments=segments,
        weights=joined / joined.sum(),
        points=_joined([pack.points for pack in packs], device),
    )


def _joined(packs: Sequence[FacePoints | None], device: torch.device) -> DevicePoints | None:
    """Concatenate the points of all packs; None if none has them."""
    given = [points for points in packs if points is not None]
    if not given:
        return None
    if len(given) < len(packs):
        raise ValueError("packs must all have points, or none")
    order, sign = mirrored_expression()
    # Rows of the resting table shift by the tables before it.
    before = np.cumsum([0] + [len(points.resting) for points in given[:-1]])
    tables = {
        "landmarks": np.concatenate([points.landmarks for points in given]),
        "resting": np.concatenate([points.resting for points in given]),
        "row": np.concatenate([points.row + n for points, n in zip(given, before, strict=True)]),
        "mirror": face_geometry().mirror.astype(np.int64),
        "expressions": np.concatenate([points.expressions for points in given]),
        "order": order,
        "sign": sign,
    }
    return DevicePoints(**{name: torch.from_numpy(table).to(device) for name, table in tables.items()})


class DeviceVideoSampler:
    """Draws float batches ``frames`` ``[N, K, 3, S, S]``, ``target`` and ``driver`` ``[N, 3, S,
    S]`` in -1..1, a function of the step. Videos with points also give landmarks; see
    `VideoSampler`."""

    def __init__(
        self,
        videos: DeviceVideos,
        *,
        frames: int,
        batch: int,
        seed: int = 0,
        fewest: int | None = None,
        augmentation: Augmentation | None = None,
        jitter: Augmentation = JITTER,
    ) -> None:
        """Args:
        frames: K.
        fewest: K is drawn for each batch from ``fewest`` to ``frames``. None is always ``frames``.
        augmentation: one similarity and one light for all frames of a sample, another light for
            ``driver``. None shows the frames as they are.
        jitter: beside ``augmentation``, one more similarity for each frame alone.
        """
        self._videos, self._most, self._batch, self._seed = videos, frames, batch, seed
        self._fewest = frames if fewest is None else fewest
        self._augmentation, self._jitter = augmentation, jitter

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step."""
        return self._shown(self.numbers(step))

    def stream(self, first_step: int) -> Generator[Batch]:
        """Yield batches from ``first_step`` on; the host never waits for the device."""
        for numbers in read_ahead(self.numbers, first_step, ahead=_AHEAD):
            yield self._shown(numbers)

    def _shown(self, numbers: Batch) -> Batch:
        points = self._videos.points
        if points is None:
            return self.pictures(numbers)
        names = ("rows", "matrix", "flip")
        device = self._videos.frames.device
        given = (numbers[name].to(device, non_blocking=True) for name in names)
        return self.pictures(numbers) | points.of(*given)

    def numbers(self, step: int) -> Batch:
        """Draw what the batch of a step shows, on the host.

        Returns:
            ``rows`` ``[N, K + 1]``; ``theta`` ``[N, K + 1, 2, 3]``, positions in a frame from
            positions in its picture; ``matrix``, the similarity alone, the other way; ``flip``
            ``[N]``, -1 where frames are mirrored before it; ``light`` ``[N, 2, 4]``, gains and
            gamma of the frames and of the driver.
        """
        rng = np.random.default_rng((self._seed, step))
        wanted = int(rng.integers(self._fewest, self._most + 1)) + 1
        segments = rng.choice(len(self._videos.segments), self._batch, p=self._videos.weights)
        rows = np.stack([_rows(rng, self._videos.segments[number], wanted) for number in segments])
        flip = np.where(rng.random((self._batch, 1, 1)) < 0.5, -1.0, 1.0)
        matrix: npt.NDArray[np.floating[Any]]
        # Homogeneous 3x3, so that two similarities compose by one product and can be inverted.
        matrix = np.broadcast_to(np.eye(3), (self._batch, wanted, 3, 3))
        light = np.ones((self._batch, 2, 4))
        if self._augmentation is not None:
            shared = _similarities(rng, self._augmentation, (self._batch, 1))
            own = _similarities(rng, self._jitter, (self._batch, wanted))
            matrix = own @ shared
            light = _lights(rng, self._augmentation, (self._batch, 2))
        # The inverse: where each pixel of the picture comes from.
        theta = np.linalg.inv(matrix)[..., :2, :]
        # A mirrored sample reads its frames from the other side.
        theta[..., 0, :] *= flip
        return {
            "rows": self._pinned(rows),
            "theta": self._pinned(theta.astype(np.float32)),
            "matrix": self._pinned(matrix[..., :2, :].astype(np.float32)),
            "flip": self._pinned(flip[:, 0, 0].astype(np.float32)),
            "light": self._pinned(light.astype(np.float32)),
        }

    def _pinned(self, array: npt.NDArray[np.generic]) -> Tensor:
        """Return the array where a copy to the device need not wait."""
        # Pinned memory: `non_blocking` copies from pageable memory would wait all the same.
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if self._videos.frames.is_cuda else tensor

    def pictures(self, numbers: Batch) -> Batch:
        """Warp and colour the frames that `numbers` drew, on the device."""
        device = self._videos.frames.device
        rows, theta, light = (
            numbers[name].to(device, non_blocking=True) for name in ("rows", "theta", "light")
        )
        N, wanted = rows.shape
        # Converted to floats after the gather: the pack stays in bytes, a quarter of the memory.
        drawn = self._videos.frames.index_select(0, rows.flatten()).float() / 255
        grid = F.affine_grid(theta.flatten(0, 1), list(drawn.shape), align_corners=False)
        # Reflection: black borders would be learned as part of the face's surroundings.
        moved = F.grid_sample(drawn, grid, padding_mode="reflection", align_corners=False)
        moved = moved.view(N, wanted, *drawn.shape[1:])
        shown = _lit(moved, light[:, :1])
        return {
            "frames": shown[:, :-1].contiguous(),
            "target": shown[:, -1].contiguous(),
            "driver": _lit(moved[:, -1:], light[:, 1:])[:, 0].contiguous(),
        }


def _rows(rng: np.random.Generator, segment: Segment, wanted: int) -> Rows:
    """Draw frames of a segment, the target last; short segments repeat frames rather than being
    left out. The target is another frame than the others wherever there are two."""
    target = rng.choice(segment.targets)
    others = segment.rows[segment.rows != target] if len(segment.rows) > 1 else segment.rows
    return np.append(rng.choice(others, wanted - 1, replace=len(others) < wanted - 1), target)


def _similarities(
    rng: np.random.Generator, ranges: Augmentation, shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Draw similarities ``[*shape, 3, 3]``; see `Augmentation.matrix`."""
    roll = np.deg2rad(rng.uniform(-ranges.roll_deg, ranges.roll_deg, shape))
    scale = rng.uniform(*ranges.scale, shape)
    cos, sin = scale * np.cos(roll), scale * np.sin(roll)
    out = np.zeros((*shape, 3, 3))
    out[..., 0, 0], out[..., 0, 1], out[..., 1, 0], out[..., 1, 1] = cos, -sin, sin, cos
    out[..., :2, 2] = rng.uniform(-2 * ranges.shift, 2 * ranges.shift, (*shape, 2))
    out[..., 2, 2] = 1
    return out


def _lights(
    rng: np.random.Generator, ranges: Augmentation, shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Draw changes of light ``[*shape, 4]``: gains of the channels, then gamma; see
    `Augmentation.recolour`."""
    shared = 1 + rng.uniform(-ranges.colour, ranges.colour, (*shape, 1))
    gains = shared + rng.uniform(-ranges.colour, ranges.colour, (*shape, 3)) / 3
    gamma = 1 + rng.uniform(-ranges.gamma, ranges.gamma, (*shape, 1))
    return np.concatenate([gains, gamma], -1)


def _lit(pictures_NF3SS: Tensor, light_N14: Tensor) -> Tensor:
    """Colour pictures of 0..1, and return them in -1..1."""
    gain, gamma = light_N14[:, :, :3, None, None], light_N14[:, :, 3:, None, None]
    # Rounding may leave a value just below 0, whose power is not a number.
    return (pictures_NF3SS.clamp(0, 1) ** gamma * gain).clamp(0, 1) * 2 - 1
