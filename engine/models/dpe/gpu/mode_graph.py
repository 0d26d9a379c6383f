"""A whole frame of the published preset as one CUDA graph: camera picture in, result in the sink's pixels out.

upload -> crop -> motion encoder -> edit -> generator (both: encoder and generator again) -> paste -> download

The host writes one picture and one block of numbers, starts the graph, and waits for that frame's own event. What the
tracker finds (where the face is) comes in as a matrix, what the person sets and the frames' times as numbers; smoothed codes
and the neutral stay on the device: nothing of it makes a new graph. Without a camera the step shows the portrait without a
driver: at rest, or easing to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimicam.engine.backends.cuda.device import CapturedGraph, Download, Gpu, Upload
from mimicam.engine.backends.cuda.networks import BoundNetwork, copy_all
from mimicam.engine.models.dpe.gpu.code_state import CodeState
from mimicam.engine.models.frame_graph import IDENTITY, Canvas, CodeUpdate
from mimicam.engine.types import Float, Image, Mode

if TYPE_CHECKING:
    from torch import Tensor

FIRST = {Mode.EXP: "expression", Mode.POSE: "pose", Mode.BOTH: "expression"}
"""The branch that reads the portrait's maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSize:
    """Size of the driver's pictures, RGB uint8."""

    width: int
    height: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one picture, with a batch of one."""
        return (1, self.height, self.width, 3)


class OutputSurface:
    """What a face is pasted on, in device memory that keeps its addresses, and the result on its way to the host."""

    def __init__(self, gpu: Gpu, canvas: Canvas) -> None:
        """Allocate memory for canvases of this size."""
        import torch

        self._gpu, self.key = gpu, (canvas.picture.shape, canvas.mask.shape)
        self._picture = gpu.empty((1, *canvas.picture.shape), torch.uint8)
        self._mask = gpu.empty(canvas.mask.shape, torch.float32)
        self._matrix = gpu.empty((1, 2, 3), torch.float32)
        self.result = Download(gpu, gpu.empty(tuple(self._picture.shape), torch.uint8))
        self.show(canvas)

    def fits(self, canvas: Canvas) -> bool:
        """Whether a canvas has this size."""
        return self.key == (canvas.picture.shape, canvas.mask.shape)

    def show(self, canvas: Canvas) -> None:
        """Let this be what lies around the face. Between frames."""
        import torch

        values = (canvas.picture[None], canvas.mask, canvas.crop_from_image[None])
        targets = (self._picture, self._mask, self._matrix)
        pairs = [(t, torch.from_numpy(np.ascontiguousarray(v))) for t, v in zip(targets, values, strict=True)]
        copy_all(self._gpu, pairs)
        self._gpu.record_event()()

    def paste(self, face_13SS: Tensor) -> None:
        """Queue the blend."""
        from mimicam.kernels.paste_back import paste_back

        inputs = (self._picture, face_13SS.contiguous(), self._mask, self._matrix)
        paste_back(*inputs, out=self.result.source)


class CameraInput:
    """Memory for the driver's picture and for its crop."""

    def __init__(self, gpu: Gpu, size: FrameSize, encoder: BoundNetwork) -> None:
        import torch

        self.size, image = size, encoder.inputs["image"]
        self.frame = Upload(gpu, gpu.empty(size.shape, torch.uint8))
        self._cut, self._image = gpu.empty(tuple(image.shape), image.dtype), image

    def crop(self, image_from_crop: Tensor) -> None:
        """Queue the cut of the face into the motion encoder's input."""
        from mimicam.kernels.crop_normalize import crop_normalize

        crop_normalize(self.frame.target, image_from_crop, out=self._cut)
        self._image.copy_(self._cut)


class ModeGraph:
    """Frames in one mode. One thread, one stream. The generators' maps are put there by somebody else."""

    def __init__(
        self,
        networks: Mapping[str, BoundNetwork],
        gpu: Gpu,
        *,
        mode: Mode,
        camera: CameraInput | None,
        codes: CodeState,
        surface: OutputSurface,
        graph: bool = True,
    ) -> None:
        """Capture.

        Args:
            networks: as `engine.backends.cuda.networks` opens them.
            gpu: whose stream they run on.
            mode: which branches run.
            camera: what frames look like; None: nobody is seen.
            codes: the session's, with one slot; steps of other modes share it.
            surface: where the face goes; likewise.
            graph: False queues every kernel anew: slower, and what a profiler reads more easily.

        Raises:
            KernelBuildError: a kernel does not compile on this machine.
        """
        self._networks, self._gpu, self._mode = networks, gpu, mode
        self._camera, self._codes, self._surface = camera, codes, surface
        self.stages = self._stages()
        """By name, in order; benchmarks time them one by one."""
        if graph:
            self._start: Callable[[], Callable[[], None]] = CapturedGraph(gpu, self._work)
        else:
            self._start = self._queued

    def __call__(
        self, frame: Image | None, edit: CodeUpdate, image_from_crop: Float = IDENTITY
    ) -> Callable[[], Image]:
        """Queue one frame. Returns before the GPU has done it.

        Args:
            frame: the camera's, in its pixels; None where the step has no camera.
            edit: what becomes of the codes.
            image_from_crop: ``[2, 3]``: pixels of the network's input to pixels of the frame.

        Returns:
            Waits for this frame alone; then the result, ``[H, W, 3]`` or planes: a buffer that the next frame overwrites,
            so call it before the next frame starts.
        """
        if self._camera is not None:
            np.copyto(self._camera.frame.host[0], frame)  # type: ignore[arg-type]
        self._codes.write(0, edit, image_from_crop)
        wait = self._start()

        def finish() -> Image:
            wait()
            picture: Image = self._surface.result.host[0]
            return picture

        return finish

    def repeat(self) -> None:
        """The last frame again, from pinned memory to pinned memory, and wait for it: what the GPU's part takes."""
        self._start()()

    @property
    def _first(self) -> BoundNetwork:
        return self._networks[f"{FIRST[self._mode]}_generator"]

    def _stages(self) -> dict[str, Callable[[], None]]:
        """What the GPU does for a frame, in order; ``both`` encodes and generates again within ``generate``."""
        found: dict[str, Callable[[], None]] = {"upload": self._upload}
        if self._camera is not None:
            found |= {"crop": self._crop, "encode": self._networks["motion_encoder"].enqueue}
        after = {"edit": self._edit, "generate": self._generate, "paste": self._paste_back}
        return found | after | {"download": self._surface.result.enqueue}

    def _work(self) -> None:
        for stage in self.stages.values():
            stage()

    def _upload(self) -> None:
        if self._camera is not None:
            self._camera.frame.enqueue()
        self._codes.enqueue_numbers()

    def _crop(self) -> None:
        assert self._camera is not None, "a stage of steps with a camera"
        self._camera.crop(self._codes.matrices)

    def _edit(self) -> None:
        read = self._networks["motion_encoder"].outputs
        self._codes.enqueue(read["expression_code"], read["pose_code"])
        self._codes.add_to(self._codes.latent, FIRST[self._mode], target=self._first.inputs["latent"])

    def _generate(self) -> None:
        self._first.enqueue()
        if self._mode is Mode.BOTH:
            run_pose_pass(self._networks, self._codes)

    def _paste_back(self) -> None:
        last = self._networks["pose_generator"] if self._mode is Mode.BOTH else self._first
        self._surface.paste(last.outputs["image"])

    def _queued(self) -> Callable[[], None]:
        self._gpu.on_stream(self._work)
        return self._gpu.record_event()


def run_pose_pass(networks: Mapping[str, BoundNetwork], codes: CodeState) -> None:
    """Queue the second half of ``both`` (equations 6 and 7): the picture is encoded again, its own latent gets the pose."""
    again, second = networks["encoder"], networks["pose_generator"]
    again.inputs["image"].copy_(networks["expression_generator"].outputs["image"])
    again.enqueue()
    for name, own in second.inputs.items():
        if name != "latent":
            own.copy_(again.outputs[name])
    codes.add_to(again.outputs["latent"], "pose", target=second.inputs["latent"])
    second.enqueue()
