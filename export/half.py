"""Mixed precision in the file itself: convolutions in float16, what places pixels in float32.

TensorRT 11 and TensorRT for RTX 1.7 are strongly typed: a network computes in the types its ONNX
file states. Two things stay in float32. Everything that makes a sampling grid, back to the
convolution that reads the flow: half a pixel of error moves an eye; the sampling itself follows,
since TensorRT wants a map and its grid in one type. And vectors (modulation, demodulation): they
cost nothing, and their epsilon of 1e-8 is zero in float16.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from mimicam.engine.files import write_atomically

_HALF_OPS = frozenset(
    "Conv ConvTranspose LeakyRelu Relu Mul Add Sub Concat Resize AveragePool DepthToSpace Tanh Sigmoid"
    " Slice Split Transpose Reshape".split()
)
_PRODUCTS = frozenset("Conv ConvTranspose Gemm MatMul".split())
_SMALL = 32
"""Constants with fewer values are not worth a cast."""
_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def to_mixed(model: onnx.ModelProto, *, keep: Iterable[str] = (), products: str = "mixed") -> onnx.ModelProto:
    """A copy whose feature maps and pictures are float16, in, out and between.

    Args:
        model: float32 throughout.
        products: ``"half"`` puts every matrix product and convolution into float16, also those of
            vectors and flows: TensorRT for RTX has no float32 products on Turing (RTX 20, compute
            capability 7.5).
        keep: names of further nodes that stay in float32, from a sensitivity measurement.
    """
    # A node's rank decides its type, and only shape inference knows that of inner tensors.
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    ranks = _ranks(graph)
    single = grid_makers(graph) | set(keep)
    half = {
        node.name
        for node in graph.node
        # Rank 4 is a map or a picture. Vectors stay in float32; see the module.
        if node.op_type in _HALF_OPS and node.name not in single and ranks.get(node.output[0]) == 4
    }
    if products == "half":
        half |= {node.name for node in graph.node if node.op_type in _PRODUCTS} - set(keep)
    out = onnx.ModelProto()
    out.CopyFrom(model)
    _Rewriter(out.graph, half, ranks).run()
    # The recorded types are those before the rewrite; the checker infers new ones.
    del out.graph.value_info[:]
    onnx.checker.check_model(out)
    return out


def _ranks(graph: onnx.GraphProto) -> dict[str, int]:
    """Rank of every float32 tensor that is no constant."""
    values = (*graph.input, *graph.output, *graph.value_info)
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.elem_type == _FLOAT
    }


def grid_makers(graph: onnx.GraphProto) -> set[str]:
    """Names of the nodes behind the grids, up to and with the convolution that reads the flow."""
    producers = {output: node for node in graph.node for output in node.output}
    found: set[str] = set()
    # Upwards from each sampler's second input, the grid.
    waiting = [node.input[1] for node in graph.node if node.op_type == "GridSample"]
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or node.name in found:
            continue
        found.add(node.name)
        if not ends_search(node):
            waiting.extend(node.input)
    return found


def ends_search(node: onnx.NodeProto) -> bool:
    """The flow head mixes channels; the blur between flow levels (one group a channel) does not."""
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    return node.op_type in ("Gemm", "MatMul") or (node.op_type in ("Conv", "ConvTranspose") and groups == 1)


class _Rewriter:
    """Gives each node inputs of its own type: constants are converted, the rest is cast once."""

    def __init__(self, graph: onnx.GraphProto, half: set[str], ranks: dict[str, int]) -> None:
        self._graph, self._half = graph, half
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._types = dict.fromkeys(ranks, _FLOAT) | {
            name: _FLOAT for name, tensor in self._constants.items() if tensor.data_type == _FLOAT
        }
        self._nodes: list[onnx.NodeProto] = []
        self._cast: dict[tuple[str, int], str] = {}

    def run(self) -> None:
        # First: constants must be known as such before a node's inputs are typed.
        nodes = self._inline_constants()
        self._narrow(self._graph.input)  # pictures and maps; vectors stay float32
        for node in nodes:
            self._retype(node)
        self._type_outputs()
        # Float32 copies of converted constants are left without a reader.
        used = {name for node in self._nodes for name in node.input}
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        kept = [tensor for tensor in self._constants.values() if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _inline_constants(self) -> list[onnx.NodeProto]:
        """Constant nodes, and the exporter's aliases of shared weights, become initializers."""
        rest = []
        for node in self._graph.node:
            tensor = self._constant_of(node)
            if tensor is None:
                rest.append(node)
                continue
            tensor.name = node.output[0]
            self._constants[tensor.name] = tensor
            if tensor.data_type == _FLOAT:
                self._types[tensor.name] = _FLOAT
        return rest

    def _constant_of(self, node: onnx.NodeProto) -> onnx.TensorProto | None:
        copy = onnx.TensorProto()
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            # A copy, since the tensor is renamed and the node belongs to the caller's model.
            copy.CopyFrom(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in self._constants:
            copy.CopyFrom(self._constants[node.input[0]])
        else:
            return None
        return copy

    def _narrow(self, values: Iterable[onnx.ValueInfoProto]) -> None:
        for value in values:
            tensor = value.type.tensor_type
            if tensor.elem_type == _FLOAT and len(tensor.shape.dim) == 4:
                tensor.elem_type = self._types[value.name] = _HALF

    def _retype(self, node: onnx.NodeProto) -> None:
        wanted = _HALF if node.name in self._half else _FLOAT
        for index, name in enumerate(node.input):
            if name in self._types and not self._is_parameter(node, index):
                node.input[index] = self._as_type(name, wanted)
        for name in node.output:
            if name in self._types:
                self._types[name] = wanted
        self._nodes.append(node)

    @staticmethod
    def _is_parameter(node: onnx.NodeProto, index: int) -> bool:
        """Resize takes its region and scales in float32 always."""
        return node.op_type == "Resize" and index in (1, 2)

    def _as_type(self, name: str, wanted: int) -> str:
        if self._types[name] == wanted:
            return name
        # One cast serves all readers of a value.
        if (name, wanted) not in self._cast:
            self._cast[name, wanted] = self._converted(name, wanted)
        return self._cast[name, wanted]

    def _converted(self, name: str, wanted: int) -> str:
        fresh = f"{name}_as_{'half' if wanted == _HALF else 'float'}"
        # A constant is converted in the file: a cast would run with every frame.
        if name in self._constants:
            values = numpy_helper.to_array(self._constants[name]).astype(np.float16)
            self._constants[fresh] = numpy_helper.from_array(values, fresh)
        else:
            self._nodes.append(helper.make_node("Cast", [name], [fresh], name=f"{fresh}_cast", to=wanted))
        return fresh

    def _type_outputs(self) -> None:
        """An output keeps the type its node gives it; nothing is cast only to leave."""
        for value in self._graph.output:
            if value.name in self._types:
                value.type.tensor_type.elem_type = self._types[value.name]


def store_half(path: Path) -> None:
    """Store a float32 file's constants in float16 where they lose nothing; it computes as before.

    Runtimes convert them back when they load the file.
    """
    model = onnx.load(str(path))
    rest: list[TensorProto] = []
    casts: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        half = _as_half(tensor)
        if half is None:
            rest.append(tensor)
            continue
        # The cast has the constant's name, so that no reader has to change.
        rest.append(numpy_helper.from_array(half, f"{tensor.name}_half"))
        casts.append(helper.make_node("Cast", [rest[-1].name], [tensor.name], to=_FLOAT))
    del model.graph.initializer[:]
    model.graph.initializer.extend(rest)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with write_atomically(path) as part:
        onnx.save(model, str(part))


def _as_half(tensor: TensorProto) -> npt.NDArray[np.float16] | None:
    values = numpy_helper.to_array(tensor)
    if values.dtype != np.float32 or values.size < _SMALL:
        return None
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), values) else None
