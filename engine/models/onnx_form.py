"""Networks as ONNX files, and those of the folded DPE: what OpenVINO and TensorRT read.

Opset 20 brings GridSample's present form; 17 is the least that TensorRT 8.6 reads. Every weight is an
initializer. The batch is the only dynamic axis.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.files import write_atomically
from engine.models.folded import FoldedDpe
from engine.models.presets import DpeConfig

_log = logging.getLogger(__name__)

OPSET = 17


def input_names(config: DpeConfig, network: str) -> tuple[str, ...]:
    """Names of a network's inputs, in order; a generator's feature maps go from coarse to fine."""
    if network.endswith("encoder"):
        return ("image",)
    return ("latent", *_features(config))


def output_names(config: DpeConfig, network: str) -> tuple[str, ...]:
    """Names of a network's outputs, in order."""
    if network == "encoder":
        return ("latent", "expression_code", "pose_code", *_features(config))
    return ("expression_code", "pose_code") if network == "motion_encoder" else ("image",)


def example_inputs(config: DpeConfig, network: str, batch: int = 1) -> tuple[Tensor, ...]:
    """Zeros of the right shapes."""
    if network.endswith("encoder"):
        return (torch.zeros(batch, 3, config.size, config.size),)
    maps = (torch.zeros(batch, config.channels_at(r), r, r) for r in config.resolutions)
    return (torch.zeros(batch, config.latent), *maps)


NETWORKS = ("encoder", "motion_encoder", "expression_generator", "pose_generator")


def write_onnx(model: FoldedDpe, folder: Path, *, opset: int = OPSET) -> dict[str, Path]:
    """Write ``<network>.onnx`` for all four networks into an existing folder; the paths by network."""
    paths = {}
    for network in NETWORKS:
        paths[network] = folder / f"{network}.onnx"
        _write_dpe(model, network, paths[network], opset)
        _log.info("wrote %s", paths[network].name)
    return paths


def write_network(
    module: nn.Module,
    path: Path,
    inputs: dict[str, Tensor],
    outputs: tuple[str, ...],
    *,
    dynamic: bool,
    opset: int = OPSET,
) -> None:
    """Trace one network on ``inputs``, under a temporary name first; ``dynamic``: its first axis may be any number."""
    with write_atomically(path) as part:
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(part),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "N"} for name in (*inputs, *outputs)} if dynamic else None,
            opset_version=opset,
            dynamo=False,
        )


def _write_dpe(model: FoldedDpe, network: str, path: Path, opset: int) -> None:
    names = input_names(model.config, network)
    inputs = dict(zip(names, example_inputs(model.config, network, batch=2), strict=True))
    outputs = output_names(model.config, network)
    write_network(model.get_submodule(network), path, inputs, outputs, dynamic=True, opset=opset)


def _features(config: DpeConfig) -> tuple[str, ...]:
    return tuple(f"feature_{r}" for r in config.resolutions)
