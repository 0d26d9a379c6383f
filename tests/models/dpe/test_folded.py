"""Folded networks equal the trained ones, in PyTorch and in OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from mimicam.engine.models.dpe.folded import FoldedDpe
from mimicam.engine.models.dpe.model import NETWORKS
from mimicam.engine.models.dpe.network import Dpe
from mimicam.engine.models.dpe.spec import dpe_specs, example_inputs, write_onnx
from mimicam.engine.silent_imports import ov
from tests.models.golden.pseudo_weights import picture

LIMIT = 1e-3
"""Tolerance relative to the largest magnitude. Largest measured: published 2.4e-5, debug in
OpenVINO f32 6e-5 (AVX-512, 2026-11)."""
Arrays = tuple[np.ndarray, ...]


@pytest.fixture(scope="module")
def folded(debug: Dpe) -> FoldedDpe:
    return FoldedDpe(debug)


@pytest.fixture(scope="module", params=[17, 20], ids=lambda opset: f"opset{opset}")
def files(
    request: pytest.FixtureRequest, folded: FoldedDpe, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    return write_onnx(folded, tmp_path_factory.mktemp("onnx"), opset=request.param)


def worst(got: tuple, want: tuple) -> float:
    pairs = [(np.asarray(g), np.asarray(w)) for g, w in zip(got, want, strict=True)]
    assert all(g.shape == w.shape for g, w in pairs)
    return max(float(np.abs(g - w).max() / np.abs(w).max()) for g, w in pairs)


def inputs_and_outputs(model: Dpe, network: str, image: Tensor) -> tuple[tuple, tuple]:
    """Return a network's inputs, and the trained networks' outputs for them."""
    with torch.inference_mode():
        encoded = model.encode(image)
        codes = model.codes(encoded.latent)
        if network == "motion_encoder":
            return (image,), tuple(codes)
        if network == "encoder":
            return (image,), (encoded.latent, *codes, *encoded.features)
        code, generate = (
            (codes.expression, model.generate_expression)
            if network == "expression_generator"
            else (codes.pose, model.generate_pose)
        )
        latent = encoded.latent + code.flip(0)
        return (latent, *encoded.features), (generate(latent, encoded.features),)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("batch", [1, 3])
def test_folded_networks_agree(
    network: str, batch: int, debug: Dpe, folded: FoldedDpe, debug_pictures: Tensor
) -> None:
    given, want = inputs_and_outputs(debug, network, debug_pictures[:batch])
    got = folded.get_submodule(network)(*given)
    assert worst(got if isinstance(got, tuple) else (got,), want) <= LIMIT


def test_folded_published_networks_agree(published: Dpe) -> None:
    image = torch.from_numpy(picture("source"))
    folded = FoldedDpe(published)
    for network in ("encoder", "expression_generator"):
        given, want = inputs_and_outputs(published, network, image)
        got = folded.get_submodule(network)(*given)
        assert worst(got if isinstance(got, tuple) else (got,), want) <= LIMIT, network


def test_folding_leaves_nothing_to_train(folded: FoldedDpe) -> None:
    assert not any(p.requires_grad for p in folded.parameters())
    assert not any(b.requires_grad for b in folded.buffers())


@pytest.mark.parametrize("network", NETWORKS)
def test_exported_weights_are_constants(network: str, files: dict[str, Path]) -> None:
    graph = onnx.load(files[network]).graph
    constants = {i.name for i in graph.initializer}
    constants |= {n.output[0] for n in graph.node if n.op_type == "Constant"}
    aliases = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity"}
    convolutions = [n for n in graph.node if n.op_type in ("Conv", "ConvTranspose", "Gemm")]
    dynamic = [n.name for n in convolutions if aliases.get(n.input[1], n.input[1]) not in constants]
    assert convolutions
    assert dynamic == []


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("batch", [1, 3])
def test_openvino_agrees(
    network: str, batch: int, files: dict[str, Path], debug: Dpe, debug_pictures: Tensor
) -> None:
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = ov.Core().compile_model(str(files[network]), "CPU", options)
    given, want = inputs_and_outputs(debug, network, debug_pictures[:batch])
    spec = dpe_specs(debug.config)[network]
    result = compiled(dict(zip(spec.input_names, (g.numpy() for g in given), strict=True)))
    got = tuple(result[name] for name in spec.output_names)
    assert worst(got, want) <= LIMIT


@pytest.mark.parametrize("network", NETWORKS)
def test_networks_have_the_shapes_of_their_specs(network: str, folded: FoldedDpe) -> None:
    spec = dpe_specs(folded.config)[network]
    got = folded.get_submodule(network)(*example_inputs(spec, batch=2).values())
    named = spec.named_outputs(got if isinstance(got, tuple) else (got,))
    assert {n: tuple(v.shape) for n, v in named.items()} == {t.name: (2, *t.shape[1:]) for t in spec.outputs}
