"""Compiled networks are taken over, never shared at the same time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.backends.openvino import CompiledNetwork, NetworksInTurn
from mimicam.engine.silent_imports import ov

_FILE = Path("one more.xml")


@pytest.fixture
def read() -> Callable[[Path], ov.Model]:
    """Build ``x + 1`` on two numbers, whatever the file."""
    ops = ov.opset13

    def build(_: Path) -> ov.Model:
        x = ops.parameter([2], np.float32, name="x")
        return ov.Model([ops.add(x, np.ones(2, np.float32))], [x], "one more")

    return build


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[CompiledNetwork]:
    """Networks that were compiled."""
    made, compile_network = [], CompiledNetwork.of

    def counted(*args: object, **options: object) -> CompiledNetwork:
        made.append(compile_network(*args, **options))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(CompiledNetwork, "of", counted)
    return made


def test_a_network_takes_over_what_another_no_longer_uses(
    read: Callable[[Path], ov.Model], compiled: list[CompiledNetwork]
) -> None:
    networks = NetworksInTurn()
    for start in (1.0, 2.0, 3.0):
        network = networks.open(_FILE, threads=1, name="it", read=read)
        (result,) = network(np.full(2, start, np.float32))
        assert result.tolist() == [start + 1, start + 1]
        del network, result
    assert len(compiled) == 1


def test_networks_in_use_at_the_same_time_have_one_each(
    read: Callable[[Path], ov.Model], compiled: list[CompiledNetwork]
) -> None:
    networks = NetworksInTurn()
    held = [networks.open(_FILE, threads=1, name="it", read=read) for _ in range(2)]
    assert len(compiled) == 2
    ours, others = held[0](np.zeros(2, np.float32))[0], held[1](np.ones(2, np.float32))[0]
    assert (ours.tolist(), others.tolist()) == ([1.0, 1.0], [2.0, 2.0])


def test_another_number_of_threads_is_compiled_again(
    read: Callable[[Path], ov.Model], compiled: list[CompiledNetwork]
) -> None:
    networks = NetworksInTurn()
    for threads in (1, 2, 1):
        networks.open(_FILE, threads=threads, name="it", read=read)
    assert len(compiled) == 2
