"""Specs and ONNX files of the folded DPE's four networks."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from mimicam.engine.backends.export_cache import OPSET, write_network
from mimicam.engine.models.dpe.config import DpeConfig
from mimicam.engine.models.dpe.folded import FoldedDpe
from mimicam.engine.models.dpe.model import NETWORKS
from mimicam.engine.network_spec import NetworkSpec, Shapes, named

_log = logging.getLogger(__name__)


def dpe_specs(config: DpeConfig) -> dict[str, NetworkSpec]:
    """Return the specs of the four networks by name; feature maps go from coarse to fine."""
    picture: Shapes = {"image": (1, 3, config.size, config.size)}
    latent: Shapes = {"latent": (1, config.latent)}
    codes: Shapes = dict.fromkeys(("expression_code", "pose_code"), (1, config.latent))
    maps: Shapes = {f"feature_{r}": (1, config.channels_at(r), r, r) for r in config.resolutions}
    tensors: dict[str, tuple[Shapes, Shapes]] = {
        "encoder": (picture, latent | codes | maps),
        "motion_encoder": (picture, codes),
        "expression_generator": (latent | maps, picture),
        "pose_generator": (latent | maps, picture),
    }
    return {
        name: NetworkSpec(name=name, inputs=named(inputs), outputs=named(outputs))
        for name, (inputs, outputs) in tensors.items()
    }


def example_inputs(spec: NetworkSpec, batch: int = 1) -> dict[str, Tensor]:
    """Return zeros of a network's shapes, by input name."""
    return {tensor.name: torch.zeros(batch, *tensor.shape[1:]) for tensor in spec.inputs}


def write_onnx(model: FoldedDpe, folder: Path, *, opset: int = OPSET) -> dict[str, Path]:
    """Write ``<network>.onnx`` of all networks into an existing folder; return paths by network."""
    paths = {}
    for network in NETWORKS:
        paths[network] = folder / f"{network}.onnx"
        _write_dpe(model, network, paths[network], opset)
        _log.info("wrote %s", paths[network].name)
    return paths


def _write_dpe(model: FoldedDpe, network: str, path: Path, opset: int) -> None:
    spec = dpe_specs(model.config)[network]
    # A batch of two, so that the tracer does not fold the dynamic axis.
    inputs = example_inputs(spec, batch=2)
    write_network(model.get_submodule(network), path, inputs, spec.output_names, dynamic=True, opset=opset)
