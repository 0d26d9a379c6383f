"""Discriminators of mouth and eyes, cut out of the pictures: component discriminators as in GFP-GAN
(Wang et al., CVPR 2021). Not in the paper.

Mouth and eyes are a few percent of a picture, so losses of the whole leave them soft.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mimicam.training.daegan.options import DaeGanOptions
from mimicam.training.losses import adversarial
from mimicam.training.losses.discriminator import Judgement, PatchDiscriminator
from mimicam.training.losses.square import cut_square

PARTS = ("mouth", "eyes")
_LIPS, _EYES = (0, 13, 14, 17, 61, 291), ((33, 133, 159, 145), (263, 362, 386, 374))
_WIDE, _HIGH = (33, 263), (10, 152)
"""Outer corners of the eyes; forehead and chin."""
_OF_HIGH = 0.6
"""Distance of the eyes' corners, relative to the face's height: a turned face keeps the one, a bent
one the other."""
_MOUTH_HALF, _EYE_HALF = 0.45, 0.3
"""Half a side in distances of the eyes' corners (about 90 mm)."""
_SIDE = 64


def cut_parts(image_N3SS: Tensor, landmarks_NL2: Tensor) -> dict[str, Tensor]:
    """Cut out the mouths, ``[N, 3, 64, 64]``, and the eyes, ``[2 N, 3, 64, 64]``: the right ones,
    then the left ones mirrored.

    Args:
        landmarks_NL2: of the true pictures, crop space.
    """
    wide, high = ((landmarks_NL2[:, a] - landmarks_NL2[:, b]).norm(dim=-1) for a, b in (_WIDE, _HIGH))
    scale_N = torch.maximum(wide, _OF_HIGH * high)

    def around(points: tuple[int, ...], half: float) -> Tensor:
        centre = landmarks_NL2[:, list(points)].mean(1)
        return cut_square(image_N3SS, centre, half * scale_N, _SIDE)

    right, left = (around(eye, _EYE_HALF) for eye in _EYES)
    return {"mouth": around(_LIPS, _MOUTH_HALF), "eyes": torch.cat([right, left.flip(-1)])}


class PartDiscriminators(nn.ModuleDict):
    """One `PatchDiscriminator` for the mouth, one for both eyes."""

    def __init__(self, width: int, most: int) -> None:
        super().__init__({part: PatchDiscriminator(width, most) for part in PARTS})

    def forward(self, parts: dict[str, Tensor]) -> list[Judgement]:
        """Judge what `cut_parts` returned."""
        return [self[part](parts[part]) for part in PARTS]


class PartLosses:
    """Losses of mouth and eyes, for the generator and for their discriminators."""

    def __init__(
        self,
        discriminators: PartDiscriminators,
        options: DaeGanOptions,
        distance: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """Args:
        options: their weights are those of the losses of whole pictures.
        distance: perceptual distance of pictures, used if it has a weight.
        """
        self._discriminators, self._options, self._distance = discriminators, options, distance

    def of_generator(self, image: Tensor, target: Tensor, landmarks_NL2: Tensor, step: int) -> Tensor:
        """Compute adversarial loss, feature matching and perceptual distance, a scalar."""
        o = self._options
        got, wanted = cut_parts(image, landmarks_NL2), cut_parts(target, landmarks_NL2)
        fake, real = self._judged(got), self._judged(wanted)
        loss = o.adversarial_at(step) * adversarial.generator_loss(fake)
        loss = loss + o.feature_matching * adversarial.feature_matching_loss(real, fake)
        if o.perceptual:
            distances = [self._distance(got[part], wanted[part]) for part in PARTS]
            loss = loss + o.perceptual * torch.stack(distances).mean()
        return loss

    def of_discriminators(self, image: Tensor, target: Tensor, landmarks_NL2: Tensor) -> Tensor:
        """Compute the discriminators' hinge loss, a scalar."""
        real, fake = (self._judged(cut_parts(each, landmarks_NL2)) for each in (target, image))
        return adversarial.discriminator_loss(real, fake)

    def _judged(self, parts: dict[str, Tensor]) -> list[Judgement]:
        with torch.autocast(parts["mouth"].device.type, torch.bfloat16):
            judgements: list[Judgement] = self._discriminators(parts)
        return judgements
