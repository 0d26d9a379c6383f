"""Turn trained DAE-GAN weights into the folder the product ships: ONNX files, safetensors, facts.

Everything is stored in half precision. OpenVINO computes in single precision with it, so that
sampling grids stay exact.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.export_cache import OPSET
from mimicam.engine.errors import EngineError
from mimicam.engine.models.bundle_file import FILE, WEIGHTS
from mimicam.engine.models.daegan.bundle import ONNX_FILES
from mimicam.engine.models.daegan.config import AnyConfig
from mimicam.engine.models.daegan.network import DaeGanNetworks
from mimicam.engine.models.daegan.presets import PRESETS, build
from mimicam.engine.models.daegan.weights import load_daegan, save_half
from mimicam.export import onnx_files
from mimicam.export.bundle_files import UNREADABLE, read_checkpoint, write_header
from mimicam.export.half import store_half
from mimicam.export.networks import Network, daegan_networks


def bundle_files(out: Path) -> list[Path]:
    """Return the files that `write_bundle` writes."""
    return [out / name for name in (*ONNX_FILES, WEIGHTS, FILE)]


def load_weights(path: Path) -> DaeGanNetworks:
    """Load a training checkpoint (its average, if it has one) or safetensors.

    Raises:
        EngineError: the file is neither, or of another preset.
    """
    if path.suffix == ".safetensors":
        return load_daegan(path)
    try:
        modules = read_checkpoint(path)["modules"]
        state = modules["average"] if "average" in modules else modules["model"]
        model = build(_config_of(state))
        model.load_state_dict(state)
    except UNREADABLE as error:
        raise EngineError(f"{path} is no checkpoint of a DAE-GAN: give another file") from error
    return model.eval()


def _config_of(state: dict[str, Tensor]) -> AnyConfig:
    """Find the preset whose networks have these weights.

    Raises:
        ValueError: none has.
    """
    shapes = {name: value.shape for name, value in state.items()}
    with torch.device("meta"):
        for preset in PRESETS.values():
            if shapes == {name: value.shape for name, value in build(preset).state_dict().items()}:
                return preset
    raise ValueError("its networks are of no preset")


def write_bundle(weights: Path, out: Path, facts: dict[str, Any]) -> None:
    """Write the networks, ``weights.safetensors`` and ``model.json`` to a folder.

    ``facts`` are added to the json: training data, steps, figures.

    Raises:
        EngineError: the weights do not load, a file cannot be written, or OpenVINO's outputs are
            not PyTorch's.
    """
    model = load_weights(weights)
    out.mkdir(parents=True, exist_ok=True)
    # First: a folder whose bundling was interrupted must not look complete.
    (out / FILE).unlink(missing_ok=True)
    save_half(model, out / WEIGHTS)
    # Read again, so that all backends have the same rounded weights.
    model = load_daegan(out / WEIGHTS)
    for network in daegan_networks(model):
        _write_network(network, out / f"{network.name}.onnx")
    config = model.config
    known = {"family": "daegan", "name": "daegan", "size": config.size, "config": asdict(config)}
    write_header(out, known | facts)


def _write_network(network: Network, path: Path) -> None:
    onnx_files.write(network, path, opset=OPSET)
    store_half(path)
    inputs = {name: value.numpy() for name, value in network.inputs.items()}
    got = onnx_files.run_openvino(path, inputs)
    worst = max(
        float(abs(got[name] - want).max() / abs(want).max())
        for name, want in network.reference_arrays().items()
    )
    limit = export_folder.LIMITS["fp32"]
    if not worst <= limit:
        raise EngineError(f"{path.name} in OpenVINO differs from PyTorch by {worst:.2g} (limit {limit:g})")
