"""One session of DPE on one GPU stream; see `engine.models.frame_graph.FrameGraph`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mimicam.engine.backends.cuda.device import Gpu
from mimicam.engine.backends.cuda.networks import BoundNetwork, InputCache
from mimicam.engine.models.base import Features, LatentCodes
from mimicam.engine.models.dpe.gpu.code_state import CodeState
from mimicam.engine.models.dpe.gpu.mode_graph import FIRST, CameraInput, FrameSize, ModeGraph, OutputSurface
from mimicam.engine.models.dpe.model import portrait_maps
from mimicam.engine.models.frame_graph import FrameRequest
from mimicam.engine.stages.surroundings import OutputCanvas
from mimicam.engine.types import Image, Mode

if TYPE_CHECKING:
    from torch import Tensor

_MOST_PORTRAITS = 9
"""Portraits on the device. As many as there are keys for them; each takes 15 MB in half
precision."""


class ResidentPortraits:
    """Keeps portraits' maps on the device, in the networks' type. The least recently used is
    dropped first."""

    def __init__(self, generator: BoundNetwork, gpu: Gpu) -> None:
        """``generator``: any of the model's. Its inputs define the maps' shapes and types."""
        self._like = {name: value for name, value in generator.inputs.items() if name != "latent"}
        self._gpu = gpu
        # By identity, with the features kept alive beside it, so that no other object gets the same
        # id.
        self._kept: dict[int, tuple[Features, dict[str, Tensor]]] = {}

    def maps(self, features: Features) -> dict[str, Tensor]:
        """Return a portrait's maps by input name. They are uploaded once.

        Raises:
            ValueError: its maps are not this model's.
        """
        # Popped and put back: the dictionary's order is the order of use.
        kept = self._kept.pop(id(features), None) or (features, self._moved(features))
        self._kept[id(features)] = kept
        while len(self._kept) > _MOST_PORTRAITS:
            del self._kept[next(iter(self._kept))]
        return kept[1]

    def _moved(self, features: Features) -> dict[str, Tensor]:
        import torch

        maps = portrait_maps(features)
        wanted = {name: tuple(value.shape) for name, value in self._like.items()}
        if {name: array.shape for name, array in maps.items()} != wanted:
            raise ValueError("features must hold the maps of this model")
        tensors: dict[str, Tensor] = {}

        def move() -> None:
            for name, like in self._like.items():
                array = np.ascontiguousarray(maps[name])
                tensors[name] = torch.empty_like(like).copy_(torch.from_numpy(array))

        self._gpu.on_stream(move)
        self._gpu.record_event()()
        return tensors


class DpeFrameGraph:
    """See `engine.models.frame_graph.FrameGraph`. All modes are captured with the first frame: keys
    cost nothing."""

    wants_crop = False

    def __init__(
        self,
        networks: Mapping[str, BoundNetwork],
        gpu: Gpu,
        inputs: InputCache,
        portraits: ResidentPortraits,
    ) -> None:
        """Allocate the session's device memory.

        Args:
            networks: the model's, by name.
            gpu: whose stream they run on.
            inputs: tracks what their inputs hold; shared by all that run them.
            portraits: the model's resident portraits; shared in the same way.
        """
        self._networks, self._gpu = networks, gpu
        self._inputs, self._portraits = inputs, portraits
        latent = int(networks["pose_generator"].inputs["latent"].shape[1])
        self._codes = CodeState(gpu, 1, latent)
        self._surface: OutputSurface | None = None
        self._shown: tuple[Features, OutputCanvas] | None = None
        self._camera: CameraInput | None = None
        self._steps: dict[tuple[Mode, bool], ModeGraph] = {}

    def enter(self, features: Features, canvas: OutputCanvas) -> None:
        """See `engine.models.frame_graph.FrameGraph`."""
        if self._shown is not None and self._shown[0] is features and self._shown[1] is canvas:
            return
        self._codes.enter(0, features)
        if self._surface is not None and self._surface.fits(canvas):
            self._surface.show(canvas)
        else:
            # Another size has other addresses, so all graphs are captured again.
            self._surface = OutputSurface(self._gpu, canvas)
            self._steps.clear()
        self._shown = (features, canvas)

    def set_neutral(self, codes: LatentCodes) -> None:
        """See `engine.models.frame_graph.FrameGraph`."""
        self._codes.set_neutral(0, codes)

    def __call__(self, frame: FrameRequest) -> Image:
        """See `engine.models.frame_graph.FrameGraph`."""
        assert self._shown is not None, "enter a portrait first"
        step = self._step(frame)
        first = f"{FIRST[frame.mode]}_generator"
        # Before the graph starts: these copies are not part of it, since they are rare.
        self._inputs.give(first, self._portraits.maps(self._shown[0]))
        # Queued now, waited for in `finish`: the host notes what the graph overwrites meanwhile.
        finish = step(frame.image, frame.edit, frame.image_from_crop)
        self._inputs.overwritten(first, "latent")
        if frame.mode is Mode.BOTH:
            self._inputs.overwritten("pose_generator")
        return finish()

    def _step(self, frame: FrameRequest) -> ModeGraph:
        seen = frame.image is not None
        if frame.image is not None:
            self._fit_camera(frame.image)
        if (frame.mode, seen) not in self._steps:
            # A capture runs the work a few times first, which must not count as frames.
            self._codes.clear()
            self._inputs.overwritten("expression_generator", "latent")
            self._inputs.overwritten("pose_generator")
            for mode in Mode:
                self._steps[mode, seen] = self._captured(mode, seen)
        return self._steps[frame.mode, seen]

    def _fit_camera(self, image: Image) -> None:
        """Allocate for pictures of this size. Another size is captured again."""
        size = FrameSize(width=image.shape[1], height=image.shape[0])
        if self._camera is None or self._camera.size != size:
            self._camera = CameraInput(self._gpu, size, self._networks["motion_encoder"])
            for mode in Mode:
                self._steps.pop((mode, True), None)

    def _captured(self, mode: Mode, seen: bool) -> ModeGraph:
        assert self._surface is not None, "entered before"
        return ModeGraph(
            self._networks, self._gpu, mode=mode, camera=self._camera if seen else None,
            codes=self._codes, surface=self._surface,
        )  # fmt: skip
