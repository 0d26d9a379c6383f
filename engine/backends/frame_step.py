"""A whole frame of the published preset as one CUDA graph: camera picture in, result in the sink's pixels out.

upload -> crop -> motion encoder -> edit -> generator (both: encoder and generator again) -> paste -> download

The host writes one picture and one block of numbers, starts the graph, and waits for that frame's own event. What the
tracker finds (where the face is) comes in as a matrix; what the person sets (gains, neutral) as numbers: neither makes
a new graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.backends.cuda_gpu import Download, Gpu, Step, Upload
from engine.backends.gpu_networks import FixedNetwork, copy_all
from engine.backends.model import Features, LatentCodes
from engine.types import Float, Image, Mode

if TYPE_CHECKING:
    from torch import Tensor

    from kernels._pixels import Pixels

_MOST_PORTRAITS = 9
"""As many as there are keys for them; 15 MB each in half precision."""
_FIRST = {Mode.EXP: "expression", Mode.POSE: "pose", Mode.BOTH: "expression"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """Where the generated face goes, the same for every frame of a portrait."""

    picture: Image
    """What lies around the face, RGB uint8 ``[H, W, 3]``."""
    mask: Float
    """Opacity of the face, 0 to 1, ``[S, S]``, 0 on its border."""
    crop_from_image: Float
    """``[2, 3]``: canvas pixels to pixels of the generated face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """What the camera delivers."""

    width: int
    height: int
    pixels: Pixels = "rgb"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture, with a batch of one."""
        if self.pixels in ("rgb", "bgr"):
            return (1, self.height, self.width, 3)
        return (1, self.height * 3 // 2, self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameEdit:
    """``own + gain * (driver - base)`` for each branch; see `engine.stages.picture.PictureEdit`."""

    base: LatentCodes
    """The driver's neutral; the portrait's own codes where motion is absolute."""
    expression_gain: float = 1.0
    pose_gain: float = 1.0


class FrameStep:
    """One session's frames in one mode. One thread, one stream, one portrait at a time."""

    def __init__(
        self,
        networks: Mapping[str, FixedNetwork],
        gpu: Gpu,
        *,
        mode: Mode,
        camera: Camera,
        canvas: Canvas,
        pixels: Pixels = "rgb",
        graph: bool = True,
    ) -> None:
        """Take memory, connect the networks, capture.

        Args:
            networks: as `engine.backends.gpu_networks` opens them; this session's own.
            gpu: whose stream they run on.
            mode: another mode is another step, on other networks: sharing rebinds their inputs.
            camera: what frames look like.
            canvas: where the face goes.
            pixels: what the sink wants.
            graph: False queues every kernel anew: slower, and what a profiler reads more easily.

        Raises:
            KernelBuildError: a kernel does not compile on this machine.
        """
        import torch

        self._networks, self._gpu, self._mode = networks, gpu, mode
        self._camera, self._pixels = camera, pixels
        self._frame = Upload(gpu, gpu.empty(camera.shape, torch.uint8))
        L = int(self._first.inputs["latent"].shape[1])
        self._numbers = Upload(gpu, gpu.empty((8 + 2 * L,), torch.float32))
        self._canvas = _moved(gpu, np.ascontiguousarray(canvas.picture)[None], torch.uint8)
        self._mask = _moved(gpu, canvas.mask, torch.float32)
        self._paste = _moved(gpu, canvas.crop_from_image[None], torch.float32)
        self._colour = gpu.empty((1, 3, 2), torch.float32).fill_(127.5)
        height, width = canvas.picture.shape[:2]
        shape = (1, height, width, 3) if pixels in ("rgb", "bgr") else (1, height * 3 // 2, width)
        self._result = Download(gpu, gpu.empty(shape, torch.uint8))
        encoder = networks["motion_encoder"]
        image = encoder.inputs["image"]
        self._cut = gpu.empty(tuple(image.shape), image.dtype)
        self._codes = [Download(gpu, encoder.outputs[f"{name}_code"]) for name in ("expression", "pose")]
        self._connect()
        self.stages = self._stages()
        """By name, in order; benchmarks time them one by one."""
        self._portraits: dict[int, tuple[Features, list[Tensor]]] = {}
        self._features: Features | None = None
        if graph:
            self._start: Callable[[], Callable[[], None]] = Step(gpu, self._work)
        else:
            self._start = self._queued

    def enter(self, features: Features) -> None:
        """Use a portrait, whose latent, codes and maps stay on the GPU from then on.

        Raises:
            ValueError: its maps are not this model's.
        """
        resident = self._resident(features)
        own = list(self._first.inputs.values())
        if len(own) != len(resident):
            raise ValueError("features must hold a latent and the maps of this model")
        copy_all(self._gpu, list(zip(own[1:], resident[1:], strict=True)))
        self._features = features

    def __call__(
        self, frame: Image, image_from_crop: Float, edit: FrameEdit
    ) -> Callable[[], tuple[Image, LatentCodes]]:
        """Queue one frame. Returns before the GPU has done it.

        Args:
            frame: the camera's, in its pixels.
            image_from_crop: ``[2, 3]``: pixels of the network's input to pixels of the frame.
            edit: gains and neutral.

        Returns:
            Waits for this frame alone; then the result, ``[H, W, 3]`` or planes, and the driver's codes. Both are
            buffers that the next frame overwrites: call it before the next frame starts.
        """
        assert self._features is not None, "enter a portrait first"
        np.copyto(self._frame.host[0], frame)
        self._write_numbers(image_from_crop, edit, self._features)
        wait = self._start()

        def finish() -> tuple[Image, LatentCodes]:
            wait()
            expression, pose = (code.host[0] for code in self._codes)
            return self._result.host[0], LatentCodes(expression=expression, pose=pose)

        return finish

    @property
    def _first(self) -> FixedNetwork:
        return self._networks[f"{_FIRST[self._mode]}_generator"]

    def _connect(self) -> None:
        """Both: the picture is encoded again, and the pose generator reads its maps where the encoder leaves them."""
        if self._mode is not Mode.BOTH:
            return
        again, second = self._networks["encoder"], self._networks["pose_generator"]
        for name in second.inputs:
            if name != "latent":
                second.share(name, again.outputs[name])

    def _stages(self) -> dict[str, Callable[[], None]]:
        """What the GPU does for a frame, in order; ``both`` encodes and generates again within ``generate``."""
        return {
            "upload": self._upload,
            "crop": self._crop,
            "encode": self._networks["motion_encoder"].enqueue,
            "edit": self._edit,
            "generate": self._generate,
            "paste": self._paste_back,
            "download": self._download,
        }

    def _work(self) -> None:
        for stage in self.stages.values():
            stage()

    def _upload(self) -> None:
        self._frame.enqueue()
        self._numbers.enqueue()

    def _crop(self) -> None:
        from kernels.crop_normalize import crop_normalize

        matrix = self._numbers.target[:6].view(1, 2, 3)
        crop_normalize(self._frame.target, matrix, out=self._cut, pixels=self._camera.pixels)
        self._networks["motion_encoder"].inputs["image"].copy_(self._cut)

    def _edit(self) -> None:
        """``offset + gain * code``: everything else was added up on the host."""
        import torch

        name = _FIRST[self._mode]
        code, latent = self._networks["motion_encoder"].outputs[f"{name}_code"], self._first.inputs["latent"]
        torch.addcmul(self._offset(name), code, self._gain(name), out=latent)

    def _generate(self) -> None:
        self._first.enqueue()
        if self._mode is not Mode.BOTH:
            return
        # Equations 6 and 7: the picture is encoded again, and its own latent gets the pose.
        again, second = self._networks["encoder"], self._networks["pose_generator"]
        again.inputs["image"].copy_(self._first.outputs["image"])
        again.enqueue()
        latent, code = second.inputs["latent"], self._networks["motion_encoder"].outputs["pose_code"]
        latent.copy_(again.outputs["latent"])
        latent.add_(self._offset("pose")).addcmul_(code, self._gain("pose"))
        second.enqueue()

    def _paste_back(self) -> None:
        from kernels.paste_back import paste_back

        last = self._networks["pose_generator"] if self._mode is Mode.BOTH else self._first
        face = last.outputs["image"].contiguous()
        inputs = (self._canvas, face, self._mask, self._paste, self._colour)
        paste_back(*inputs, out=self._result.source, pixels=self._pixels)

    def _download(self) -> None:
        self._result.enqueue()
        for code in self._codes:
            code.enqueue()

    def _offset(self, name: str) -> Tensor:
        L = (len(self._numbers.host) - 8) // 2
        start = 8 if name == "expression" else 8 + L
        return self._numbers.target[start : start + L][None]

    def _gain(self, name: str) -> Tensor:
        at = 6 if name == "expression" else 7
        return self._numbers.target[at : at + 1]

    def _queued(self) -> Callable[[], None]:
        self._gpu.queue(self._work)
        return self._gpu.mark()

    def _write_numbers(self, image_from_crop: Float, edit: FrameEdit, features: Features) -> None:
        latent, expression, pose = (np.asarray(a[0], np.float32) for a in features.arrays[:3])
        L, host = len(latent), self._numbers.host
        host[:6] = np.asarray(image_from_crop, np.float32).ravel()
        host[6], host[7] = edit.expression_gain, edit.pose_gain
        host[8 : 8 + L] = latent + expression - edit.expression_gain * edit.base.expression
        host[8 + L :] = pose - edit.pose_gain * edit.base.pose
        if self._mode is Mode.POSE:
            host[8 + L :] += latent

    def _resident(self, features: Features) -> list[Tensor]:
        """Latent and maps on the GPU, in the networks' types; brought there once a portrait."""
        import torch

        kept = self._portraits.get(id(features))
        if kept is None:
            latent, _, _, *maps = features.arrays
            own = self._first.inputs.values()
            tensors: list[Tensor] = []

            def move() -> None:
                for mine, array in zip(own, (latent, *maps), strict=True):
                    tensors.append(
                        torch.empty_like(mine).copy_(torch.from_numpy(np.ascontiguousarray(array)))
                    )

            self._gpu.queue(move)
            self._gpu.mark()()
            kept = self._portraits[id(features)] = (features, tensors)
            while len(self._portraits) > _MOST_PORTRAITS:
                del self._portraits[next(iter(self._portraits))]
        return kept[1]


def _moved(gpu: Gpu, array: np.ndarray, dtype: object) -> Tensor:
    import torch

    assert isinstance(dtype, torch.dtype)
    target = gpu.empty(array.shape, dtype)
    copy_all(gpu, [(target, torch.from_numpy(np.ascontiguousarray(array)).to(dtype))])
    gpu.mark()()
    return target
