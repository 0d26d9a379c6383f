"""The published preset for several sessions at once: each has a slot of the batch, with its portrait's maps in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.backends.cuda_gpu import Download, Gpu, Step, Upload
from engine.backends.gpu_networks import FixedNetwork
from engine.backends.model import Features, LatentCodes
from engine.types import Float, Image, Mode

if TYPE_CHECKING:
    import torch

IDENTITY = np.array([[1, 0, 0], [0, 1, 0]], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRequest:
    """One session's frame."""

    crop: Image
    """The driver's face, RGB uint8 ``[S, S, 3]``."""
    base: LatentCodes
    """See `engine.backends.frame_step.FrameEdit`."""
    gain: float = 1.0


class SlotStep:
    """One branch for all slots as one captured step. Slots without a request keep what they showed; nobody looks."""

    def __init__(self, networks: Mapping[str, FixedNetwork], gpu: Gpu, *, mode: Mode) -> None:
        """Take memory and capture.

        Args:
            networks: opened for a batch of as many as there shall be slots.
            gpu: whose stream they run on.
            mode: ``exp`` or ``pose``.

        Raises:
            ValueError: another mode.
        """
        import torch

        if mode is Mode.BOTH:
            raise ValueError("mode must be exp or pose: both runs two generators, one after the other")
        self._name = "pose" if mode is Mode.POSE else "expression"
        self._gpu, self._encoder = gpu, networks["motion_encoder"]
        self._generator = networks[f"{self._name}_generator"]
        image = self._encoder.inputs["image"]
        self.slots, self.size = int(image.shape[0]), int(image.shape[-1])
        L = int(self._generator.inputs["latent"].shape[1])
        self._crops = Upload(gpu, gpu.empty((self.slots, self.size, self.size, 3), torch.uint8))
        self._numbers = Upload(gpu, gpu.empty((self.slots, 1 + L), torch.float32))
        self._matrices = Upload(gpu, gpu.empty((self.slots, 2, 3), torch.float32))
        self._matrices.host[:] = IDENTITY
        self._cut = gpu.empty(tuple(image.shape), image.dtype)
        self._result = Download(gpu, gpu.empty((self.slots, self.size, self.size, 3), torch.uint8))
        self._portraits: dict[int, Features] = {}
        gpu.queue(self._matrices.enqueue)
        self._step = Step(gpu, self._work)

    def enter(self, slot: int, features: Features) -> None:
        """Give a slot its portrait. Between frames, from the thread that runs them."""
        maps = list(features.arrays[3:])
        own = list(self._generator.inputs.values())[1:]
        self._gpu.queue(lambda: _fill(own, slot, maps))
        self._gpu.mark()()
        self._portraits[slot] = features

    def __call__(self, requests: Mapping[int, SlotRequest]) -> dict[int, Image]:
        """Run the batch, and wait for it. The pictures are the callers' own.

        Raises:
            ValueError: a slot has no portrait.
        """
        for slot, request in requests.items():
            if slot not in self._portraits:
                raise ValueError(f"slot {slot} must be given a portrait first")
            np.copyto(self._crops.host[slot], request.crop)
            self._numbers.host[slot, 0] = request.gain
            self._numbers.host[slot, 1:] = self._offset(slot, request)
        self._step()()
        return {slot: self._result.host[slot].copy() for slot in requests}

    def _offset(self, slot: int, request: SlotRequest) -> Float:
        latent, expression, pose = (array[0] for array in self._portraits[slot].arrays[:3])
        own, base = (
            (pose, request.base.pose) if self._name == "pose" else (expression, request.base.expression)
        )
        offset: Float = latent + own - request.gain * base
        return offset

    def _work(self) -> None:
        import torch

        from kernels.crop_normalize import crop_normalize

        self._crops.enqueue()
        self._numbers.enqueue()
        crop_normalize(self._crops.target, self._matrices.target, out=self._cut)
        self._encoder.inputs["image"].copy_(self._cut)
        self._encoder.enqueue()
        numbers = self._numbers.target
        code = self._encoder.outputs[f"{self._name}_code"]
        torch.addcmul(numbers[:, 1:], code, numbers[:, :1], out=self._generator.inputs["latent"])
        self._generator.enqueue()
        picture = self._generator.outputs["image"].float().clamp(-1, 1)
        self._result.source.copy_(((picture + 1) * 127.5).round().permute(0, 2, 3, 1))
        self._result.enqueue()


def _fill(own: list[torch.Tensor], slot: int, maps: list[np.ndarray]) -> None:
    import torch

    for mine, array in zip(own, maps, strict=True):
        mine[slot].copy_(torch.from_numpy(np.ascontiguousarray(array[0])))
