"""One place that talks to OpenVINO: read, compile, and run a network on the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mimicam.engine.errors import EngineError
from mimicam.engine.silent_imports import ov

Array = npt.NDArray[Any]


@cache
def core() -> ov.Core:
    """The process's one OpenVINO core."""
    return ov.Core()


def has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX-512 BF16 or AMX)."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Network:
    """A compiled network with named inputs, run synchronously on one infer request.

    Not thread-safe: one thread per instance. Output arrays are views that the next call overwrites.
    """

    def __init__(
        self,
        model: ov.Model | Path,
        *,
        threads: int = 1,
        precision: str = "f32",
        name: str = "network",
        outputs: tuple[str, ...] = (),
    ) -> None:
        """Compile for the CPU.

        Args:
            model: an OpenVINO model, or a file it can read (IR, ONNX, TFLite).
            threads: inference threads.
            precision: ``f32`` or ``bf16``; parts the model marks as precise stay in f32.
            name: what errors call it.
            outputs: names of the outputs, in order, for `run_named`.

        Raises:
            EngineError: the file cannot be read or compiled.
        """
        try:
            graph = core().read_model(model) if isinstance(model, Path) else model
            compiled = core().compile_model(
                graph,
                "CPU",
                {
                    "INFERENCE_NUM_THREADS": threads,
                    "INFERENCE_PRECISION_HINT": precision,
                    "PERFORMANCE_HINT": "LATENCY",
                    "NUM_STREAMS": 1,
                    # A network that takes all cores is steadier pinned (p95 of frame age: 24 instead of 26 ms).
                    # Of those that take fewer, every one would be pinned to the first cores and share them.
                    "ENABLE_CPU_PINNING": 1 < threads == os.cpu_count(),
                },
            )
        except RuntimeError as error:
            first = str(error).strip().splitlines()[-1][:200]
            raise EngineError(
                f"{name} does not load in OpenVINO ({first}); run 'mimicam models verify'"
            ) from error
        self._request = compiled.create_infer_request()
        self.inputs = [port.get_any_name() for port in compiled.inputs]
        self._dtypes = [port.get_element_type().to_dtype() for port in compiled.inputs]
        self._given: list[Array | None] = [None] * len(self.inputs)
        self._sources: list[Array | None] = [None] * len(self.inputs)
        self._outputs = len(compiled.outputs)
        self._output_names = outputs

    def __call__(self, *arrays: Array) -> list[Array]:
        """Run on the inputs, in the order of ``self.inputs``; views of the outputs in their order."""
        self.give(0, *arrays)
        return self.run()

    def run_named(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run on inputs by name; views of the outputs by name.

        Raises:
            ValueError: an input is missing, or one is given that the network does not have.
        """
        if inputs.keys() != set(self.inputs):
            raise ValueError(f"inputs must be {', '.join(self.inputs)}; got {', '.join(inputs)}")
        for index, name in enumerate(self.inputs):
            if inputs[name] is not self._sources[index]:
                self.give(index, inputs[name])
        return dict(zip(self._output_names, self.run(), strict=True))

    def give(self, first: int, *arrays: Array) -> None:
        """Let the inputs from number ``first`` on be these arrays, until others are given. They are not copied."""
        for index, array in enumerate(arrays, start=first):
            given = np.ascontiguousarray(array, self._dtypes[index])
            self._request.set_input_tensor(index, ov.Tensor(given, shared_memory=True))
            self._given[index] = given  # keeps the memory alive
            # An array that had to be converted is converted again: its content may have changed.
            self._sources[index] = array if given is array else None

    def run(self) -> list[Array]:
        """Run on what was given; views of the outputs in their order."""
        self._request.infer(share_outputs=True)  # or it copies them, for a result that nobody looks at
        return [self._request.get_output_tensor(i).data for i in range(self._outputs)]
