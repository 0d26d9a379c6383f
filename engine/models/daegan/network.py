"""DAE-GAN's networks: face embedder, pose embedder, conditional generator.

Zeng, Pan et al., "Realistic Face Reenactment via Self-Supervised Disentangling of Identity and
Pose", AAAI 2020. The paper gives no widths; those of `DaeGanConfig` are ours.

Pictures are RGB in -1..1, ``[N, 3, S, S]``. Displacements are in units of half a side, x right, y
down. Shape letters: N pictures, K frames of one video, C channels, S side, P pose code.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.engine.models.daegan.config import AnyConfig, DaeGanConfig
from mimicam.engine.models.daegan.layers import (
    ATTENTION_FLOOR,
    ConvNorm,
    DownBlock,
    PosedBlock,
    SelfAttention,
    double,
    quiet,
    resized,
    sample,
)


class Embedding(NamedTuple):
    """Face of a video without its pose (equation 1)."""

    face: Tensor
    """``[N, 3, S, S]``"""
    displacement: Tensor
    """``[N, K, 2, S, S]``: sampling displacement of each frame."""
    attention: Tensor
    """``[N, K, 1, S, S]``: weight of each frame; sums to 1 over the frames."""
    code: Tensor
    """``[N, K, P]``: values between the face embedder's encoder and decoder, for each frame."""


class FrameEmbedding(NamedTuple):
    """Contribution of one frame to a face, which averages ``warped`` with ``weight``."""

    warped: Tensor
    """``[N, 3, S, S]``"""
    weight: Tensor
    """``[N, 1, S, S]``, above 0."""
    displacement: Tensor
    """``[N, 2, S, S]``"""
    code: Tensor
    """``[N, P]``"""


class PoseEmbedding(NamedTuple):
    """Output of the pose embedder for a frame (figure 4)."""

    code: Tensor
    """``[N, P]``"""
    displacement: Tensor
    """``[N, 2, S / 4, S / 4]``"""
    residual_low: Tensor
    """``[N, 3, S / 2, S / 2]``"""
    residual_high: Tensor
    """``[N, 3, S, S]``"""


class Encoder(nn.Module):
    """Maps a picture to features at 4x4 pixels, halving the size step by step."""

    def __init__(self, config: DaeGanConfig) -> None:
        super().__init__()
        widths = config.widths(4)
        self.stem = ConvNorm(3, widths[0])
        pairs = itertools.pairwise(widths)
        self.down = nn.ModuleList(ConvNorm(a, b, stride=2) for a, b in pairs)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        x = self.stem(image_NCHW)
        for layer in self.down:
            x = layer(x)
        out: Tensor = x
        return out


class Decoder(nn.Module):
    """Maps a code to feature maps at 4, 8, ... ``size`` pixels, from coarse to fine.

    The code is its only input, so the code must carry all that the outputs need.
    """

    def __init__(self, config: DaeGanConfig) -> None:
        super().__init__()
        widths = config.widths(4)[::-1]
        self.first = nn.Linear(config.code, widths[0] * 16)
        pairs = itertools.pairwise(widths)
        self.up = nn.ModuleList(ConvNorm(a, b) for a, b in pairs)

    def forward(self, code_NP: Tensor) -> list[Tensor]:
        # The first map, 4x4, comes from the code alone.
        maps = [F.leaky_relu(self.first(code_NP), 0.2).reshape(code_NP.shape[0], -1, 4, 4)]
        for layer in self.up:
            maps.append(layer(double(maps[-1])))
        return maps


class FaceEmbedder(nn.Module):
    """Fuses several frames of one video into one face without pose (figure 3, equation 1)."""

    encoder: nn.Module
    decoder: nn.Module

    def __init__(self, config: DaeGanConfig) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.code = nn.Linear(config.widths(4)[-1] * 16, config.code)
        # Near zero at first: training starts from the plain average of the frames.
        self.head = quiet(nn.Conv2d(config.width, 3, 3, padding=1))

    def encode(self, image_N3SS: Tensor) -> Tensor:
        """Return the codes from which fields and attention are decoded, ``[N, P]``."""
        code: Tensor = self.code(self.encoder(image_N3SS).flatten(1))
        return code

    def frame(self, image_N3SS: Tensor) -> FrameEmbedding:
        """Return one frame's terms of equation 1."""
        code = self.encode(image_N3SS)
        fields = self.head(self.decoder(code)[-1])
        # At most half a side in each direction.
        displacement = torch.tanh(fields[:, :2])
        # Not normalised here, so that live use can add frames one by one.
        weight = torch.sigmoid(fields[:, 2:]) + ATTENTION_FLOOR
        return FrameEmbedding(sample(image_N3SS, displacement), weight, displacement, code)

    def fuse(self, warped_NK3SS: Tensor, weight_NK1SS: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted mean of frames, ``[N, 3, S, S]``, and each one's share of it (equation
        1)."""
        attention = weight_NK1SS / weight_NK1SS.sum(1, keepdim=True)
        return (attention * warped_NK3SS).sum(1), attention

    def forward(self, frames_NK3SS: Tensor) -> Embedding:
        N, K = frames_NK3SS.shape[:2]
        # All frames of all videos run as one batch.
        parts = (part.reshape(N, K, *part.shape[1:]) for part in self.frame(frames_NK3SS.flatten(0, 1)))
        warped, weight, displacement, code = parts
        face, attention = self.fuse(warped, weight)
        return Embedding(face, displacement, attention, code)


class PoseEmbedder(nn.Module):
    """Maps a frame to its pose code, and the code to a warp and two residuals (figure 4)."""

    encoder: nn.Module
    decoder: nn.Module

    def __init__(self, config: DaeGanConfig) -> None:
        super().__init__()
        widths = config.widths(4)
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.code = nn.Linear(widths[-1] * 16, config.code)
        self.displacement = quiet(nn.Conv2d(widths[2], 2, 3, padding=1))
        self.residual_low = quiet(nn.Conv2d(widths[1], 3, 3, padding=1))
        self.residual_high = quiet(nn.Conv2d(widths[0], 3, 3, padding=1))

    def encode(self, image_N3SS: Tensor) -> Tensor:
        """Return the pose code, ``[N, P]``: all that a live driver's frame needs."""
        code: Tensor = self.code(self.encoder(image_N3SS).flatten(1))
        return code

    def forward(self, image_N3SS: Tensor) -> PoseEmbedding:
        code = self.encode(image_N3SS)
        # The three finest maps: S/4 for the warp, S/2 and S for the residuals.
        *_, quarter, half, full = self.decoder(code)
        return PoseEmbedding(
            code,
            torch.tanh(self.displacement(quarter)),
            self.residual_low(half),
            self.residual_high(full),
        )


def reconstruct(face_N3SS: Tensor, embedding: PoseEmbedding) -> Tensor:
    """Apply equation 2: warp the face at a quarter of the size, then add both residuals going up.

    The face is averaged down before it is sampled, since sampling every fourth pixel would alias.
    The compact preset has displacements of half the size at 64 pixels: there one upsampling falls
    away.
    """
    field, low, high = embedding.displacement, embedding.residual_low, embedding.residual_high
    warped = sample(F.avg_pool2d(face_N3SS, face_N3SS.shape[-1] // field.shape[-1]), field)
    return high + resized(low + resized(warped, low.shape[-1]), high.shape[-1])


class Generator(nn.Module):
    """Draws a picture from embedded face and pose code: front, middle, back end (section 3.2)."""

    def __init__(self, config: DaeGanConfig) -> None:
        super().__init__()
        widths = config.widths(config.size // config.reduction)
        pairs = list(itertools.pairwise(widths))
        self.stem = nn.Conv2d(3, widths[0], 7, padding=3)
        self.front = nn.ModuleList(DownBlock(a, b) for a, b in pairs)
        self.middle = nn.ModuleList(
            PosedBlock(widths[-1], widths[-1], config.code) for _ in range(config.blocks)
        )
        self.attention = SelfAttention(widths[-1])
        self.back = nn.ModuleList(PosedBlock(b, a, config.code, up=True) for a, b in reversed(pairs))
        self.head = nn.Conv2d(widths[0], 3, 7, padding=3)

    def prepare(self, face_N3SS: Tensor) -> Tensor:
        """Return the front end's map of a face, ``[N, C, S / reduction, S / reduction]``."""
        x = self.stem(face_N3SS)
        for block in self.front:
            x = block(x)
        out: Tensor = x
        return out

    def draw(self, code_NP: Tensor, prepared_NCHW: Tensor) -> Tensor:
        """Return the picture of a prepared face with a pose code, ``[N, 3, S, S]`` in -1..1."""
        x = prepared_NCHW
        for block in self.middle:
            x = block(x, code_NP)
        x = self.attention(x)
        for block in self.back:
            x = block(x, code_NP)
        return torch.tanh(self.head(F.relu(x)))

    def forward(self, face_N3SS: Tensor, code_NP: Tensor) -> Tensor:
        return self.draw(code_NP, self.prepare(face_N3SS))


class DaeGanNetworks(nn.Module):
    """The three networks that run live; the discriminator belongs to training."""

    config: AnyConfig
    face_embedder: FaceEmbedder
    pose_embedder: PoseEmbedder
    generator: nn.Module

    def prepare(self, face_N3SS: Tensor) -> tuple[Tensor, ...]:
        """Return what the generator reads of an embedded face; it is the same for every frame."""
        raise NotImplementedError

    def draw(self, code_NP: Tensor, portrait: tuple[Tensor, ...]) -> Tensor:
        """Return the picture of a prepared face with a pose code, ``[N, 3, S, S]`` in -1..1."""
        raise NotImplementedError

    def embed(self, frames_NK3SS: Tensor) -> Embedding:
        """Return the pose-free face of K frames of N people; K may differ from training's."""
        embedding: Embedding = self.face_embedder(frames_NK3SS)
        return embedding

    def picture(self, face_N3SS: Tensor, code_NP: Tensor) -> Tensor:
        """Return an embedded face with a pose code, ``[N, 3, S, S]`` in -1..1."""
        return self.draw(code_NP, self.prepare(face_N3SS))

    def reenact(self, face_N3SS: Tensor, driving_N3SS: Tensor) -> Tensor:
        """Return a face with a driver's pose and expression, ``[N, 3, S, S]`` in -1..1."""
        return self.picture(face_N3SS, self.pose_embedder.encode(driving_N3SS))

    def forward(self, frames_NK3SS: Tensor, driving_N3SS: Tensor) -> Tensor:
        """Run ``embed``, then ``reenact``."""
        return self.reenact(self.embed(frames_NK3SS).face, driving_N3SS)


class DaeGan(DaeGanNetworks):
    """Networks of the paper's form."""

    generator: Generator

    def __init__(self, config: DaeGanConfig) -> None:
        super().__init__()
        self.config = config
        self.face_embedder = FaceEmbedder(config)
        self.pose_embedder = PoseEmbedder(config)
        self.generator = Generator(config)

    def prepare(self, face_N3SS: Tensor) -> tuple[Tensor, ...]:
        """See `DaeGanNetworks.prepare`."""
        return (self.generator.prepare(face_N3SS),)

    def draw(self, code_NP: Tensor, portrait: tuple[Tensor, ...]) -> Tensor:
        """See `DaeGanNetworks.draw`."""
        return self.generator.draw(code_NP, *portrait)
