"""Networks that are made while a user waits."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mimicam.engine.backends.export_cache import write_network  # noqa: E402


class Resizes(torch.nn.Module):
    """Looks at a shape in Python, which tracing warns about."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.shape[-1] == 4 else torch.nn.functional.instance_norm(x)


def test_a_user_reads_none_of_the_exporters_warnings(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_network(Resizes(), tmp_path / "n.onnx", {"x": torch.rand(1, 2, 8, 8)}, ("y",), dynamic=False)
    assert [path.name for path in tmp_path.iterdir()] == ["n.onnx"]
