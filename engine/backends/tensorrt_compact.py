"""The compact preset as TensorRT plans: one CUDA graph a frame, the portrait resident on the GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.backends import manifest as manifests
from engine.backends.cuda_gpu import CudaGpu, Download, Gpu, Step, Upload
from engine.backends.model import Features
from engine.backends.plan_cache import PlanCache
from engine.backends.tensorrt import TensorRtNetwork, open_network
from engine.backends.tensorrt_api import Flavour, Progress, TensorRt, find
from engine.errors import EngineError
from engine.types import Float, Image

_PORTRAIT = ("latent", "image", "map_2", "map_4", "map_8", "map_16")
"""The order of ``Features.arrays``."""
_DRIVE = ("source_points", "target_points", "affine", "head", "expression", "pose", "openings")
"""The order of ``engine.stages.motion.Drive.arrays``."""
_NO_RTX = ("8.0", "9.0")
"""Compute capabilities of data-centre cards that TensorRT for RTX does not support."""


class TensorRtCompact:
    """See `engine.backends.model.Model`."""

    def __init__(
        self,
        folder: Path,
        *,
        gpu: Gpu | None = None,
        api: TensorRt | None = None,
        cache: PlanCache | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Open the plans of an export, building them first where there are none.

        Args:
            folder: written by ``mimicam export`` from a compact model.
            gpu: None is the first one.
            api: None takes the installed TensorRT that supports the GPU.
            cache: None is the user's own.
            progress: called while a plan is built.

        Raises:
            EngineError: no GPU, no TensorRT, or no export of a compact model.
        """
        self._manifest = manifests.read_manifest(folder)
        if {network.name for network in self._manifest.networks} != {"encoder", "generator"}:
            raise EngineError(f"{folder} is no export of a compact model: run 'mimicam export' on one")
        self._gpu = gpu or CudaGpu()
        api = api or installed(self._gpu)
        cache = cache or PlanCache()
        self._encoder, self._generator = (
            open_network(folder, name, api=api, gpu=self._gpu, cache=cache, progress=progress)
            for name in ("encoder", "generator")
        )
        self.name = self._manifest.model
        self.sha256 = self._manifest.model_sha256
        self.size = int(self._encoder.inputs["image"].shape[-1])
        self.backend = f"{api.name} {self._manifest.precision}, {self._gpu.name}"
        self._resident: Features | None = None
        self._prepare_step()

    def encode(self, crop: Image) -> Features:
        """See `engine.backends.model.Model.encode`."""
        image = crop.astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1.0
        encoded = self._encoder.run({"image": image})
        arrays = {name: np.asarray(value, np.float32) for name, value in encoded.items()} | {"image": image}
        return Features(arrays=tuple(arrays[name] for name in _PORTRAIT), model=self.sha256)

    def generate(self, features: Features, drive: tuple[Float, ...]) -> Image:
        """See `engine.backends.model.Model.generate`."""
        if features.model != self.sha256:
            raise EngineError("this portrait was enrolled with other weights: run 'mimicam enroll' again")
        if features is not self._resident:
            self._enter(features)
        for upload, value in zip(self._uploads, drive, strict=True):
            np.copyto(upload.host[0], value)
        self._step()()
        picture: Image = self._download.host
        return picture

    def _prepare_step(self) -> None:
        import torch

        generator: TensorRtNetwork = self._generator
        self._uploads = [Upload(self._gpu, generator.inputs[name]) for name in _DRIVE]
        picture = generator.outputs["picture"][0]
        pixels = self._gpu.empty((self.size, self.size, 3), torch.uint8)
        self._download = Download(self._gpu, pixels)

        def work() -> None:
            for upload in self._uploads:
                upload.enqueue()
            generator.enqueue()
            grey = ((picture.float().clamp(-1, 1) + 1) * 127.5).round()
            pixels.copy_(grey.permute(1, 2, 0))
            self._download.enqueue()

        self._step = Step(self._gpu, work)

    def _enter(self, features: Features) -> None:
        """Move another portrait onto the GPU; its memory stays where it is, so the captured step stays valid."""
        import torch

        def work() -> None:
            for name, value in zip(_PORTRAIT, features.arrays, strict=True):
                self._generator.inputs[name].copy_(torch.from_numpy(np.ascontiguousarray(value)))

        self._gpu.queue(work)
        self._gpu.mark()()
        self._resident = features


def installed(gpu: Gpu) -> TensorRt:
    """The installed TensorRT that supports this GPU; for an RTX card the one made for it comes first."""
    flavours: tuple[Flavour, ...] = ("tensorrt-rtx", "tensorrt")
    reasons = []
    for flavour in flavours if gpu.compute_capability not in _NO_RTX else flavours[1:]:
        try:
            return find(flavour)
        except EngineError as error:
            reasons.append(str(error))
    raise EngineError("; or ".join(reasons))
