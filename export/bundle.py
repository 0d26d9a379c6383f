"""All networks of a model into one folder: ONNX files, their checks, a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.export_folder import Manifest, NetworkFile
from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs, sha256_of
from mimicam.engine.models.dpe.half_parts import Form
from mimicam.engine.models.load import model_hash, model_path
from mimicam.engine.network_spec import TensorSpec
from mimicam.export import onnx_files
from mimicam.export.clip_inputs import Arrays, clip_inputs
from mimicam.export.half import to_mixed
from mimicam.export.networks import RANDOM, Network, load_networks
from mimicam.export.quantise import activations_for, quantise
from mimicam.export.sensitivity import Sensitivity, kept, measure, node_prefix

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BundleOptions:
    """Options of one export."""

    precision: str = "fp32"
    target: str = "onnx"
    """Runtime of the files, as ``mimicam export --target``. int8 has one form for TensorRT and
    another for CPUs."""
    warp: str = "gridsample"
    """``plugin``: our kernel, which TensorRT alone runs."""
    sensitivity: float | None = None
    """Under fp16: measure every layer's loss on the bundled clip, and keep those above this share
    in float32."""
    frames: int = 8
    """Frames of the clip to measure on; int8 is calibrated on four times as many."""
    opset: int = 20
    limit: float | None = None
    """Largest error against PyTorch; None takes the precision's own."""
    keep: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By network: nodes that stay in float32 under fp16, beside those that always do."""


def write_bundle(model: str, folder: Path, options: BundleOptions, report: Report) -> Manifest:
    """Export every network of a model, run each file in every runtime here, and write the manifest
    last.

    Raises:
        EngineError: the model does not load, a file cannot be written, or a runtime's outputs are
            not PyTorch's.
    """
    networks = load_networks(model)
    if options.warp == "plugin" and options.precision == "int8":
        raise EngineError(
            "the plug-in computes in fp32 or fp16: leave out --warp, or take another --precision"
        )
    if options.warp == "plugin" and not any(network.warps for network in networks):
        raise EngineError(f"{model} has no layer that the plug-in computes: leave out --warp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(
            f"cannot make {folder} ({error.strerror}): choose another folder with -o"
        ) from error
    if not model.startswith(RANDOM):
        refuse_to_overwrite_inputs(_written(folder, networks), [model_path(model)])
    # First: a folder whose export was interrupted must not look complete.
    (folder / export_folder.FILE).unlink(missing_ok=True)
    clip = _clip_inputs(networks, options, trained=not model.startswith(RANDOM))
    losses: dict[str, list[Sensitivity]] = {}
    if options.sensitivity is not None:
        report(f"measuring what each layer loses in fp16, on {options.frames} frames of a clip")
        losses = {n.name: _measured(n, clip[n.name], report) for n in networks}
        text = {name: [asdict(each) for each in found] for name, found in losses.items()}
        (folder / "sensitivity.json").write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    keep = {name: kept(found, options.sensitivity or 0.0) for name, found in losses.items()}
    limit = export_folder.LIMITS[options.precision] if options.limit is None else options.limit
    manifest = Manifest(
        model=model if model.startswith(RANDOM) else Path(model).name,
        model_sha256=_model_sha256(model, networks),
        precision=options.precision,
        opset=options.opset,
        limit=limit,
        networks=tuple(
            _write_network(
                n, folder, options, limit, report, keep.get(n.name, frozenset()), clip.get(n.name, [])
            )
            for n in networks
        ),
        warp=options.warp,
        activations=activations_for(options.target) if options.precision == "int8" else "",
    )
    export_folder.write_manifest(folder, manifest)
    return manifest


def _written(folder: Path, networks: list[Network]) -> list[Path]:
    names = [f"{n.name}{suffix}" for n in networks for suffix in (".onnx", ".check.npz", ".plan")]
    return [folder / name for name in (*names, "sensitivity.json", export_folder.FILE)]


def _clip_inputs(
    networks: list[Network], options: BundleOptions, *, trained: bool
) -> dict[str, list[Arrays]]:
    """Inputs from a clip for calibration, sensitivity, and the comparison of rounded networks that
    were trained; otherwise none."""
    if options.precision == "int8":
        return clip_inputs(networks, 4 * options.frames)
    if options.sensitivity is not None:
        return clip_inputs(networks, options.frames)
    return clip_inputs(networks, 1) if trained and options.precision != "fp32" else {}


def _measured(network: Network, inputs: list[Arrays], report: Report) -> list[Sensitivity]:
    found = measure(network, inputs, torch.float16)
    worst = ", ".join(f"{each.layer} {each.worst:.1e}" for each in found[:3])
    report(f"{network.name}: {len(found)} layers measured in fp16, the worst: {worst}")
    return found


def _write_network(
    network: Network,
    folder: Path,
    options: BundleOptions,
    limit: float,
    report: Report,
    layers: frozenset[str],
    clip: list[Arrays],
) -> NetworkFile:
    if clip:
        # Noise is no fair input for a rounded network that was trained on faces: its masks are
        # undecided there.
        network = network.with_inputs(clip[len(clip) // 2])
    path = folder / f"{network.name}.onnx"
    plugged = options.warp == "plugin" and network.warps
    if plugged:
        dtype = torch.float32 if options.precision == "fp32" else torch.float16
        form = Form(dtype=dtype, portable=True, keep=layers)
        onnx_files.write(network.in_form(form), path, opset=options.opset)
    else:
        onnx_files.write(network, path, opset=options.opset)
    if options.precision == "int8" and network.name != "encoder":
        # Not the encoder: it runs once a portrait, and its rounding would stay in every frame.
        quantise(path, clip, activations_for(options.target))
    if options.precision.startswith("fp16") and not plugged:
        products = "half" if options.precision == "fp16-turing" else "mixed"
        model = onnx.load(str(path))
        keep = _nodes(model, layers) | set(options.keep.get(network.name, ()))
        onnx.save(to_mixed(model, keep=keep, products=products), str(path))
    types = onnx_files.port_types(onnx.load(str(path), load_external_data=False))
    # Rounded before the reference runs: then rounding the inputs is no error of the file's.
    inputs = {name: value.numpy().astype(types[name]) for name, value in network.inputs.items()}
    reference = network.with_inputs(inputs).reference_arrays()
    entry = NetworkFile(
        name=network.name,
        onnx=path.name,
        sha256=sha256_of(path),
        check=f"{network.name}.check.npz",
        inputs=_tensor_specs(inputs, types),
        outputs=_tensor_specs(reference, types),
    )
    export_folder.write_check(folder / entry.check, inputs, reference)
    if plugged:
        report(f"{entry.onnx}: only TensorRT runs the plug-in; compared with PyTorch when its plan is built")
    else:
        _compare(entry, folder, options, limit, report)
    return entry


def _nodes(model: onnx.ModelProto, layers: frozenset[str]) -> set[str]:
    prefixes = tuple(map(node_prefix, layers))
    return {node.name for node in model.graph.node if node.name.startswith(prefixes)} if prefixes else set()


def _compare(entry: NetworkFile, folder: Path, options: BundleOptions, limit: float, report: Report) -> None:
    inputs, reference = export_folder.read_check(folder, entry)
    runners = onnx_files.installed_runners()
    if options.precision == "int8" and activations_for(options.target) == "signed":
        # Not meant for OpenVINO, which is wrong about this form on most CPUs: see
        # `export.quantise`.
        runners.pop("openvino", None)
    for name, run in runners.items():
        got = run(export_folder.onnx_path(folder, entry), inputs)
        apart = export_folder.compare(reference, got, options.precision)
        worst = export_folder.require(apart, limit, f"{entry.onnx} in {name}")
        report(f"{entry.onnx}: {name} agrees with PyTorch within {worst:.1e}")


def _tensor_specs(values: Mapping[str, npt.NDArray[Any]], types: Mapping[str, str]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, shape=value.shape, dtype=types[name]) for name, value in values.items()
    )


def _model_sha256(model: str, networks: list[Network]) -> str:
    """Hash the weights.

    A bundle states its own hash, so that its portraits serve every backend. Any other model is
    hashed as a file, random weights by value.
    """
    if not model.startswith(RANDOM):
        return model_hash(model)
    digest = hashlib.sha256()
    for network in networks:
        for value in network.module.state_dict().values():
            digest.update(np.ascontiguousarray(value.numpy()).tobytes())
    return digest.hexdigest()
