"""Codes and their filter state on a device, for one session or for the slots of a batch
(`kernels.edit_codes`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimicam.engine.backends.cuda.device import Gpu, Upload
from mimicam.engine.models.base import Features, LatentCodes
from mimicam.engine.models.dpe.model import portrait_codes
from mimicam.engine.models.frame_graph import IDENTITY, CodeUpdate
from mimicam.engine.types import Float

if TYPE_CHECKING:
    from torch import Tensor

_NEUTRAL = 2
"""Row of the neutral in `kernels.edit_codes.PAST`."""


class CodeState:
    """Keeps its device addresses, so that captured steps stay valid. One thread."""

    def __init__(self, gpu: Gpu, slots: int, latent: int) -> None:
        """Allocate the device memory.

        Args:
            gpu: device that holds it.
            slots: number of sessions.
            latent: number of values of a code.
        """
        import torch

        from mimicam.kernels.edit_codes import FIELDS, PAST

        self._gpu, self._slots, self._fields = gpu, slots, len(FIELDS)
        self._names = FIELDS[1:]  # without ``active``, which belongs to the slot
        D = 2 * latent
        # Numbers and matrices (2 x 3 = 6) in one block: one copy a frame instead of two.
        self._numbers = Upload(gpu, gpu.empty((slots * (self._fields + 6),), torch.float32))
        self._numbers.host[:] = 0
        self._past = gpu.empty((slots, PAST, D), torch.float32)
        self._unit = gpu.empty((slots,), torch.float32)
        self._own, self.out = (gpu.empty((slots, D), torch.float32) for _ in range(2))
        self._codes = [gpu.empty((slots, latent), torch.float32) for _ in range(2)]
        self.latent = gpu.empty((slots, latent), torch.float32)
        """The portraits' own latents, ``[N, L]``."""
        self.matrices = self._numbers.target[slots * self._fields :].view(slots, 2, 3)
        """``image_from_crop`` of each slot, ``[N, 2, 3]``."""
        self._matrices = self._numbers.host[slots * self._fields :].reshape(slots, 2, 3)
        self._matrices[:] = IDENTITY
        # A unit of 1, not 0: the kernel divides by it also in slots that have seen no frame.
        self._set((self._past, np.zeros(1, np.float32)), (self._unit, np.ones(1, np.float32)))

    def enter(self, slot: int, features: Features) -> None:
        """Load a portrait's latent and codes into a slot. Call it between frames."""
        codes, latent = portrait_codes(features), np.asarray(features.arrays["latent"][0], np.float32)
        own = np.concatenate([codes.expression, codes.pose])
        self._set((self.latent[slot], latent), (self._own[slot], own))

    def set_neutral(self, slot: int, codes: LatentCodes) -> None:
        """Make these codes a slot's neutral. Call it between frames."""
        both = np.concatenate([codes.expression, codes.pose])
        self._set((self._past[slot, _NEUTRAL], both))

    def write(self, slot: int, edit: CodeUpdate, image_from_crop: Float = IDENTITY) -> None:
        """Set the next run's update of a slot. Slots without one stay as they are."""
        row = self._numbers.host[slot * self._fields : (slot + 1) * self._fields]
        row[0], row[1:] = 1.0, edit.numbers(self._names)
        self._matrices[slot] = image_from_crop

    def clear(self) -> None:
        """Clear the updates of all slots."""
        # ``active``, the first number of each slot: such slots keep their state.
        self._numbers.host[: self._slots * self._fields : self._fields] = 0

    def enqueue_numbers(self) -> None:
        """Queue the upload of updates and matrices."""
        self._numbers.enqueue()

    def enqueue(self, expression_NL: Tensor, pose_NL: Tensor) -> None:
        """Queue the update of the encoder's codes. The result is in ``out``, ``[N, D]``."""
        from mimicam.kernels.edit_codes import edit_codes

        # The kernel reads contiguous float32; the copies are part of the captured step.
        codes = [_plain(v, own) for v, own in zip((expression_NL, pose_NL), self._codes, strict=True)]
        numbers = self._numbers.target[: self._slots * self._fields].view(self._slots, self._fields)
        edit_codes(codes[0], codes[1], self._own, numbers, self._past, self._unit, out=self.out)

    def add_to(self, latent_NL: Tensor, branch: str, *, target: Tensor) -> None:
        """Queue ``target = latent + the branch's edited code``."""
        import torch

        L = self.latent.shape[1]
        code = self.out[:, :L] if branch == "expression" else self.out[:, L:]
        torch.add(latent_NL, code, out=target)

    def _set(self, *pairs: tuple[Tensor, Float]) -> None:
        import torch

        def work() -> None:
            for target, value in pairs:
                target.copy_(torch.from_numpy(np.ascontiguousarray(value)).expand_as(target))

        # Outside of the graph and waited for: the arrays may be freed when this returns.
        self._gpu.on_stream(work)
        self._gpu.record_event()()


def _plain(value: Tensor, own: Tensor) -> Tensor:
    """Convert codes to what the kernel reads. A plan may return them in half precision."""
    return value if value.dtype == own.dtype and value.is_contiguous() else own.copy_(value)
