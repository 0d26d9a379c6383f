"""One DPE model on one GPU for several sessions. Frames that arrive within a deadline are drawn as
one batch.

A thread of its own runs the batches. Each session has a slot, which keeps its portrait, its neutral
and its filter state.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.networks import ModelInfo
from mimicam.engine.concurrency.batching import Batcher
from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of
from mimicam.engine.models.base import Features, LatentCodes, check_own
from mimicam.engine.models.dpe.gpu.device_reenactor import DeviceReenactor
from mimicam.engine.models.dpe.gpu.slots import SlotRequest, SlotStep
from mimicam.engine.models.dpe.model import portrait_codes
from mimicam.engine.models.frame_graph import FrameRequest
from mimicam.engine.stages.surroundings import OutputCanvas
from mimicam.engine.types import Image, Mode

if TYPE_CHECKING:
    from mimicam.engine.backends.cuda.networks import Engine

_log = logging.getLogger(__name__)

_ANSWER_S = 30.0
"""Seconds. A batch takes milliseconds; after this long the GPU hangs."""


class SharedModel:
    """Assigns slots to sessions. Thread-safe."""

    def __init__(self, step: SlotStep, info: ModelInfo, *, wait_s: float) -> None:
        """Start the thread.

        Args:
            step: has one slot per session; only this object calls it from now on.
            info: describes the weights.
            wait_s: seconds that a frame waits at most for the others.
        """
        self.slots, self.info = step.slots, info
        self._batcher: Batcher[SlotRequest, Image] = Batcher(step, most=step.slots, wait_s=wait_s)
        # No session yet: a batch waits for as many frames as sessions are expected.
        self._batcher.expect(0)
        self._free = list(range(step.slots))
        self._lock = threading.Lock()
        # One thread owns the GPU's stream. Sessions only wait for its results.
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    def session(self) -> SlotModel:
        """Take a free slot, as a model for one session.

        Raises:
            EngineError: every slot is taken.
        """
        with self._lock:
            if not self._free:
                raise EngineError(f"the GPU's batch holds {self.slots} sessions: raise --max-calls")
            return SlotModel(self._batcher, self._free.pop(0), self)

    def expect(self, sessions: int) -> None:
        """Set how many sessions run. A batch with all of their frames waits no longer."""
        self._batcher.expect(sessions)

    def close(self) -> None:
        """End the thread. Waiting frames end with `Closed`."""
        self._batcher.close()
        self._thread.join(_ANSWER_S)

    def _run(self) -> None:
        try:
            self._batcher.run()
        except Exception as error:  # the thread's top; the batcher hands it to every session, which raises it
            _log.error("no more batches: %s", error)


class SlotModel:
    """One session's share of a batch; see `engine.models.base.CodedModel`. Portraits are enrolled
    with another model."""

    modes: tuple[Mode, ...] = (Mode.EXP, Mode.POSE, Mode.BOTH)
    native_size, smooth_recordings = True, False
    has_blendshapes = False

    def __init__(self, batcher: Batcher[SlotRequest, Image], slot: int, shared: SharedModel) -> None:
        info = shared.info
        self._graph = SlotFrames(batcher, slot)
        self.name, self.sha256, self.size = info.name, info.sha256, info.size
        self.backend = f"{info.backend}, batches of up to {shared.slots}"

    def reenactor(self, *, smooth: bool, previous: Any = None) -> DeviceReenactor:  # noqa: ARG002 - never swapped
        """See `engine.models.base.LiveModel.reenactor`."""
        return DeviceReenactor(self, self._graph, smooth=smooth)

    def own_codes(self, features: Features) -> LatentCodes:
        """See `engine.models.base.CodedModel.own_codes`."""
        check_own(features, self.sha256)
        return portrait_codes(features)


class SlotFrames:
    """See `engine.models.frame_graph.FrameGraph`. It waits for its batch."""

    wants_crop = True

    def __init__(self, batcher: Batcher[SlotRequest, Image], slot: int) -> None:
        self._batcher, self._slot = batcher, slot
        self._features: Features | None = None
        self._neutral: LatentCodes | None = None

    def enter(self, features: Features, canvas: OutputCanvas) -> None:  # noqa: ARG002 - pasted by the session
        """See `engine.models.frame_graph.FrameGraph`."""
        self._features = features

    def set_neutral(self, codes: LatentCodes) -> None:
        """See `engine.models.frame_graph.FrameGraph`."""
        self._neutral = codes

    def __call__(self, frame: FrameRequest) -> Image:
        """See `engine.models.frame_graph.FrameGraph`.

        Raises:
            EngineError: the GPU does not answer.
            Closed: the server stops.
        """
        assert self._features is not None, "enter a portrait first"
        request = SlotRequest(
            crop=frame.image, features=self._features, mode=frame.mode, edit=frame.edit, neutral=self._neutral
        )
        # Sent once: the slot keeps it on the device.
        self._neutral = None
        try:
            return self._batcher.submit(self._slot, request).result(_ANSWER_S)
        except TimeoutError:
            raise EngineError(
                f"the GPU did not answer for {_ANSWER_S:g} s: restart mimicam, or use --batch-ms 0"
            ) from None


def share_half(path: Path, engine: Engine, *, slots: int, wait_s: float) -> SharedModel:
    """Open weights in PyTorch in half precision, for ``slots`` sessions.

    Raises:
        EngineError: what it needs is missing.
    """
    from mimicam.engine.backends.cuda.device import CudaGpu
    from mimicam.engine.backends.cuda.networks import half_info, prepare_kernels
    from mimicam.engine.models.dpe.gpu.networks import torch_networks
    from mimicam.engine.models.dpe.half_parts import Form
    from mimicam.engine.models.dpe.torch_model import load_folded

    gpu = CudaGpu()
    prepare_kernels(gpu)
    # The batch is part of the networks' shapes: slots without a frame compute and are ignored.
    folded = load_folded(path)
    networks = torch_networks(folded, Form(fused=engine == "compile"), gpu, engine=engine, batch=slots)
    info = half_info(path.name, sha256_of(path), folded.config.size, engine=engine, gpu=gpu)
    return SharedModel(SlotStep(networks, gpu), info, wait_s=wait_s)


def share_plans(folder: Path, *, slots: int, wait_s: float) -> SharedModel:
    """Open an export on TensorRT, for ``slots`` sessions. Plans for a batch are built first where
    there are none.

    Raises:
        EngineError: what it needs is missing.
    """
    from mimicam.engine.backends.cuda.device import CudaGpu
    from mimicam.engine.backends.cuda.networks import prepare_kernels
    from mimicam.engine.backends.tensorrt.api import find_tensorrt
    from mimicam.engine.backends.tensorrt.network import describe_backend
    from mimicam.engine.backends.tensorrt.plan_cache import PlanCache
    from mimicam.engine.models.dpe.gpu.networks import plan_networks

    gpu = CudaGpu()
    prepare_kernels(gpu)
    api, manifest = find_tensorrt(gpu), export_folder.read_manifest(folder)
    _log.warning("plans for batches of %d are built at the first start: seconds to minutes", slots)
    networks = plan_networks(folder, api, gpu, PlanCache(), batch=slots)
    info = manifest.info("encoder", describe_backend(api, manifest, gpu))
    return SharedModel(SlotStep(networks, gpu), info, wait_s=wait_s)
