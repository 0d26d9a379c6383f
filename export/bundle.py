"""All networks of a model into one folder: ONNX files, their checks, a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from engine.backends import manifest as manifests
from engine.backends.manifest import Manifest, NetworkFile, Port
from engine.errors import EngineError
from engine.models.mixed import Form
from export import onnx_files
from export.half import to_mixed
from export.networks import RANDOM, Network, load_networks, model_path

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BundleOptions:
    """How to export."""

    precision: str = "fp32"
    warp: str = "gridsample"
    """``plugin``: our kernel, which TensorRT alone runs."""
    opset: int = 20
    limit: float | None = None
    """Largest error against PyTorch; None takes the precision's own."""
    keep: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By network: nodes that stay in float32 under fp16, beside those that always do."""


def write_bundle(model: str, folder: Path, options: BundleOptions, report: Report) -> Manifest:
    """Export every network of a model, run each file in every runtime here, and write the manifest last.

    Raises:
        EngineError: the model does not load, a file cannot be written, or a runtime's outputs are not PyTorch's.
    """
    networks = load_networks(model)
    if options.warp == "plugin" and not any(network.warps for network in networks):
        raise EngineError(f"{model} has no layer that the plug-in computes: leave out --warp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(
            f"cannot make {folder} ({error.strerror}): choose another folder with -o"
        ) from error
    (folder / manifests.FILE).unlink(missing_ok=True)
    limit = manifests.LIMITS[options.precision] if options.limit is None else options.limit
    manifest = Manifest(
        model=model if model.startswith(RANDOM) else Path(model).name,
        model_sha256=_model_sha256(model, networks),
        precision=options.precision,
        opset=options.opset,
        limit=limit,
        networks=tuple(_write_network(network, folder, options, limit, report) for network in networks),
        warp=options.warp,
    )
    manifests.write_manifest(folder, manifest)
    return manifest


def _write_network(
    network: Network, folder: Path, options: BundleOptions, limit: float, report: Report
) -> NetworkFile:
    path = folder / f"{network.name}.onnx"
    plugged = options.warp == "plugin" and network.warps
    keep = frozenset(options.keep.get(network.name, ()))
    if plugged:
        dtype = torch.float32 if options.precision == "fp32" else torch.float16
        form = Form(dtype=dtype, portable=True, keep=keep)
        onnx_files.write(network.in_form(form), path, opset=options.opset)
    else:
        onnx_files.write(network, path, opset=options.opset)
    if options.precision != "fp32" and not plugged:
        products = "half" if options.precision == "fp16-turing" else "mixed"
        onnx.save(to_mixed(onnx.load(str(path)), keep=keep, products=products), str(path))
    types = onnx_files.port_types(onnx.load(str(path), load_external_data=False))
    # Rounded before the reference runs: then rounding the inputs is no error of the file's.
    inputs = {name: value.numpy().astype(types[name]) for name, value in network.inputs.items()}
    reference = network.with_inputs(inputs).reference_arrays()
    entry = NetworkFile(
        name=network.name,
        onnx=path.name,
        sha256=manifests.sha256_of(path),
        check=f"{network.name}.check.npz",
        inputs=_ports(inputs, types),
        outputs=_ports(reference, types),
    )
    manifests.write_check(folder / entry.check, inputs, reference)
    if plugged:
        report(f"{entry.onnx}: only TensorRT runs the plug-in; compared with PyTorch when its plan is built")
    else:
        _compare(entry, folder, limit, report)
    return entry


def _compare(entry: NetworkFile, folder: Path, limit: float, report: Report) -> None:
    inputs, reference = manifests.read_check(folder, entry)
    for name, run in onnx_files.installed_runners().items():
        got = run(manifests.onnx_path(folder, entry), inputs)
        worst = manifests.require(manifests.compare(reference, got), limit, f"{entry.onnx} in {name}")
        report(f"{entry.onnx}: {name} agrees with PyTorch within {worst:.1e}")


def _ports(values: Mapping[str, npt.NDArray[Any]], types: Mapping[str, str]) -> tuple[Port, ...]:
    return tuple(Port(name=name, shape=value.shape, dtype=types[name]) for name, value in values.items())


def _model_sha256(model: str, networks: list[Network]) -> str:
    """Of the file; what a bundle states, so that its portraits serve every backend; else of the weights."""
    if not model.startswith(RANDOM):
        path = model_path(model)
        if path.is_dir():
            return str(json.loads((path / "model.json").read_text(encoding="utf-8"))["sha256"])
        return manifests.sha256_of(path)
    digest = hashlib.sha256()
    for network in networks:
        for value in network.module.state_dict().values():
            digest.update(np.ascontiguousarray(value.numpy()).tobytes())
    return digest.hexdigest()
