"""DAE-GAN as the four networks that run live, split by portrait and frame.

A portrait runs the face embedder and the generator's front end, once. A driver's frame runs the
pose encoder and the rest of the generator. Shape letters: N pictures, C channels, S side, P pose
code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mimicam.engine.models.daegan.compact_embedders import CompactPoseEmbedder
from mimicam.engine.models.daegan.config import AnyConfig
from mimicam.engine.models.daegan.layers import resized
from mimicam.engine.models.daegan.network import DaeGanNetworks
from mimicam.engine.models.daegan.spec import daegan_specs


class _FaceEmbedder(nn.Module):
    """Maps a frame ``[N, 3, S, S]`` to warped picture and weight (equation 1, before the sum)."""

    def __init__(self, model: DaeGanNetworks) -> None:
        super().__init__()
        self.embedder = model.face_embedder

    def forward(self, image_N3SS: Tensor) -> tuple[Tensor, Tensor]:
        part = self.embedder.frame(image_N3SS)
        return part.warped, part.weight


class _PoseEncoder(nn.Module):
    """Maps a driver's picture to its code; the compact preset also returns its retrieval embedding."""

    def __init__(self, model: DaeGanNetworks) -> None:
        super().__init__()
        self.embedder = model.pose_embedder

    def forward(self, image_N3SS: Tensor) -> tuple[Tensor, ...]:
        code = self.embedder.encode(image_N3SS)
        if isinstance(self.embedder, CompactPoseEmbedder):
            return code, self.embedder.retrieval_embedding(code)
        return (code,)


class _Front(nn.Module):
    def __init__(self, model: DaeGanNetworks) -> None:
        super().__init__()
        self.model = model

    def forward(self, face_N3SS: Tensor) -> tuple[Tensor, ...]:
        return self.model.prepare(face_N3SS)


class _Rest(nn.Module):
    def __init__(self, model: DaeGanNetworks) -> None:
        super().__init__()
        self.model = model

    def forward(self, code_NP: Tensor, *portrait: Tensor) -> Tensor:
        return self.model.draw(code_NP, portrait)


class DaeGanParts(nn.Module):
    """Holds the four networks by name; they share the weights of ``model``."""

    def __init__(self, model: DaeGanNetworks) -> None:
        super().__init__()
        self.config: AnyConfig = model.config
        self.specs = daegan_specs(model.config)
        # Wrappers of the same modules: no weight is copied.
        self.face_embedder, self.front = _FaceEmbedder(model), _Front(model)
        self.pose_encoder, self.generator = _PoseEncoder(model), _Rest(model)
        self.eval()

    @torch.no_grad()
    def examples(self, source_13SS: Tensor, driver_13SS: Tensor) -> dict[str, dict[str, Tensor]]:
        """Return each network's inputs by name, from one portrait frame and one driver frame."""
        # The inputs are the outputs of the networks before, as in a session.
        source_13TT = resized(source_13SS, self.config.face_size)
        face, _ = self.face_embedder(source_13TT)
        code, *_ = self.pose_encoder(driver_13SS)
        portrait = self.front(face)
        names = self.specs["front"].output_names
        return {
            "face_embedder": {"image": source_13TT},
            "front": {"face": face},
            "pose_encoder": {"image": driver_13SS},
            "generator": {"code": code, **dict(zip(names, portrait, strict=True))},
        }

    @torch.no_grad()
    def reference(self, network: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Run a network and return its outputs by name."""
        result = self.get_submodule(network)(*inputs.values())
        results = (result,) if isinstance(result, Tensor) else result
        return self.specs[network].named_outputs(results)
