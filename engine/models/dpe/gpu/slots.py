"""DPE for several sessions at once. Each has a slot of the batch, with its portrait and its filter
state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimicam.engine.backends.cuda.device import CapturedGraph, Download, Gpu, Upload
from mimicam.engine.backends.cuda.networks import BoundNetwork
from mimicam.engine.models.base import Features, LatentCodes
from mimicam.engine.models.dpe.gpu.code_state import CodeState
from mimicam.engine.models.dpe.gpu.mode_graph import FIRST, run_pose_pass
from mimicam.engine.models.dpe.model import portrait_maps
from mimicam.engine.models.frame_graph import CodeUpdate
from mimicam.engine.types import Image, Mode

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRequest:
    """Input of one session's frame."""

    crop: Image | None
    """Crop of the driver's face, RGB uint8 ``[S, S, 3]``; None where no face is tracked."""
    features: Features
    """The portrait. Another one than before is uploaded first."""
    mode: Mode
    edit: CodeUpdate
    neutral: LatentCodes | None = None
    """New codes of the neutral, read by another backend."""


class SlotStep:
    """Runs all slots as one captured step per mode. Slots without a request keep their state; their
    pictures are unused."""

    def __init__(
        self,
        networks: Mapping[str, BoundNetwork],
        gpu: Gpu,
        *,
        modes: tuple[Mode, ...] = tuple(Mode),
    ) -> None:
        """Allocate memory and capture.

        Args:
            networks: opened for a batch as large as the number of slots; only this object runs
                them.
            gpu: whose stream they run on.
            modes: modes that requests may have.
        """
        import torch

        self._gpu, self._networks = gpu, networks
        image = networks["motion_encoder"].inputs["image"]
        self.slots, self.size = int(image.shape[0]), int(image.shape[-1])
        latent = int(networks["pose_generator"].inputs["latent"].shape[1])
        self._codes = CodeState(gpu, self.slots, latent)
        shape = (self.slots, self.size, self.size, 3)
        self._crops = Upload(gpu, gpu.empty(shape, torch.uint8))
        self._cut = gpu.empty(tuple(image.shape), image.dtype)
        self._result = Download(gpu, gpu.empty(shape, torch.uint8))
        self._entered: dict[int, Features] = {}
        self._holds: dict[tuple[str, int], Features] = {}
        """Portrait whose maps are in a generator's slot."""
        self._start = {mode: self._captured(mode) for mode in modes}

    def __call__(self, requests: Mapping[int, SlotRequest]) -> dict[int, Image]:
        """Run the batch, mode by mode, and wait for it. The pictures are copies.

        Raises:
            ValueError: a mode that this step was not made for.
        """
        results: dict[int, Image] = {}
        # A captured step runs one mode for all slots, so each mode is a run of its own.
        for mode in dict.fromkeys(request.mode for request in requests.values()):
            if mode not in self._start:
                raise ValueError(f"mode must be one of {[m.value for m in self._start]}, got {mode.value}")
            group = {slot: request for slot, request in requests.items() if request.mode is mode}
            results |= self._run(mode, group)
        return results

    def _run(self, mode: Mode, group: Mapping[int, SlotRequest]) -> dict[int, Image]:
        # Makes all slots inactive: those without a request keep their state.
        self._codes.clear()
        for slot, request in group.items():
            self._enter(slot, request)
            if request.crop is not None:
                np.copyto(self._crops.host[slot], request.crop)
            self._codes.write(slot, request.edit)
        self._start[mode]()()
        # The pose pass writes the encoder's maps of every slot into the pose generator.
        if mode is Mode.BOTH:
            self._forget_maps("pose")
        # Copies: the next batch overwrites the buffer while sessions still read their pictures.
        return {slot: self._result.host[slot].copy() for slot in group}

    def _enter(self, slot: int, request: SlotRequest) -> None:
        """Load the portrait's codes and maps into the slot, where others are there."""
        features, branch = request.features, FIRST[request.mode]
        if self._entered.get(slot) is not features:
            self._codes.enter(slot, features)
            self._entered[slot] = features
        if request.neutral is not None:
            self._codes.set_neutral(slot, request.neutral)
        if self._holds.get((branch, slot)) is not features:
            own = self._networks[f"{branch}_generator"].inputs
            self._gpu.on_stream(lambda: _fill(own, slot, portrait_maps(features)))
            self._gpu.record_event()()
            self._holds[branch, slot] = features

    def _forget_maps(self, branch: str) -> None:
        """Forget a generator's maps: the pose pass has overwritten them."""
        for slot in range(self.slots):
            self._holds.pop((branch, slot), None)

    def _captured(self, mode: Mode) -> CapturedGraph:
        return CapturedGraph(self._gpu, lambda: self._work(mode))

    def _work(self, mode: Mode) -> None:
        first = self._networks[f"{FIRST[mode]}_generator"]
        self._crops.enqueue()
        self._codes.enqueue_numbers()
        self._crop()
        self._networks["motion_encoder"].enqueue()
        self._edit(FIRST[mode], first)
        first.enqueue()
        if mode is Mode.BOTH:
            run_pose_pass(self._networks, self._codes)
        last = self._networks["pose_generator"] if mode is Mode.BOTH else first
        self._show(last.outputs["image"])

    def _crop(self) -> None:
        from mimicam.kernels.crop_normalize import crop_normalize

        crop_normalize(self._crops.target, self._codes.matrices, out=self._cut)
        self._networks["motion_encoder"].inputs["image"].copy_(self._cut)

    def _edit(self, branch: str, first: BoundNetwork) -> None:
        read = self._networks["motion_encoder"].outputs
        self._codes.enqueue(read["expression_code"], read["pose_code"])
        self._codes.add_to(self._codes.latent, branch, target=first.inputs["latent"])

    def _show(self, image: torch.Tensor) -> None:
        grey = ((image.float().clamp(-1, 1) + 1) * 127.5).round()
        self._result.source.copy_(grey.permute(0, 2, 3, 1))
        self._result.enqueue()


def _fill(own: Mapping[str, torch.Tensor], slot: int, maps: Mapping[str, np.ndarray]) -> None:
    import torch

    for name, array in maps.items():
        own[name][slot].copy_(torch.from_numpy(np.ascontiguousarray(array[0])))
