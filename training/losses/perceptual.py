"""A perceptual distance from MobileNetV2's ImageNet features.

DPE's perceptual loss (equation 9) uses VGG19, whose weights no package ships. This is the same
method (Johnson et al., "Perceptual losses for real-time style transfer", ECCV 2016) with another
network. Weights: torchvision's ``mobilenet_v2`` state dict, given as a file.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mimicam.engine.errors import EngineError

# Expansion, channels, repeats, stride (Sandler et al., "MobileNetV2", CVPR 2018, table 2).
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
_TAPS = (1, 3, 6, 13)
"""Blocks whose outputs are compared: strides 2, 4, 8, 16."""


class MobileNetDistance(nn.Module):
    """Mean absolute difference of channel-normalised features, summed over depths. Frozen."""

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path, *, depth: int = 3) -> None:
        super().__init__()
        self._taps = _TAPS[:depth]
        self.features = _features(self._taps[-1])
        self._load(weights)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.eval()

    @staticmethod
    def last_block(depth: int = 3) -> int:
        """Return the number of the deepest block that is used."""
        return _TAPS[depth - 1]

    def _load(self, weights: Path) -> None:
        if not weights.is_file():
            raise EngineError(
                f"{weights} is missing: give torchvision's mobilenet_v2 weights, or train without them"
            )
        state = read_weights(weights)
        own = self.features.state_dict()
        wrong = [n for n, v in own.items() if getattr(state.get(f"features.{n}"), "shape", None) != v.shape]
        if wrong:
            raise EngineError(
                f"{weights} is not torchvision's mobilenet_v2: 'features.{wrong[0]}' is missing or misshapen"
            )
        self.features.load_state_dict({name: state[f"features.{name}"] for name in own})
        self.features.eval()
        _fuse(self.features)

    def train(self, mode: bool = True) -> MobileNetDistance:  # noqa: ARG002
        """Stay in evaluation mode: the distance must not depend on batch statistics."""
        return super().train(False)

    def forward(self, image_N3SS: Tensor, target_N3SS: Tensor) -> Tensor:
        """Compute the distance, a scalar, of pictures in [-1, 1]."""
        with torch.no_grad():
            wanted = self.maps(target_N3SS)
        got = self.maps(image_N3SS)
        return sum(
            # Channel-normalised vectors have entries of about 1/sqrt(C): the factor makes depths
            # comparable.
            (_unit(a) - _unit(b)).abs().mean() * a.shape[1] ** 0.5
            for a, b in zip(got, wanted, strict=True)
        )

    def maps(self, image_N3SS: Tensor) -> list[Tensor]:
        """Compute the features that are compared, from fine to coarse."""
        x = ((image_N3SS + 1) / 2 - self.mean) / self.std
        maps = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in self._taps:
                maps.append(x)
        return maps


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict that ``torch.save`` wrote, to the CPU.

    Raises:
        EngineError: the file is damaged, or holds something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise EngineError(f"{path} is no file of weights, or is damaged ({line}): get it again") from None
    if not isinstance(state, dict):
        raise EngineError(f"{path} holds a {type(state).__name__}, not weights by name: get it again")
    return state


class _InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        layers: list[nn.Module] = [_conv(inputs, hidden, 1)] if expand != 1 else []
        layers += [
            _conv(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)
        self._skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self._skip else out


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


def _features(last: int) -> nn.Sequential:
    blocks: list[nn.Module] = [_conv(3, 32, 3, 2)]
    channels = 32
    for expand, width, repeats, stride in _STAGES:
        for i in range(repeats):
            blocks.append(_InvertedResidual(channels, width, stride if i == 0 else 1, expand))
            channels = width
    return nn.Sequential(*blocks[: last + 1])


def _fuse(module: nn.Module) -> None:
    """Fold every batch norm into the convolution before it, which halves the cost of a frozen
    network."""
    for child in module.children():
        _fuse(child)
    if not isinstance(module, nn.Sequential):
        return
    for index in range(len(module) - 1):
        # In a Sequential each batch norm directly follows its convolution.
        conv, norm = module[index], module[index + 1]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module[index] = fuse_conv_bn_eval(conv, norm)
            module[index + 1] = nn.Identity()


def _unit(x_NCHW: Tensor) -> Tensor:
    return x_NCHW / (x_NCHW.norm(dim=1, keepdim=True) + 1e-3)
