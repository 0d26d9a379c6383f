"""Compact family on one GPU stream: one CUDA graph per frame, to warp fields or finished picture.

Motion comes from the tracker, so smoothing, neutral and edit run on the host. Their result is
uploaded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicam.engine.backends.cuda.device import CapturedGraph, CudaGpu, Download, Gpu, Upload
from mimicam.engine.backends.cuda.networks import (
    BoundNetwork,
    Engine,
    TorchNetwork,
    half_info,
    prepare_kernels,
)
from mimicam.engine.backends.networks import ModelInfo
from mimicam.engine.models.base import Features, ReadFace, as_network_input, as_warp_fields, check_own
from mimicam.engine.models.compact.device_hair import DeviceHair
from mimicam.engine.models.compact.layered_surface import LayeredSurface
from mimicam.engine.models.compact.model import load_compact
from mimicam.engine.models.compact.reenactor import CompactReenactor
from mimicam.engine.models.compact.response import measure_response
from mimicam.engine.models.compact.spec import CONDITIONING, encoder_spec, generator_spec
from mimicam.engine.models.frame_graph import CanvasGraph
from mimicam.engine.network_spec import Shapes
from mimicam.engine.stages.surroundings import PortraitTexture
from mimicam.engine.types import Float, Image, Mode, MotionCode, WarpFields

if TYPE_CHECKING:
    from mimicam.engine.models.compact.network import Compact


class GpuCompact:
    """Draws finished frames where its networks run; see `engine.models.base.TrackerDrivenModel`."""

    modes: tuple[Mode, ...] = (Mode.EXP, Mode.POSE, Mode.BOTH)
    native_size, needs_face, smooth_recordings = False, True, True
    has_blendshapes = True

    def __init__(self, networks: Mapping[str, BoundNetwork], gpu: Gpu, info: ModelInfo) -> None:
        """Allocate uploads and downloads.

        ``networks``: ``encoder`` and ``generator`` of the weights that ``info`` names.
        """
        import torch

        self._gpu, self._encoder, self._generator = gpu, networks["encoder"], networks["generator"]
        self.name, self.sha256 = info.name, info.sha256
        self.size, self.backend = info.size, info.backend
        self._resident: Features | None = None
        # Buffers of fixed address, which captured graphs keep reading and writing.
        self._uploads = {name: Upload(gpu, self._generator.inputs[name]) for name in CONDITIONING}
        self._mouth = Upload(gpu, gpu.empty((1, 4, self.size, self.size), torch.float32))
        self._hair = DeviceHair(gpu, self.size)
        self._downloads = {
            name: Download(gpu, gpu.empty(tuple(output.shape), torch.float32))
            for name, output in self._generator.outputs.items()
        }
        self._step = CapturedGraph(gpu, self._bare_layers)

    def feature_shapes(self) -> Shapes:
        """See `engine.models.base.Model.feature_shapes`."""
        return {name: tuple(value.shape) for name, value in self._encoder.outputs.items()}

    def encode(self, crop: Image) -> Features:
        """See `engine.models.base.Model.encode`."""
        import torch

        image = as_network_input(crop)

        def work() -> None:
            self._encoder.inputs["image"].copy_(torch.from_numpy(image))
            self._encoder.enqueue()

        self._gpu.on_stream(work)
        self._gpu.record_event()()
        # The outputs are complete: the event above was waited for.
        arrays: dict[str, Float] = {}
        for name, value in self._encoder.outputs.items():
            arrays[name] = value.to("cpu", torch.float32, copy=True).numpy()
        return Features(arrays=arrays, model=self.sha256)

    def measure_response(self, crop: Image, motion: MotionCode, features: Features, read: ReadFace) -> Float:
        """See `engine.models.base.CalibratedModel.measure_response`."""
        return measure_response(self, crop, motion, features, read)

    def generate(self, features: Features, conditioning: Mapping[str, Float]) -> WarpFields:
        """See `engine.models.base.TrackerDrivenModel.generate`."""
        self.enter(features)
        self.run(self._step, conditioning)
        return as_warp_fields({name: download.host for name, download in self._downloads.items()})

    def reenactor(self, *, smooth: bool, previous: Any = None) -> CompactReenactor:
        """See `engine.models.base.LiveModel.reenactor`.

        Raises:
            KernelBuildError: CuPy is missing, or a kernel does not compile on this machine.
        """
        return CompactReenactor(self, smooth=smooth, graph=self.open_canvas(), previous=previous)

    def open_canvas(self) -> CanvasGraph:
        """Make the frame graph of one session.

        Raises:
            KernelBuildError: CuPy is missing, or a kernel does not compile on this machine.
        """
        prepare_kernels(self._gpu)
        return CompactCanvas(self, self._gpu)

    def enter(self, features: Features) -> None:
        """Move a portrait onto the GPU.

        Its memory keeps its addresses, so captured steps stay valid.

        Raises:
            EngineError: another model encoded it.
        """
        import torch

        check_own(features, self.sha256)
        if features is self._resident:
            return

        def work() -> None:
            for name, value in features.arrays.items():
                self._generator.inputs[name].copy_(torch.from_numpy(np.ascontiguousarray(value)))

        self._gpu.on_stream(work)
        self._gpu.record_event()()
        self._resident = features

    def run(self, step: Callable[[], Callable[[], None]], conditioning: Mapping[str, Float]) -> None:
        """Draw a frame of the entered portrait, and wait for it."""
        for name, upload in self._uploads.items():
            np.copyto(upload.host[0], conditioning[name])
        # The step enqueues its work and returns a function that waits for it.
        step()()

    def run_canvas(
        self,
        step: Callable[[], Callable[[], None]],
        conditioning: Mapping[str, Float],
        mouth: Float,
        hair: Float | None,
    ) -> None:
        """Run a step that calls `draw`, with the painted mouth and the hair's motion; see `run`."""
        np.copyto(self._mouth.host[0], mouth)
        self._hair.write(hair)
        self.run(step, conditioning)

    def draw(self, surface: LayeredSurface) -> None:
        """Queue a frame up to the finished picture."""
        self._layers()
        self._mouth.enqueue()
        surface.put_together(self._hair.enqueue(self._generator.outputs), self._mouth.target)
        surface.result.enqueue()

    def _layers(self) -> None:
        for upload in self._uploads.values():
            upload.enqueue()
        self._generator.enqueue()

    def _bare_layers(self) -> None:
        self._layers()
        for name, download in self._downloads.items():
            download.source.copy_(self._generator.outputs[name])
            download.enqueue()


class CompactCanvas:
    """Draws the frames of one session; see `engine.models.frame_graph.CanvasGraph`.

    Several sessions may share a model, one frame at a time.
    """

    def __init__(self, model: GpuCompact, gpu: Gpu) -> None:
        self._model, self._gpu = model, gpu
        self._surface: LayeredSurface | None = None
        self._texture: PortraitTexture | None = None
        self._step: CapturedGraph | None = None

    def enter(self, features: Features, texture: PortraitTexture) -> None:
        """See `engine.models.frame_graph.CanvasGraph`."""
        self._model.enter(features)
        if texture is self._texture:
            return
        if self._surface is not None and self._surface.fits(texture):
            self._surface.show(texture)
        else:
            # Another size needs other buffers, and with them another capture.
            surface = self._surface = LayeredSurface(self._gpu, texture)
            self._step = CapturedGraph(self._gpu, lambda: self._model.draw(surface))
        self._texture = texture

    def __call__(self, conditioning: Mapping[str, Float], mouth: Float, hair: Float | None = None) -> Image:
        """See `engine.models.frame_graph.CanvasGraph`."""
        assert self._step is not None and self._surface is not None, "enter a portrait first"  # noqa: PT018
        self._model.run_canvas(self._step, conditioning, mouth, hair)
        picture: Image = self._surface.result.host[0]
        return picture


def compact_networks(
    model: Compact, gpu: Gpu, *, engine: Engine = "eager", half: bool = True, compiler: str = "inductor"
) -> dict[str, BoundNetwork]:
    """Open encoder and generator in PyTorch.

    The encoder runs in float32, since its rounding would stay in every frame.
    """
    import torch

    from mimicam.engine.models.compact.flat import CompactEncoder, CompactGenerator, HalfCompactGenerator

    specs = encoder_spec(model.config), generator_spec(model.config)
    examples = [{t.name: torch.zeros(t.shape) for t in spec.inputs} for spec in specs]
    examples[1]["head"][:, 2] = 1.0  # the head's scale is a divisor
    encoder = TorchNetwork(CompactEncoder(model), examples[0], specs[0].output_names, gpu)
    chosen = HalfCompactGenerator(model) if half else CompactGenerator(model)
    names = specs[1].output_names
    generator = TorchNetwork(chosen, examples[1], names, gpu, engine=engine, compiler=compiler)
    return {"encoder": encoder, "generator": generator}


def open_compact_half(folder: Path, *, engine: Engine = "eager", gpu: Gpu | None = None) -> GpuCompact:
    """Open a bundle in PyTorch on the GPU.

    Convolutions run in half precision, a frame as one CUDA graph.

    Raises:
        EngineError: no GPU, or no such model.
    """
    gpu = gpu or CudaGpu()
    model, bundle = load_compact(folder)
    info = half_info(bundle.name, bundle.sha256, bundle.size, engine=engine, gpu=gpu)
    return GpuCompact(compact_networks(model, gpu, engine=engine), gpu, info)
