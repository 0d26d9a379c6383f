"""Face embedder and pose embedder of DAE-GAN's compact preset; see `engine.models.daegan.compact`.

Shape letters: N pictures, C channels, H side of a frame, S side of the picture, T = 2 S side of the
embedded face, P pose code.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.engine.models.daegan.agreement import SHARPNESS, disagreement, matrices
from mimicam.engine.models.daegan.compact_config import FIELD, RETRIEVED, CompactDaeGanConfig
from mimicam.engine.models.daegan.face_trunk import FEATURES, PLACE, FaceFinder, FaceTrunk
from mimicam.engine.models.daegan.layers import (
    ATTENTION_FLOOR,
    BatchRenorm,
    ConvNorm,
    affine_field,
    double,
    quiet,
    resized,
    sample,
)
from mimicam.engine.models.daegan.network import FaceEmbedder, FrameEmbedding, PoseEmbedder, PoseEmbedding

_HIDDEN = 256
"""Values between what the trunk reads and a code."""
_PLACE_SCALE = 5.0
"""Factor of the face's place beside the normalised features."""
WIDTHS = (16, 32, 64, 96, 128)
"""Channels of the decoders at 64, 32, 16, 8 and 4 pixels."""
_MOMENTUM = 0.01
"""Weight of a batch in the statistics that normalise a code. With 0.1, those of eight pictures
changed the codes by a tenth of their deviation from step to step, and displacements were half as
exact again (training/LOG.md)."""
LAYOUT = ("mouth", "lips", "eyes", "irises")
"""Channels of the layout: inside of the mouth, lips, openings of the eyes, irises within them."""


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
    gaze: Tensor
    """Where the irises are between the corners of the eyes: right and down, half eye widths, ``[N,
    2]``."""


class TrunkEncoder(nn.Module):
    """Maps a picture to a code, through the trunk of the landmark network.

    Batch normalisation gives each value of the code zero mean and unit deviation. Without it, the
    code becomes one large constant within 60 steps, and decoders lose what differs between frames
    (measured, 2026-11). It also makes cosine similarity of codes meaningful.
    """

    def __init__(self, code: int) -> None:
        super().__init__()
        self.trunk, self.finder = FaceTrunk(), FaceFinder()
        # The trunk's features differ in scale; normalised, all of them are learned from alike.
        self.scale = nn.LayerNorm(FEATURES)
        self.hidden, self.code = nn.Linear(FEATURES + PLACE, _HIDDEN), nn.Linear(_HIDDEN, code)
        self.normalise = BatchRenorm(code, affine=False, momentum=_MOMENTUM)

    def forward(self, image_N3SS: Tensor) -> Tensor:
        return self.of_read(self.read(image_N3SS))

    def read(self, image_N3SS: Tensor) -> Tensor:
        """Return what the trunk reads, see `FaceTrunk.forward`, ``[N, 516]``."""
        read: Tensor = self.trunk(image_N3SS, self.finder)
        return read

    @torch.no_grad()
    def aside(self, image_N3SS: Tensor) -> Tensor:
        """Return the codes of pictures that nothing is learned from, ``[N, code]``."""
        was, self.normalise.training = self.normalise.training, False
        codes: Tensor = self(image_N3SS)
        self.normalise.training = was
        return codes

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Yield what is trained with codes: all but trunk and finder."""
        return _parameters(self.scale, self.hidden, self.code)

    def of_read(self, read_NC: Tensor) -> Tensor:
        """Return the codes of what the trunk read, ``[N, code]``."""
        features, place = read_NC.split([FEATURES, PLACE], 1)
        # The place has a deviation of a tenth; the features have 1 once they are normalised.
        x = torch.cat([self.scale(features), _PLACE_SCALE * place], 1)
        hidden = F.leaky_relu(self.hidden(x), 0.2)
        out: Tensor = self.normalise(self.code(hidden))
        return out


class CodeDecoder(nn.Module):
    """Maps a code to feature maps of 32 pixels, ``[N, 32, 32, 32]``."""

    def __init__(self, code: int) -> None:
        super().__init__()
        # Backwards, without the first level: fields end at 32 pixels.
        widths = WIDTHS[:0:-1]
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
        self._face_size = config.face_size
        self.encoder = TrunkEncoder(config.face_code)
        self.decoder = CodeDecoder(config.face_code)
        self.head = quiet(nn.Conv2d(WIDTHS[1], 3, 3, padding=1))
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

    def frame(self, image_N3HH: Tensor) -> FrameEmbedding:
        """Return one frame's terms of equation 1; they have side T. Frames of side T show more detail
        than those of the picture's."""
        code = self.encode(image_N3HH)
        fields = resized(self.head(self.decoder(code)), self._face_size)
        displacement = self._field(code, fields)
        # The floor keeps equation 1's division defined where no frame is attended to.
        weight = torch.sigmoid(fields[:, 2:]) + ATTENTION_FLOOR
        # Bicubic interpolation overshoots at edges.
        warped = sample(image_N3HH, displacement, between="bicubic").clamp(-1, 1)
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
        self.fine = ConvNorm(WIDTHS[1], WIDTHS[0])
        self.displacement = quiet(nn.Conv2d(WIDTHS[1], 2, 3, padding=1))
        self.affine = quiet(nn.Linear(config.code, 6))
        self.layout = nn.Conv2d(WIDTHS[0], len(LAYOUT), 3, padding=1)
        # Before anything is learned no mouth is open and no eye is shut.
        self.layout.bias = nn.Parameter(torch.tensor([4.0 if part == "eyes" else -4.0 for part in LAYOUT]))
        self.gaze = nn.Linear(config.code, 2)
        # Nothing moves before it is learned.
        nn.init.zeros_(self.gaze.weight)
        nn.init.zeros_(self.gaze.bias)
        self.retrieval = nn.Linear(config.code, RETRIEVED)
        self.residual_low = quiet(nn.Conv2d(WIDTHS[1], 3, 3, padding=1))
        self.residual_high = quiet(nn.Conv2d(WIDTHS[0], 3, 3, padding=1))

    def encode(self, image_N3SS: Tensor) -> Tensor:
        """Return the pose code, ``[N, P]``."""
        code: Tensor = self.encoder(image_N3SS)
        return code

    def retrieval_embedding(self, code_NP: Tensor) -> Tensor:
        """Return what the retrieval by expression and pose compares, ``[N, 56]``: a linear map of the
        code. Cosines of these tell how far head angles and blendshapes are apart."""
        embedding: Tensor = self.retrieval(code_NP)
        return embedding

    def field(self, code_NP: Tensor) -> Tensor:
        """Return the displacement of a code, ``[N, 2, 32, 32]``."""
        return self._field(code_NP, self.decoder(code_NP))

    def posed(self, code_NP: Tensor) -> Posed:
        """Return what the generator reads of a code."""
        coarse = self.decoder(code_NP)
        fine = self.fine(double(coarse))
        return Posed(self._field(code_NP, coarse), coarse, fine, self.layout(fine), self.gaze(code_NP))

    def _field(self, code_NP: Tensor, maps_NCHW: Tensor) -> Tensor:
        local = torch.tanh(self.displacement(maps_NCHW))
        return local + affine_field(self.affine(code_NP), FIELD)

    def field_parameters(self) -> Iterator[nn.Parameter]:
        """Yield what is trained between a code and its displacement and layout."""
        return _parameters(self.decoder, self.displacement, self.affine, self.fine, self.layout)

    def own_gaze(self, face_N3TT: Tensor) -> Tensor:
        """Return the gaze of embedded faces, see `Posed.gaze`."""
        gaze: Tensor = self.gaze(self.encoder.aside(face_N3TT))
        return gaze

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


def _parameters(*layers: nn.Module) -> Iterator[nn.Parameter]:
    for layer in layers:
        yield from layer.parameters()
