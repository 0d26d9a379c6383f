"""The perceptual distance of DPE's equation 9: features of VGG19, on a pyramid of four sizes.

No package ships its weights: give torchvision's ``vgg19`` file.
`training.losses.perceptual.MobileNetDistance` does without them, under its own name.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimicam.engine.errors import EngineError
from mimicam.training.losses.perceptual import read_weights

_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)
"""Channels of VGG19's convolutions up to relu5_1; 0 is a max-pooling (Simonyan and Zisserman, ICLR
2015, table 1)."""
_TAPS = frozenset((1, 6, 11, 20, 29))
"""Layers that are compared: relu1_1 to relu5_1 (Johnson et al., ECCV 2016), as in the first-order
motion model."""
_LEAST_PX = 16
"""Smallest side of a picture, pixels: relu5_1 has a sixteenth of it."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VggDistance(nn.Module):
    """Mean absolute difference of VGG19 features, summed over five depths and four sizes. Frozen.

    Pictures under 128 pixels a side have fewer sizes: the deepest features need 16 pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path, *, levels: int = 4) -> None:
        super().__init__()
        self.levels = levels
        self.features = nn.Sequential(*_vgg_layers())
        self.features.load_state_dict(_vgg_state(weights, self.features))
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(_STD)[:, None, None])
        self.requires_grad_(False)

    def maps(self, image_N3SS: Tensor) -> list[Tensor]:
        """Compute the five feature maps of pictures in -1..1."""
        x, taken = ((image_N3SS + 1) / 2 - self.mean) / self.std, []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in _TAPS:
                taken.append(x)
        return taken

    def forward(self, image_N3SS: Tensor, target_N3SS: Tensor) -> Tensor:
        total = image_N3SS.new_zeros(())
        for level in range(self.levels):
            if level:
                if min(image_N3SS.shape[2:]) < 2 * _LEAST_PX:
                    break
                # The pyramid of the first-order motion model: full size, a half, a quarter, an
                # eighth.
                image_N3SS, target_N3SS = F.avg_pool2d(image_N3SS, 2), F.avg_pool2d(target_N3SS, 2)
            with torch.no_grad():
                wanted = self.maps(target_N3SS)
            pairs = zip(self.maps(image_N3SS), wanted, strict=True)
            total = total + torch.stack([F.l1_loss(a, b) for a, b in pairs]).sum()
        return total


def _vgg_layers() -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for width in _WIDTHS:
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
        channels = width or channels
    return layers


def _vgg_state(weights: Path, features: nn.Sequential) -> dict[str, Tensor]:
    if not weights.is_file():
        raise EngineError(
            f"{weights} is missing: give torchvision's vgg19 weights, or use the MobileNet distance"
        )
    state = read_weights(weights)
    wanted = features.state_dict()
    wrong = [n for n, v in wanted.items() if getattr(state.get(f"features.{n}"), "shape", None) != v.shape]
    if wrong:
        raise EngineError(
            f"{weights} is not torchvision's vgg19: 'features.{wrong[0]}' is missing or misshapen"
        )
    return {name: state[f"features.{name}"] for name in wanted}
