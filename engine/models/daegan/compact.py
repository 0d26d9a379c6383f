"""DAE-GAN's compact preset: 25 frames/s on two CPU cores at 256 pixels, and few enough values to
train on one.

Its equations are the paper's. It differs from the networks of ``engine.models.daegan.network`` in:

- Encoders. Codes are read from the trunk of the tracker's landmark network, see `FaceTrunk`.
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

Shape letters: N pictures, C channels, S side of the picture, T = 2 S side of the embedded face, P pose
code.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.face.landmarks import LEFT_LIDS, RIGHT_LIDS
from mimicam.engine.models.daegan.agreement import SHARPNESS, disagreement, matrices
from mimicam.engine.models.daegan.compact_config import BACK, FIELD, FINER, FRONT, CompactDaeGanConfig
from mimicam.engine.models.daegan.face_trunk import FEATURES, FaceTrunk
from mimicam.engine.models.daegan.layers import (
    ATTENTION_FLOOR,
    BatchRenorm,
    ConvNorm,
    DownBlock,
    PosedBlock,
    SelfAttention,
    affine_field,
    double,
    quiet,
    resized,
    sample,
)
from mimicam.engine.models.daegan.network import (
    DaeGanNetworks,
    FaceEmbedder,
    FrameEmbedding,
    PoseEmbedder,
    PoseEmbedding,
)
from mimicam.engine.stages.crop import HEAD_SCALE, HEAD_Y

_HIDDEN = 256
"""Values between the trunk's features and a code."""
_WIDTHS = (16, 32, 64, 96, 128)
"""Channels of the decoders at 64, 32, 16, 8 and 4 pixels."""
_MOMENTUM = 0.01
"""Weight of a batch in the statistics that normalise a code. With 0.1, those of eight pictures
changed the codes by a tenth of their deviation from step to step, and displacements were half as
exact again (training/LOG.md)."""
LAYOUT = ("mouth", "lips", "eyes", "irises")
"""Channels of the layout: inside of the mouth, lips, openings of the eyes, irises within them."""
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


class Posed(NamedTuple):
    """All that the generator reads of a pose code, besides the code."""

    displacement: Tensor
    """``[N, 2, 32, 32]``"""
    coarse: Tensor
    """Decoder's maps, ``[N, 32, 32, 32]``."""
    fine: Tensor
    """Finer maps, ``[N, 16, 64, 64]``."""
    layout: Tensor
    """Opacity of each part of `LAYOUT` as a logit, ``[N, 4, 64, 64]``."""


class TrunkEncoder(nn.Module):
    """Maps a picture to a code, through the trunk of the landmark network.

    Batch normalisation gives each value of the code zero mean and unit deviation. Without it, the
    code becomes one large constant within 60 steps, and decoders lose what differs between frames
    (measured, 2026-11). It also makes cosine similarity of codes meaningful.
    """

    def __init__(self, code: int) -> None:
        super().__init__()
        self.trunk = FaceTrunk()
        # The trunk's features differ in scale; normalised, all of them are learned from alike.
        self.scale = nn.LayerNorm(FEATURES)
        self.hidden, self.code = nn.Linear(FEATURES, _HIDDEN), nn.Linear(_HIDDEN, code)
        self.normalise = BatchRenorm(code, affine=False, momentum=_MOMENTUM)

    def forward(self, image_N3SS: Tensor) -> Tensor:
        return self.of_features(self.trunk(image_N3SS))

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Yield what is trained: all but the trunk."""
        return _parameters(self.scale, self.hidden, self.code)

    def of_features(self, features_NC: Tensor) -> Tensor:
        """Return the codes of what the trunk read, ``[N, code]``."""
        hidden = F.leaky_relu(self.hidden(self.scale(features_NC)), 0.2)
        out: Tensor = self.normalise(self.code(hidden))
        return out


class CodeDecoder(nn.Module):
    """Maps a code to feature maps of 32 pixels, ``[N, 32, 32, 32]``."""

    def __init__(self, code: int) -> None:
        super().__init__()
        # Backwards, without the first level: fields end at 32 pixels.
        widths = _WIDTHS[:0:-1]
        self.first = nn.Linear(code, widths[0] * 16)
        self.up = nn.ModuleList(ConvNorm(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, code_NP: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(code_NP), 0.2).reshape(code_NP.shape[0], -1, 4, 4)
        for layer in self.up:
            x = layer(double(x))
        return x


class CompactFaceEmbedder(FaceEmbedder):
    """Fuses several frames into one face (equation 1); fields are upsampled from 32 pixels."""

    encoder: TrunkEncoder

    def __init__(self, config: CompactDaeGanConfig) -> None:
        nn.Module.__init__(self)
        self.encoder = TrunkEncoder(config.face_code)
        self.decoder = CodeDecoder(config.face_code)
        self.head = quiet(nn.Conv2d(_WIDTHS[1], 3, 3, padding=1))
        self.affine = quiet(nn.Linear(config.face_code, 6))

    def encode(self, image_N3SS: Tensor) -> Tensor:
        """Return the codes from which fields and attention are decoded, ``[N, face_code]``."""
        code: Tensor = self.encoder(image_N3SS)
        return code

    def field(self, code_NP: Tensor) -> Tensor:
        """Return the displacement of a code, ``[N, 2, 32, 32]``."""
        return self._field(code_NP, self.head(self.decoder(code_NP)))

    def _field(self, code_NP: Tensor, fields_N3HW: Tensor) -> Tensor:
        # The affine part carries the head's motion, so that the local one may stay small.
        return torch.tanh(fields_N3HW[:, :2]) + affine_field(self.affine(code_NP), fields_N3HW.shape[-1])

    def field_parameters(self) -> Iterator[nn.Parameter]:
        """Yield what is trained between a code and its displacement."""
        return _parameters(self.decoder, self.head, self.affine)

    def frame(self, image_N3SS: Tensor) -> FrameEmbedding:
        """Return one frame's terms of equation 1; they have side T."""
        code, side = self.encode(image_N3SS), FINER * image_N3SS.shape[-1]
        fields = resized(self.head(self.decoder(code)), side)
        displacement = self._field(code, fields)
        # The floor keeps equation 1's division defined where no frame is attended to.
        weight = torch.sigmoid(fields[:, 2:]) + ATTENTION_FLOOR
        # Bicubic interpolation overshoots at edges.
        warped = sample(image_N3SS, displacement, between="bicubic").clamp(-1, 1)
        return FrameEmbedding(warped, weight, displacement, code)

    def fuse(self, warped_NK3SS: Tensor, weight_NK1SS: Tensor) -> tuple[Tensor, Tensor]:
        """See `FaceEmbedder.fuse`. A frame counts by its weight and its agreement with the others;
        see `engine.models.daegan.agreement`."""
        plain = super().fuse(warped_NK3SS, weight_NK1SS)
        if warped_NK3SS.shape[1] == 1:
            return plain
        with torch.no_grad():
            face = plain[0][:, None]
            parts = (torch.from_numpy(matrix).to(face.device) for matrix in matrices(face.shape[-1]))
            differs = disagreement(warped_NK3SS, face, *parts)
            # Less the least: one frame of each place keeps its weight, so that no sum is 0.
            agrees = torch.exp(SHARPNESS * (differs.amin(1, keepdim=True) - differs))
        return super().fuse(warped_NK3SS, weight_NK1SS * agrees)


class CompactPoseEmbedder(PoseEmbedder):
    """Maps a frame to its pose code, and the code to a warp and two residuals (figure 4)."""

    encoder: TrunkEncoder

    def __init__(self, config: CompactDaeGanConfig) -> None:
        nn.Module.__init__(self)
        self._size = config.size
        self.encoder, self.decoder = TrunkEncoder(config.code), CodeDecoder(config.code)
        self.fine = ConvNorm(_WIDTHS[1], _WIDTHS[0])
        self.displacement = quiet(nn.Conv2d(_WIDTHS[1], 2, 3, padding=1))
        self.affine = quiet(nn.Linear(config.code, 6))
        self.layout = nn.Conv2d(_WIDTHS[0], len(LAYOUT), 3, padding=1)
        # Before anything is learned no mouth is open and no eye is shut.
        self.layout.bias = nn.Parameter(torch.tensor([4.0 if part == "eyes" else -4.0 for part in LAYOUT]))
        self.residual_low = quiet(nn.Conv2d(_WIDTHS[1], 3, 3, padding=1))
        self.residual_high = quiet(nn.Conv2d(_WIDTHS[0], 3, 3, padding=1))

    def encode(self, image_N3SS: Tensor) -> Tensor:
        """Return the pose code, ``[N, P]``."""
        code: Tensor = self.encoder(image_N3SS)
        return code

    def field(self, code_NP: Tensor) -> Tensor:
        """Return the displacement of a code, ``[N, 2, 32, 32]``."""
        return self._field(code_NP, self.decoder(code_NP))

    def posed(self, code_NP: Tensor) -> Posed:
        """Return what the generator reads of a code."""
        coarse = self.decoder(code_NP)
        fine = self.fine(double(coarse))
        return Posed(self._field(code_NP, coarse), coarse, fine, self.layout(fine))

    def _field(self, code_NP: Tensor, maps_NCHW: Tensor) -> Tensor:
        local = torch.tanh(self.displacement(maps_NCHW))
        return local + affine_field(self.affine(code_NP), FIELD)

    def field_parameters(self) -> Iterator[nn.Parameter]:
        """Yield what is trained between a code and its displacement and layout."""
        return _parameters(self.decoder, self.displacement, self.affine, self.fine, self.layout)

    def forward(self, image_N3SS: Tensor) -> PoseEmbedding:
        code, size = self.encode(image_N3SS), self._size
        maps = self.decoder(code)
        field = self._field(code, maps)
        return PoseEmbedding(
            code,
            resized(field, max(size // 4, FIELD)),
            resized(self.residual_low(maps), size // 2),
            resized(self.residual_high(self.fine(double(maps))), size),
        )


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
        maps = [_WIDTHS[1], *(_WIDTHS[0] + len(LAYOUT) for _ in finer[:1]), *(len(LAYOUT) for _ in finer[1:])]
        self.poses = nn.ModuleList(
            quiet(nn.Conv2d(n, b, 3, padding=1)) for n, (_, b) in zip(maps, pairs, strict=True)
        )
        folds = [self._fold >> level for level in range(1, len(pairs))]
        self.faces = nn.ModuleList(
            quiet(nn.Conv2d(3 * fold**2, b, 3, padding=1)) for fold, b in zip(folds, finer, strict=True)
        )

        self.register_buffer("resting_eyes", _resting_eyes(), persistent=False)

    def prepare(self, face_N3TT: Tensor) -> Prepared:
        """Return what a portrait gives to every frame."""
        # Averaged down first: the convolution has the folds of a picture's side.
        skip = self.stem(F.pixel_unshuffle(F.avg_pool2d(face_N3TT, FINER), self._fold))
        return Prepared(self.front(skip), skip, face_N3TT)

    def draw(self, code_NP: Tensor, posed: Posed, portrait: Prepared) -> Layers:
        """Return the layers of a prepared face's picture, warped by the code's displacement."""
        field, side = posed.displacement, portrait.embedded_face.shape[-1] // FINER
        warped = sample(portrait.embedded_face, resized(field, side))
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

    def prepare(self, face_N3TT: Tensor) -> tuple[Tensor, ...]:
        """See `DaeGanNetworks.prepare`; the tensors of `Prepared`."""
        return self.generator.prepare(face_N3TT)

    def draw(self, code_NP: Tensor, portrait: tuple[Tensor, ...]) -> Tensor:
        """See `DaeGanNetworks.draw`."""
        return self._layers(code_NP, Prepared(*portrait)).picture()

    def layers(self, face_N3TT: Tensor, code_NP: Tensor) -> Layers:
        """Return what the picture of an embedded face is blended from."""
        return self._layers(code_NP, self.generator.prepare(face_N3TT))

    def _layers(self, code_NP: Tensor, portrait: Prepared) -> Layers:
        # Recomputed from the code: then a frame transmits the code alone.
        return self.generator.draw(code_NP, self.pose_embedder.posed(code_NP), portrait)


def _resting_eyes() -> Tensor:
    """Return where embedded faces have their eyes' openings, ``[1, 1, 64, 64]``.

    Faces are embedded where boxes put heads: without expression, seen from the front.
    """
    side = 2 * FIELD
    points = face_geometry().mean[:, :2] * HEAD_SCALE + (0.0, HEAD_Y)
    canvas = np.zeros((side * _FINE, side * _FINE), np.uint8)
    for lids in (RIGHT_LIDS, LEFT_LIDS):
        outline = ((points[lids] + 1) * (side * _FINE / 2) - 0.5).round().astype(np.int32)
        cv2.fillPoly(canvas, [outline], 255)
    opening = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return torch.tensor(opening.tolist())[None, None]


def _parameters(*layers: nn.Module) -> Iterator[nn.Parameter]:
    for layer in layers:
        yield from layer.parameters()
