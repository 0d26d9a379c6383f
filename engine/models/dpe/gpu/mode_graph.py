"""One frame of DPE as one CUDA graph: camera picture in, result as RGB bytes out.

    upload -> crop -> motion encoder -> edit -> generator (both: encoder and generator again) ->
    paste -> download

The host writes one picture and one block of numbers, replays the graph, and waits for that frame's
own event.

The tracker's result comes in as a matrix. Settings and the frames' times come in as numbers.
Smoothed codes and the neutral stay on the device. So no frame needs a new graph. Without a camera
the step draws the portrait at rest, or easing to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimicam.engine.backends.cuda.device import CapturedGraph, Download, Gpu, Upload
from mimicam.engine.backends.cuda.networks import BoundNetwork, copy_all
from mimicam.engine.models.dpe.gpu.code_state import CodeState
from mimicam.engine.models.frame_graph import IDENTITY, CodeUpdate
from mimicam.engine.stages.surroundings import OutputCanvas
from mimicam.engine.types import Float, Image, Mode

if TYPE_CHECKING:
    from torch import Tensor

FIRST = {Mode.EXP: "expression", Mode.POSE: "pose", Mode.BOTH: "expression"}
"""Branch that reads the portrait's maps, by mode."""


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
    """Memory for the picture around the face and for the result. It keeps its device addresses."""

    def __init__(self, gpu: Gpu, canvas: OutputCanvas) -> None:
        """Allocate memory for canvases of this size."""
        import torch

        self._gpu, self.key = gpu, (canvas.picture.shape, canvas.mask.shape)
        self._picture = gpu.empty((1, *canvas.picture.shape), torch.uint8)
        self._mask = gpu.empty(canvas.mask.shape, torch.float32)
        self._matrix = gpu.empty((1, 2, 3), torch.float32)
        self.result = Download(gpu, gpu.empty(tuple(self._picture.shape), torch.uint8))
        self.show(canvas)

    def fits(self, canvas: OutputCanvas) -> bool:
        """Whether a canvas has this surface's size."""
        return self.key == (canvas.picture.shape, canvas.mask.shape)

    def show(self, canvas: OutputCanvas) -> None:
        """Upload what surrounds the face. Call it between frames."""
        import torch

        values = (canvas.picture[None], canvas.mask, canvas.crop_from_image[None])
        targets = (self._picture, self._mask, self._matrix)
        pairs = [(t, torch.from_numpy(np.ascontiguousarray(v))) for t, v in zip(targets, values, strict=True)]
        copy_all(self._gpu, pairs)
        self._gpu.record_event()()

    def paste(self, face_13SS: Tensor) -> None:
        """Queue the blend of a face into the picture."""
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
        """Queue the crop of the face into the motion encoder's input."""
        from mimicam.kernels.crop_normalize import crop_normalize

        crop_normalize(self.frame.target, image_from_crop, out=self._cut)
        # The kernel writes contiguous memory; the network's input may be channels last.
        self._image.copy_(self._cut)


class ModeGraph:
    """Draws frames in one mode. One thread, one stream. Other code fills the generators' maps."""

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
            camera: memory for the driver's pictures; None: no face is tracked.
            codes: the session's, with one slot; graphs of other modes share it.
            surface: the session's; graphs of other modes share it.
            graph: False queues each kernel by itself, for measurements and profilers.

        Raises:
            KernelBuildError: a kernel does not compile on this machine.
        """
        self._networks, self._gpu, self._mode = networks, gpu, mode
        self._camera, self._codes, self._surface = camera, codes, surface
        self.stages = self._stages()
        """Stages by name, in order. Benchmarks time them one by one."""
        if graph:
            self._start: Callable[[], Callable[[], None]] = CapturedGraph(gpu, self._work)
        else:
            self._start = self._queued

    def __call__(
        self, frame: Image | None, edit: CodeUpdate, image_from_crop: Float = IDENTITY
    ) -> Callable[[], Image]:
        """Queue one frame. Returns before the GPU has done it.

        Args:
            frame: the camera's, RGB; None where the graph has no camera.
            edit: update of the codes.
            image_from_crop: ``[2, 3]``: pixels of the network's input to pixels of the frame.

        Returns:
            A function that waits for this frame alone and returns the result, ``[H, W, 3]``. The
            next frame overwrites that buffer, so call it before the next frame starts.
        """
        if self._camera is not None:
            np.copyto(self._camera.frame.host[0], frame)  # type: ignore[arg-type]
        # Pinned memory: the graph reads it, so nothing may be written here before the wait below.
        self._codes.write(0, edit, image_from_crop)
        wait = self._start()

        def finish() -> Image:
            wait()
            picture: Image = self._surface.result.host[0]
            return picture

        return finish

    def repeat(self) -> None:
        """Repeat the last frame, from pinned memory to pinned memory, and wait for it. This is the
        GPU's part."""
        self._start()()

    @property
    def _first(self) -> BoundNetwork:
        return self._networks[f"{FIRST[self._mode]}_generator"]

    def _stages(self) -> dict[str, Callable[[], None]]:
        """List the GPU's stages of a frame, in order. ``both`` encodes and generates again within
        ``generate``."""
        # Insertion order is the order of execution within the graph.
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
        # In `both` the pose pass draws last; otherwise the only branch does.
        last = self._networks["pose_generator"] if self._mode is Mode.BOTH else self._first
        self._surface.paste(last.outputs["image"])

    def _queued(self) -> Callable[[], None]:
        self._gpu.on_stream(self._work)
        return self._gpu.record_event()


def run_pose_pass(networks: Mapping[str, BoundNetwork], codes: CodeState) -> None:
    """Queue the second half of ``both`` (equations 6 and 7): encode the picture again and add the
    pose code to its latent."""
    again, second = networks["encoder"], networks["pose_generator"]
    again.inputs["image"].copy_(networks["expression_generator"].outputs["image"])
    again.enqueue()
    # The intermediate picture brings its own maps; the portrait's are overwritten by them.
    for name, own in second.inputs.items():
        if name != "latent":
            own.copy_(again.outputs[name])
    codes.add_to(again.outputs["latent"], "pose", target=second.inputs["latent"])
    second.enqueue()
