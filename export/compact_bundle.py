"""Turn trained compact weights into the folder the product ships: OpenVINO IR, safetensors, and the
facts.

The IR holds fp16 weights. Whatever a sampling grid or the final picture is computed from, back to
the last convolution, is marked to stay in fp32: in bf16 a grid is off by up to two pixels, a
picture by two grey levels.
"""

from __future__ import annotations

import pickle
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically
from mimicam.engine.models.compact.flat import CompactEncoder, PixelGenerator
from mimicam.engine.models.compact.network import Compact
from mimicam.engine.models.compact.spec import CompactConfig, encoder_spec, pixel_generator_spec
from mimicam.engine.silent_imports import ov
from mimicam.export.bundle_files import write_header

_STOP = {"Convolution", "GroupConvolution", "Const", "Parameter"}


def load_weights(path: Path) -> Compact:
    """A compact model from a training checkpoint (its average) or from safetensors.

    Raises:
        EngineError: the file is neither, or of other widths.
    """
    if not path.is_file():
        raise EngineError(f"{path} does not exist: give the checkpoint of a run, or a safetensors file")
    model = Compact(CompactConfig())
    try:
        model.load_state_dict(_state(path))
    except (RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise EngineError(f"{path} does not hold weights of the compact preset: give another file") from error
    return model.eval()


def _state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return {k: v.float() for k, v in load_file(path).items()}
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(checkpoint, dict) or checkpoint.get("recipe") != "compact":
        raise EngineError(f"{path} is not a checkpoint of the compact recipe: give another file")
    return checkpoint["modules"]["average"]


def example_inputs(model: Compact) -> dict[str, Tensor]:
    """Shapes of the generator's inputs, with harmless values."""
    spec = pixel_generator_spec(model.config)
    with torch.no_grad():
        features = CompactEncoder(model)(torch.zeros(1, 3, model.config.size, model.config.size))
    known = {tensor.name: torch.zeros(tensor.shape) for tensor in spec.inputs}
    known |= encoder_spec(model.config).named_outputs(features)
    points = torch.rand(known["source_points"].shape, generator=torch.Generator().manual_seed(0)) - 0.5
    known |= {"source_points": points, "target_points": points, "affine": torch.eye(2, 3)[None]}
    return known | {"head": torch.tensor([[0.0, 0.0, 0.4]])}


def bundle_files(out: Path) -> list[Path]:
    """The files that `write_bundle` writes."""
    networks = [f"{name}{suffix}" for name in ("encoder", "generator") for suffix in (".xml", ".bin")]
    return [out / name for name in (*networks, "weights.safetensors", "model.json")]


def write_bundle(weights: Path, out: Path, facts: dict[str, Any]) -> None:
    """Write ``encoder``, ``generator``, ``weights.safetensors`` and ``model.json`` to a folder.

    ``facts`` are added to the json: training data, steps, figures.
    """
    out.mkdir(parents=True, exist_ok=True)
    model = load_weights(weights)
    # Half precision halves the download; the loss is below that of bf16 at run time.
    state = {k: v.to(torch.float16).contiguous() for k, v in model.state_dict().items()}
    with write_atomically(out / "weights.safetensors") as part:
        save_file(state, part)
    model.load_state_dict({k: v.float() for k, v in state.items()})
    inputs = example_inputs(model)
    picture = {"image": torch.zeros(1, 3, model.config.size, model.config.size)}
    _save_ir(CompactEncoder(model), picture, out / "encoder.xml")
    _save_ir(PixelGenerator(model), inputs, out / "generator.xml")
    write_header(
        out, {"name": "compact", "size": model.config.size, "config": model.config.to_json()} | facts
    )


def _save_ir(module: nn.Module, inputs: dict[str, Tensor], path: Path) -> None:
    example = tuple(inputs.values())
    graph = ov.convert_model(module.eval(), example_input=example)
    for port, (name, tensor) in zip(graph.inputs, inputs.items(), strict=True):
        port.get_node().set_partial_shape(ov.PartialShape(list(tensor.shape)))
        port.get_node().set_friendly_name(name)
        port.get_tensor().set_names({name})
    graph.validate_nodes_and_infer_types()
    ov.save_model(graph, path, compress_to_fp16=True)
    keep_precise(path)


def keep_precise(path: Path) -> int:
    """Mark in an IR file what must stay in fp32; returns how many layers were marked."""
    tree = ET.parse(path)
    layers = {int(layer.attrib["id"]): layer for layer in tree.getroot().iter("layer")}
    feeds: dict[int, list[tuple[int, int]]] = {}
    for edge in tree.getroot().iter("edge"):
        to = int(edge.attrib["to-layer"])
        feeds.setdefault(to, []).append((int(edge.attrib["to-port"]), int(edge.attrib["from-layer"])))
    # From the outputs and from every sampling grid, back to the last convolution.
    starts = [i for i, layer in layers.items() if layer.attrib["type"] == "Result"]
    marked = set(starts)
    for number, layer in layers.items():
        if layer.attrib["type"] == "GridSample":
            marked.add(number)
            starts += [source for port, source in feeds[number] if port == 1]
    _walk_up(starts, layers, feeds, marked)
    for number in marked:
        _mark(layers[number])
    tree.write(path)
    return len(marked)


def _walk_up(
    starts: Iterable[int],
    layers: dict[int, ET.Element],
    feeds: dict[int, list[tuple[int, int]]],
    seen: set[int],
) -> None:
    waiting = list(starts)
    visited: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number in visited or layers[number].attrib["type"] in _STOP:
            continue
        visited.add(number)
        seen.add(number)
        # A map that is sampled may be rounded; where it is sampled may not.
        sampled = layers[number].attrib["type"] == "GridSample"
        waiting += [source for port, source in feeds.get(number, []) if not sampled or port == 1]


def _mark(layer: ET.Element) -> None:
    info = layer.find("rt_info")
    if info is None:
        info = ET.Element("rt_info")
        places = [i for i, child in enumerate(layer) if child.tag in ("input", "output")]
        layer.insert(places[0] if places else len(layer), info)
    ET.SubElement(info, "attribute", {"name": "precise", "version": "0"})
