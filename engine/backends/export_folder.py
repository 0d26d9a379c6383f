"""A folder of exported networks: ``mimicam export`` writes it, a backend reads it.

Beside each ONNX file lies its check: inputs, and samples of PyTorch's outputs for them. A backend
compares its own outputs with those before it draws a frame.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mimicam.engine.backends.networks import ModelInfo
from mimicam.engine.checked_files import integer, one_line, read_arrays, read_json
from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of, write_atomically
from mimicam.engine.network_spec import TensorSpec

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

FORMAT = "mimicam-networks"
FILE = "manifest.json"
LIMITS = {"fp32": 1e-3, "fp16": 1e-2, "fp16-turing": 1e-2, "int8": 0.1}
"""Largest error as a share of an output's largest magnitude; in int8 the mean error.

Measured on x86-64, 2026-11, in ONNX Runtime and OpenVINO. Trained networks on a frame of the
bundled clip: 2e-3 in fp16, 5e-3 in int8. Untrained ones on noise: 1e-5 in fp32; 1e-3 in fp16, and
5e-3 in masks, which are steep; 4e-2 in int8, because single pixels of a mask change sides. A wrong
sampling convention gives 1e-1 and more.
"""

_SAMPLES = 1 << 16
_MAX_ELEMENTS = 1 << 28
"""Elements of a tensor: a gigabyte. Those of the published models have 4 million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFile:
    """One network of a model."""

    name: str
    onnx: str
    """File name in the folder."""
    sha256: str
    check: str
    """File name of the ``.npz`` with inputs and sampled outputs."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All networks of one export."""

    model: str
    """File name of the weights, or ``random:<preset>``."""
    model_sha256: str
    precision: str
    opset: int
    limit: float
    networks: tuple[NetworkFile, ...]
    warp: str = "gridsample"
    """How generators sample: ``gridsample``, which every runtime has, or ``plugin``, our kernel, in
    TensorRT."""
    activations: str = ""
    """Form of int8: ``unsigned`` for CPUs, ``signed`` for TensorRT (and in exports that do not
    state it)."""

    def network(self, name: str) -> NetworkFile:
        """One by name.

        Raises:
            EngineError: the export has none of that name.
        """
        for network in self.networks:
            if network.name == name:
                return network
        have = ", ".join(network.name for network in self.networks)
        raise EngineError(f"the export has no network '{name}', only {have}: export another model")

    def info(self, picture_network: str, backend: str) -> ModelInfo:
        """Describe the model on a backend; its size is that of the picture that a network reads.

        Raises:
            EngineError: the export has no such network.
        """
        size = self.network(picture_network).inputs[0].shape[-1]
        return ModelInfo(name=self.model, sha256=self.model_sha256, size=size, backend=backend)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One output against the reference."""

    output: str
    worst: float
    """Largest absolute difference over the reference's largest magnitude; infinite when not
    finite."""


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` into the folder."""
    text = json.dumps({"format": FORMAT, "version": 1} | asdict(manifest), indent=2)
    with write_atomically(folder / FILE) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read ``manifest.json``. File names must lie in the folder itself.

    Raises:
        EngineError: it is missing, damaged, or of another version.
    """
    try:
        values = read_json(folder / FILE)
        if values.pop("format") != FORMAT or values.pop("version") != 1:
            raise ValueError("another version")
        for name in ("model", "model_sha256", "precision"):
            one_line(values[name])
        return Manifest(**(values | {"networks": tuple(map(_network, values["networks"]))}))
    except FileNotFoundError:
        raise EngineError(f"{folder} holds no exported model: run 'mimicam export' first") from None
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise EngineError(f"{folder / FILE} is damaged ({error}): export the model again") from error


def onnx_path(folder: Path, network: NetworkFile) -> Path:
    """Path of a network's ONNX file, after its hash was compared.

    Raises:
        EngineError: the file is missing or not the one that was exported.
    """
    path = folder / network.onnx
    if not path.is_file() or sha256_of(path) != network.sha256:
        raise EngineError(f"{path} is missing or has changed since the export: export the model again")
    return path


def write_check(path: Path, inputs: Arrays, reference: Arrays) -> None:
    """Write a network's inputs whole, and its reference outputs sampled, in float32."""
    values = {f"input:{name}": value for name, value in inputs.items()}
    values |= {f"output:{name}": _sampled(value).astype(np.float32) for name, value in reference.items()}
    np.savez(path, **values)  # type: ignore[arg-type]


def read_check(folder: Path, network: NetworkFile) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs, and sampled reference outputs.

    Raises:
        EngineError: the file is missing or damaged.
    """
    try:
        values = read_arrays(folder / network.check, _checked_arrays(network))
        return (
            {port.name: values[f"input:{port.name}"] for port in network.inputs},
            {port.name: values[f"output:{port.name}"] for port in network.outputs},
        )
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(
            f"{folder / network.check} is missing or damaged: export the model again"
        ) from error


def compare(sampled_reference: Arrays, got: Arrays, precision: str) -> list[Difference]:
    """Outputs in full against a sampled reference, one entry per output, as `LIMITS` measures the
    precision.

    Raises:
        EngineError: an output is missing or has another size.
    """
    # In int8 single pixels change sides of a mask; see `LIMITS`.
    measure = np.mean if precision == "int8" else np.max
    return [_difference(name, want, got, measure) for name, want in sampled_reference.items()]


def require(differences: list[Difference], limit: float, subject: str) -> float:
    """Refuse a network that is not the reference; the worst difference otherwise.

    Raises:
        EngineError: naming the worst output, when it lies above ``limit``.
    """
    worst = max(differences, key=lambda difference: difference.worst)
    # Negated, so that a NaN is refused too.
    if not worst.worst <= limit:
        raise EngineError(
            f"{subject} differs from PyTorch by {worst.worst:.2g} at '{worst.output}' (limit {limit:g}):"
            " use --precision fp32, or another backend"
        )
    return worst.worst


def _difference(name: str, want: Array, got: Arrays, measure: Callable[[Array], Any]) -> Difference:
    if name not in got or _sampled(got[name]).shape != want.shape:
        raise EngineError(f"output '{name}' is missing or has another size: export the model again")
    want64, got64 = want.astype(np.float64), _sampled(got[name]).astype(np.float64)
    if not np.isfinite(got64).all():
        return Difference(output=name, worst=float("inf"))
    # Of the output's largest value: relative errors of values near 0 mean nothing.
    size = max(float(np.abs(want64).max()), 1e-12)
    return Difference(output=name, worst=float(measure(np.abs(got64 - want64))) / size)


def _sampled(values: Array) -> Array:
    """At most 65,536 values, spread over the whole; an odd stride visits every row and column."""
    return np.ascontiguousarray(values).ravel()[:: _stride(values.shape)]


def _stride(shape: tuple[int, ...]) -> int:
    return -(-math.prod(shape) // _SAMPLES) | 1


def _checked_arrays(network: NetworkFile) -> list[TensorSpec]:
    """Return specs of the arrays that `write_check` wrote."""
    inputs = [replace(port, name=f"input:{port.name}") for port in network.inputs]
    lengths = {port.name: -(-math.prod(port.shape) // _stride(port.shape)) for port in network.outputs}
    return inputs + [TensorSpec(name=f"output:{name}", shape=(length,)) for name, length in lengths.items()]


def _network(values: dict[str, Any]) -> NetworkFile:
    one_line(values["name"])
    for name in (values["onnx"], values["check"]):
        if Path(one_line(name)).name != name:
            raise ValueError(f"'{name}' is no plain file name")
    ports = {side: tuple(map(_port, values[side])) for side in ("inputs", "outputs")}
    return NetworkFile(**(values | ports))


def _port(values: dict[str, Any]) -> TensorSpec:
    shape = tuple(integer(side, 1, _MAX_ELEMENTS) for side in values["shape"])
    if math.prod(shape) > _MAX_ELEMENTS:
        raise ValueError(f"'{values['name']}' has too many elements")
    return TensorSpec(name=one_line(values["name"]), shape=shape, dtype=np.dtype(values["dtype"]).name)
