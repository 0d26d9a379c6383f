"""One frame of DPE on a GPU, source cached, as a CUDA graph: how long, by backend and mode.

What is not in the figures: camera, tracking, crop, paste, sinks; ``mimicam bench`` has those. Random weights take as long
as trained ones.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from engine.backends.plan_cache import PlanCache
from engine.backends.tensorrt import CudaGpu, Step, open_network
from engine.backends.tensorrt_api import TensorRt
from engine.types import Mode
from export.bundle import BundleOptions, write_bundle
from export.networks import load_networks

_FRAMES, _WARM_UP = 2000, 200


class Net(Protocol):
    """A network with memory of its own."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def enqueue(self) -> None:
        """Queue one run."""

    def share(self, name: str, tensor: Tensor) -> None:
        """Read an input from another network's output."""


class TorchNet:
    """A network in eager PyTorch, behind the same interface."""

    def __init__(
        self, module: nn.Module, inputs: Mapping[str, Tensor], outputs: tuple[str, ...], device: str
    ) -> None:
        self._module = module.to(device)
        self.inputs = {name: value.clone().to(device) for name, value in inputs.items()}
        first = self._run()
        self.outputs = {name: value.clone() for name, value in zip(outputs, first, strict=True)}

    def enqueue(self) -> None:
        """See ``Net``."""
        for own, value in zip(self.outputs.values(), self._run(), strict=True):
            own.copy_(value)

    def share(self, name: str, tensor: Tensor) -> None:
        """See ``Net``."""
        self.inputs[name] = tensor

    @torch.no_grad()
    def _run(self) -> tuple[Tensor, ...]:
        result = self._module(*self.inputs.values())
        return (result,) if isinstance(result, Tensor) else tuple(result)


def step_work(
    nets: Mapping[str, Net], source_latent: Tensor, mode: Mode
) -> tuple[Callable[[], None], Tensor]:
    """A frame's work for an enrolled source whose maps already lie in the generators, and where its picture appears.

    Equation 5 for one mode; for both, equations 6 and 7: the picture is encoded again for the pose generator.
    """
    driver, first = (
        nets["motion_encoder"],
        nets["pose_generator" if mode is Mode.POSE else "expression_generator"],
    )
    code = driver.outputs["pose_code" if mode is Mode.POSE else "expression_code"]

    def one() -> None:
        driver.enqueue()
        torch.add(source_latent, code, out=first.inputs["latent"])
        first.enqueue()

    if mode is not Mode.BOTH:
        return one, first.outputs["image"]
    again, second = nets["encoder"], nets["pose_generator"]
    again.share("image", first.outputs["image"])
    for name in second.inputs:
        if name != "latent":
            second.share(name, again.outputs[name])

    def both() -> None:
        one()
        again.enqueue()
        torch.add(again.outputs["latent"], driver.outputs["pose_code"], out=second.inputs["latent"])
        second.enqueue()

    return both, second.outputs["image"]


def torch_nets(preset: str, device: str) -> dict[str, Net]:
    """Every network of a preset in eager PyTorch, float32."""
    return {
        network.name: TorchNet(network.module, network.inputs, network.outputs, device)
        for network in load_networks(f"random:{preset}")
    }


def tensorrt_nets(preset: str, folder: Path, api: TensorRt, gpu: CudaGpu, precision: str) -> dict[str, Net]:
    """Every network of a preset as a plan that was compared with PyTorch."""
    manifest = write_bundle(f"random:{preset}", folder, BundleOptions(precision=precision), print)
    cache = PlanCache()
    return {
        network.name: open_network(folder, network.name, api=api, gpu=gpu, cache=cache)
        for network in manifest.networks
    }


def measure_modes(make: Callable[[], Mapping[str, Net]], gpu: CudaGpu) -> dict[str, Any]:
    """Each mode's times on fresh networks: sharing rebinds their inputs."""
    return {mode.value: _measure(make(), gpu, mode) for mode in Mode}


def _measure(nets: Mapping[str, Net], gpu: CudaGpu, mode: Mode) -> dict[str, Any]:
    latent = nets["expression_generator"].inputs["latent"].clone()
    started = time.perf_counter()
    work, _ = step_work(nets, latent, mode)
    step = Step(gpu, work)
    captured_s = time.perf_counter() - started
    times = []
    for index in range(_FRAMES + _WARM_UP):
        before = time.perf_counter_ns()
        step()()
        if index >= _WARM_UP:
            times.append((time.perf_counter_ns() - before) / 1e6)
    return {"capture_s": captured_s, "frames": _FRAMES, "host_ms": _percentiles(times)}


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p90": cuts[89], "p95": cuts[94], "p99": cuts[98], "max": max(values)}
