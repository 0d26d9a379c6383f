"""DAE-GAN's compact preset: 25 frames/s on two CPU cores at 256 pixels, and few enough values to
train on one.

Its equations are the paper's. It differs from the networks of ``engine.models.daegan.network`` in:

- Encoders. Codes are read from the trunk of the tracker's landmark network, which first finds the
  face; see `FaceTrunk`.
- Size. The trunk reads 256 pixels at any size of the model, and displacements have 32 pixels a
  side. So a model of 64 pixels grows to 128 and 256 with little change of its outputs; see `grown`.
- Displacements. An affine part, linear in the code, is added to the decoder's. Shift, size and roll
  are most of a head's movement, and the decoder alone takes thousands of steps to find them.
- Embedded face. It has twice the picture's side, and frames are sampled into it bicubically: a face
  that is sampled twice at the picture's own size is blurred (`FINER`).
- Attention. Frames are also weighed by how well they agree, see `engine.models.daegan.agreement`.
- Generator. The front end's maps and the embedded face itself are warped by the pose embedder's
  displacement. The back end draws what the warp lacks, and an opacity per pixel blends both. The
  paper's generator has to draw the whole picture from a bottleneck, which takes far more training.
- Layout. From the code, the pose embedder also decodes where mouth, lips, eyes and irises are. The
  back end sees that and the warped face at each of its sizes: adaptive normalisation alone tells it
  that a mouth is open, not where. The warped face is kept out of an open mouth, and of an eye that
  is shut: a warp of 32 pixels can only stretch lips over the one, and the eye over its lids.
- Gaze. Two values of the code tell where the irises are between the corners of the eyes. The
  embedded face's irises move by the difference from its own, see `gaze_field`: neither the warp nor
  the layout is fine enough for them.

Shape letters: N pictures, C channels, S side of the picture, T = 2 S side of the embedded face, P pose
code.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.face.landmarks import EYE_CORNERS, LEFT_LIDS, RIGHT_LIDS
from mimicam.engine.models.daegan.compact_config import BACK, FIELD, FINER, FRONT, CompactDaeGanConfig
from mimicam.engine.models.daegan.compact_embedders import (
    LAYOUT,
    WIDTHS,
    CompactFaceEmbedder,
    CompactPoseEmbedder,
    Posed,
)
from mimicam.engine.models.daegan.layers import (
    DownBlock,
    PosedBlock,
    SelfAttention,
    centres,
    double,
    quiet,
    resized,
    sample,
)
from mimicam.engine.models.daegan.network import DaeGanNetworks
from mimicam.engine.stages.crop import at_rest

_UNSEEN = 6.0
"""By how much the warped face's logit falls where it cannot be right."""
_OPEN = (0.35, 0.75)
"""Opacities of the mouth in the layout from which the warped face fades there, and is gone."""
_SHUT = 0.3
"""Least opacity of an eye that the layout must lack for it to count as shut."""
_LASHES = (9, 5)
"""Height and width to which a pixel of a shut eye grows, in pixels of the layout: lashes, people's own
eyes, and what the warp stretches of them."""
_MOST_FACE = 2.0
"""Opacity of the warped face in a fresh generator, as a logit: it starts from the warp."""
_GAZE = 1.6
"""Shift of the irises over the change of gaze. Codes tell 0.9 of it, and networks read a part of a
drawn shift only, see `engine.models.compact.gaze`: the tracker 0.5 with 1, 0.65 with 1.6."""
_FARTHEST = 0.45
"""Half eye widths. Largest shift of the irises: with 0.6, lashes were smeared beyond the corners."""
_ACROSS, _DOWN = (0.55, 1.2), (0.5, 1.0)
"""Half eye widths. Distances from the eye's centre up to which its picture moves as a whole, and at
which nothing moves: beyond the corners, and between lids and brow. The slope between them times the
largest shift stays below 1, so that nothing folds."""
_FINE = 16
"""Pixels of a side that are averaged to one when the eyes are drawn."""


class Prepared(NamedTuple):
    """All that the generator reads of a portrait."""

    prepared: Tensor
    """Front end's map, ``[N, 96, 16, 16]``."""
    skip: Tensor
    """Front end's finer map, ``[N, 48, 32, 32]``."""
    embedded_face: Tensor
    """``[N, 3, T, T]``"""
    own_gaze: Tensor
    """Gaze of the embedded face, ``[N, 2]``; see `Posed.gaze`."""


class Layers(NamedTuple):
    """What a picture is blended from."""

    warped: Tensor
    """Embedded face as the displacement puts it, ``[N, 3, S, S]``."""
    drawn: Tensor
    """``[N, 3, S, S]``"""
    share: Tensor
    """Share of the warped face in each pixel, ``[N, 1, S, S]``."""
    unseen: Tensor
    """Where the warped face cannot be right, 0 to 1, ``[N, 1, S, S]``."""

    def picture(self) -> Tensor:
        """Blend them."""
        return self.share * self.warped + (1 - self.share) * self.drawn


class CompactGenerator(nn.Module):
    """Draws a picture from the warped face: front, middle, back end (section 3.2)."""

    resting_eyes: Tensor

    def __init__(self, config: CompactDaeGanConfig) -> None:
        super().__init__()
        self._fold = config.size // FIELD
        skip, most = FRONT
        self.stem = nn.Conv2d(3 * self._fold**2, skip, 3, padding=1)
        self.front = DownBlock(skip, most)
        self.middle = nn.ModuleList(PosedBlock(most, most, config.code) for _ in range(config.blocks))
        self.attention = SelfAttention(most)
        widths = (most, skip, *(width for side, width in BACK.items() if side <= config.size))
        pairs = list(itertools.pairwise(widths))
        self.back = nn.ModuleList(PosedBlock(a, b, config.code, up=True) for a, b in pairs)
        # Each level adds to the picture of the level before: a new one starts at zero.
        self.heads = nn.ModuleList(quiet(nn.Conv2d(b, 4, 3, padding=1)) for _, b in pairs)
        # What each level sees of the pose, and of the warped face, folded to its size.
        finer = [width for _, width in pairs[1:]]
        maps = [WIDTHS[1], *(WIDTHS[0] + len(LAYOUT) for _ in finer[:1]), *(len(LAYOUT) for _ in finer[1:])]
        self.poses = nn.ModuleList(
            quiet(nn.Conv2d(n, b, 3, padding=1)) for n, (_, b) in zip(maps, pairs, strict=True)
        )
        folds = [self._fold >> level for level in range(1, len(pairs))]
        self.faces = nn.ModuleList(
            quiet(nn.Conv2d(3 * fold**2, b, 3, padding=1)) for fold, b in zip(folds, finer, strict=True)
        )

        self.register_buffer("resting_eyes", _resting_eyes(), persistent=False)

    def prepare(self, face_N3TT: Tensor, own_gaze_N2: Tensor) -> Prepared:
        """Return what a portrait gives to every frame."""
        # Averaged down first: the convolution has the folds of a picture's side.
        skip = self.stem(F.pixel_unshuffle(F.avg_pool2d(face_N3TT, FINER), self._fold))
        return Prepared(self.front(skip), skip, face_N3TT, own_gaze_N2)

    def draw(self, code_NP: Tensor, posed: Posed, portrait: Prepared) -> Layers:
        """Return the layers of a prepared face's picture, warped by the code's displacement."""
        field, side = posed.displacement, portrait.embedded_face.shape[-1] // FINER
        gazing = gaze_field(field, posed.gaze - portrait.own_gaze)
        warped = sample(portrait.embedded_face, resized(field, side) + resized(gazing, side))
        layout = torch.sigmoid(posed.layout)
        # The field has 32 pixels, the prepared map 16; displacements are relative, so a mean is
        # enough.
        x = sample(portrait.prepared, F.avg_pool2d(field, 2))
        for block in self.middle:
            x = block(x, code_NP)
        x = self.attention(x)
        # The finer map enters at its own size, warped by the same field.
        x = self.back[0](x, code_NP) + sample(portrait.skip, field) + self.poses[0](posed.coarse)
        layer = self.heads[0](F.relu(x))
        for level, (block, head) in enumerate(zip(self.back[1:], self.heads[1:], strict=True)):
            maps = torch.cat([posed.fine, layout], 1) if level == 0 else resized(layout, FIELD << level + 1)
            folded = F.pixel_unshuffle(warped, self._fold >> level + 1)
            x = block(x, code_NP) + self.poses[level + 1](maps) + self.faces[level](folded)
            layer = double(layer) + head(F.relu(x))
        unseen = resized(self._unseen(field, layout), side)
        share = torch.sigmoid(layer[:, 3:] + _MOST_FACE - _UNSEEN * unseen)
        return Layers(warped, torch.tanh(layer[:, :3]), share, unseen)

    def _unseen(self, field_N2HW: Tensor, layout_N4HW: Tensor) -> Tensor:
        """Return where the warped face cannot be right, 0 to 1, ``[N, 1, 64, 64]``."""
        mouth, eyes = layout_N4HW[:, :1], layout_N4HW[:, 2:3]
        low, high = _OPEN
        opened = ((mouth - low) / (high - low)).clamp(0, 1)
        field = resized(field_N2HW, eyes.shape[-1])
        shown = sample(self.resting_eyes.expand(len(field), -1, -1, -1), field)
        shut = ((shown - eyes - _SHUT) / (1 - _SHUT)).clamp(0, 1)
        shut = F.max_pool2d(shut, _LASHES, stride=1, padding=(_LASHES[0] // 2, _LASHES[1] // 2))
        shut = (2 * shut).clamp(max=1)
        return torch.maximum(opened, shut)


class CompactDaeGan(DaeGanNetworks):
    """The three networks of the compact preset."""

    pose_embedder: CompactPoseEmbedder
    generator: CompactGenerator

    def __init__(self, config: CompactDaeGanConfig) -> None:
        super().__init__()
        self.config = config
        self.face_embedder = CompactFaceEmbedder(config)
        self.pose_embedder = CompactPoseEmbedder(config)
        self.generator = CompactGenerator(config)

    def prepare(self, face_N3TT: Tensor) -> Prepared:
        """See `DaeGanNetworks.prepare`."""
        return self.generator.prepare(face_N3TT, self.pose_embedder.own_gaze(face_N3TT))

    def draw(self, code_NP: Tensor, portrait: tuple[Tensor, ...]) -> Tensor:
        """See `DaeGanNetworks.draw`."""
        return self._layers(code_NP, Prepared(*portrait)).picture()

    def layers(self, face_N3TT: Tensor, code_NP: Tensor) -> Layers:
        """Return what the picture of an embedded face is blended from."""
        return self._layers(code_NP, self.prepare(face_N3TT))

    def _layers(self, code_NP: Tensor, portrait: Prepared) -> Layers:
        # Recomputed from the code: then a frame transmits the code alone.
        return self.generator.draw(code_NP, self.pose_embedder.posed(code_NP), portrait)


def gaze_field(field_N2HW: Tensor, shift_N2: Tensor) -> Tensor:
    """Return what a change of gaze adds to a displacement: the irises of the embedded face move within
    the eyes, ``[N, 2, 64, 64]``.

    An iris moves as a whole; the white of the eye is stretched up to the corners. Lids move along,
    which hardly shows along their edges, and is what lids do when eyes look down.

    Args:
        shift_N2: change of gaze, right and down, half eye widths.
    """
    fine = resized(field_N2HW, 2 * FIELD)
    rest = fine + centres(fine).permute(0, 3, 1, 2)
    shift = (_GAZE * shift_N2).clamp(-_FARTHEST, _FARTHEST)[:, :, None, None]
    moved = torch.zeros_like(fine)
    for x, y, half in _eyes():
        share = _fading(rest[:, :1] - x, half, _ACROSS) * _fading(rest[:, 1:] - y, half, _DOWN)
        moved = moved - share * shift * half
    return moved


def _fading(away: Tensor, half: float, between: tuple[float, float]) -> Tensor:
    """Return 1 near an eye's centre, and 0 beyond it."""
    near, far = between
    return ((far - away.abs() / half) / (far - near)).clamp(0, 1)


# Eager networks ask for it in each frame.
@cache
def _eyes() -> list[tuple[float, float, float]]:
    """Return centre (x, y) and half the width of both eyes in embedded faces."""
    points = at_rest(face_geometry().mean)
    found = []
    for left, right in EYE_CORNERS:
        x, y = ((points[left] + points[right]) / 2).tolist()
        found.append((x, y, float(np.linalg.norm(points[right] - points[left])) / 2))
    return found


def _resting_eyes() -> Tensor:
    """Return where embedded faces have their eyes' openings, ``[1, 1, 64, 64]``.

    Faces are embedded where boxes put heads: without expression, seen from the front.
    """
    side = 2 * FIELD
    points = at_rest(face_geometry().mean)
    canvas = np.zeros((side * _FINE, side * _FINE), np.uint8)
    for lids in (RIGHT_LIDS, LEFT_LIDS):
        outline = ((points[lids] + 1) * (side * _FINE / 2) - 0.5).round().astype(np.int32)
        cv2.fillPoly(canvas, [outline], 255)
    opening = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return torch.tensor(opening.tolist())[None, None]
