"""Moving pictures whose expression and pose are known, and networks small enough for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from mimicam.engine.models.dpe.config import DEBUG, DpeConfig

LANDMARKS = {name: torch.zeros(2, 478, 3) for name in ("source_landmarks", "target_landmarks")}
"""Landmarks for networks that do not use them."""
TINY = DpeConfig(name="tiny", size=32, latent=16, directions=4, channels=(12, 12, 8, 8))


def blob(x: float, mouth: float, size: int = 32) -> Tensor:
    """A disc at ``x`` with a dark bar of height ``mouth`` in it, ``[3, size, size]`` in -1..1."""
    line = torch.linspace(-1, 1, size)
    v, u = torch.meshgrid(line, line, indexing="ij")
    disc = torch.sigmoid(12 * (0.6 - torch.hypot(u - x, v)))
    bar = torch.sigmoid(20 * (mouth - (v - 0.2).abs())) * torch.sigmoid(20 * (0.3 - (u - x).abs()))
    return torch.stack((disc, disc * 0.7, disc * (1 - bar))) * 2 - 1


@pytest.fixture
def tiny() -> DpeConfig:
    return TINY


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Two pairs: the driver differs in place and in mouth."""
    source = torch.stack([blob(-0.2, 0.05), blob(0.25, 0.2)])
    target = torch.stack([blob(0.2, 0.25), blob(-0.1, 0.02)])
    return {"source": source, "target": target, **LANDMARKS}


@pytest.fixture
def debug_batch() -> dict[str, Tensor]:
    """The same at the debug preset's size, as bytes."""
    source = torch.stack([blob(-0.2, 0.05, DEBUG.size), blob(0.25, 0.2, DEBUG.size)])
    target = torch.stack([blob(0.2, 0.25, DEBUG.size), blob(-0.1, 0.02, DEBUG.size)])
    pictures = {k: ((v + 1) * 127.5).round().byte() for k, v in (("source", source), ("target", target))}
    return pictures | LANDMARKS


PER_POINT = np.arange(478, dtype=np.float32)
WEIGHT = np.random.default_rng(0).standard_normal((1, 146, 2)).astype(np.float32)


def save(path: Path, nodes: list, constants: dict[str, np.ndarray], shape: list[int]) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture
def face_files(tmp_path: Path) -> tuple[Path, Path]:
    """Landmark k is k times the picture's mean colour; blendshapes are two weighted sums of the chosen."""
    node = helper.make_node
    landmarks = [
        node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        node("ReduceMean", ["a"], ["b"], axes=[2, 3], keepdims=1),
        node("Mul", ["b", "k"], ["c"]),
        node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1]),
        node("Reshape", ["d", "shape"], ["y"]),
    ]
    shapes = [node("Mul", ["x", "w"], ["a"]), node("ReduceSum", ["a", "axes"], ["y"], keepdims=0)]
    numbers = {"k": PER_POINT[None, None, None], "shape": np.array([0, 1, 1, 1434])}
    return (
        save(tmp_path / "points.onnx", landmarks, numbers, [1, 256, 256, 3]),
        save(tmp_path / "shapes.onnx", shapes, {"w": WEIGHT, "axes": np.array([1])}, [1, 146, 2]),
    )
