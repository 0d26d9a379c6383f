"""Turn a driver's codes into offsets of the portrait's latent, on the GPU, between encoder and
generator.

Smoothing is a one-euro filter by the frames' own times (Casiez, Roussel and Vogel, "1 € Filter",
CHI 2012). The driver's neutral and gains follow DPE (CVPR 2023, equations 3 and 4). After a loss
the codes are eased.

The GPU reads each frame's numbers when the kernel runs, so a captured graph uses each new value.
The filter state stays on the device.

Shape letters: N sessions, L values of a code, D = 2 L: expression, then pose.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mimicam.kernels import _launch
from mimicam.kernels._check import Shape, check, check_limits
from mimicam.kernels._launch import Impl

_BLOCK = 256  # THREADS in cuda/edit_codes.cu
_UNIT_MIN = 1e-6

FIELDS = (
    "active", "follow", "fresh", "seconds", "take_neutral", "expression_relative", "pose_relative", "keep",
    "expression_gain", "pose_gain", "expression_share", "pose_share", "cutoff_hz", "beta", "speed_cutoff_hz",
)  # fmt: skip
"""Numbers of one session, in the order of the enumeration in cuda/edit_codes.cu. Those without a
unit are flags (0 or 1), gains or shares."""
PAST = 5
"""Number of rows of a session's state: smoothed codes, their speed (in units of the codes' own
size), the neutral's codes, the codes that easing starts from, the codes shown last."""


def edit_codes(
    expression_NL: Tensor,
    pose_NL: Tensor,
    own_ND: Tensor,
    numbers_NF: Tensor,
    past_N5D: Tensor,
    unit_N: Tensor,
    *,
    out: Tensor,
    impl: Impl = "auto",
) -> Tensor:
    """Update the codes of one frame of each session, and its state.

    A session that is not ``active`` stays as it is. With ``follow`` the driver's codes count, else
    the portrait's own. ``fresh`` restarts the filter. Otherwise it advances by ``seconds``, and
    stands still at 0. ``take_neutral`` makes these codes the neutral.

    The target is ``own + gain * (codes - base)``. The base is the neutral for a branch that is
    ``relative``, else ``own``. ``keep`` makes the codes shown last the start of easing. A share of
    1 shows the target, of 0 the start of easing.

    Args:
        expression_NL: float32 ``[N, L]``, contiguous, as the encoder reads them; so is ``pose_NL``.
        pose_NL: see ``expression_NL``.
        own_ND: the portraits' own codes, float32 ``[N, D]``.
        numbers_NF: float32 ``[N, 15]``: `FIELDS`.
        past_N5D: float32 ``[N, 5, D]``, changed: see `PAST`. Zeros before the first frame.
        unit_N: float32 ``[N]``, changed: size of the codes when smoothing began. Ones before the
            first frame.
        out: receives what is added to the latents, float32 ``[N, D]``.
        impl: see ``Impl``.

    Returns:
        ``out``. On a GPU the work is queued on the current stream, not finished.

    Raises:
        ValueError: a shape, type, layout or device does not fit.
        KernelBuildError: the CUDA source does not compile on this machine.
    """
    inputs = (expression_NL, pose_NL, own_ND, numbers_NF, past_N5D, unit_N)
    _check(*inputs, out)
    if _launch.wants_cuda(impl, out):
        return forward_cuda(*inputs, out)
    return reference(*inputs, out)


def reference(
    expression_NL: Tensor,
    pose_NL: Tensor,
    own_ND: Tensor,
    numbers_NF: Tensor,
    past_N5D: Tensor,
    unit_N: Tensor,
    out: Tensor,
) -> Tensor:
    """Compute in PyTorch what the kernel computes, without a branch on a value, so that it can be
    captured too."""
    n = {name: numbers_NF[:, i : i + 1] for i, name in enumerate(FIELDS)}
    # Flags come as floats, since one block of numbers is one upload.
    on = {name: n[name] != 0 for name in ("active", "follow", "fresh", "take_neutral", "keep")}
    value, speed, neutral, held, shown = past_N5D.unbind(1)
    codes = torch.cat((expression_NL, pose_NL), dim=1)
    # The codes' size when smoothing begins makes the filter's constants independent of the weights.
    size = codes.square().mean(1, keepdim=True).sqrt().clamp(min=_UNIT_MIN)
    unit = torch.where(on["fresh"] & on["follow"], size, unit_N[:, None])
    new_value, new_speed = _smoothed(codes / unit, value, speed, n, on["fresh"])
    seen = new_value * unit
    new_neutral = torch.where(on["take_neutral"], seen, neutral)
    base = torch.where(_both(n, "relative", out.shape[1]) != 0, new_neutral, own_ND)
    gains, shares = (_both(n, word, out.shape[1]) for word in ("gain", "share"))
    target = torch.where(on["follow"], own_ND + gains * (seen - base), own_ND)
    new_held = torch.where(on["keep"], shown, held)
    new_shown = (1 - shares) * new_held + shares * target
    follows = on["follow"]
    # Without a driver the filter and the neutral keep their state; only what is shown moves on.
    kept = [
        torch.where(follows, new, old)
        for new, old in ((new_value, value), (new_speed, speed), (new_neutral, neutral))
    ]
    past_N5D.copy_(
        torch.where(on["active"][..., None], torch.stack((*kept, new_held, new_shown), 1), past_N5D)
    )
    unit_N.copy_(torch.where(on["active"], unit, unit_N[:, None])[:, 0])
    return out.copy_(past_N5D[:, 4])


def _smoothed(
    x: Tensor, value: Tensor, speed: Tensor, n: dict[str, Tensor], fresh: Tensor
) -> tuple[Tensor, Tensor]:
    """Advance the filter by one step, in units of the codes' own size. Returns value and speed."""
    seconds = n["seconds"]
    moves = (seconds > 0).float()
    # A frame without elapsed time moves nothing; `safe` only avoids the division by zero.
    safe = torch.where(seconds > 0, seconds, torch.ones_like(seconds))
    new_speed = speed + moves * _share(n["speed_cutoff_hz"], safe) * ((x - value) / safe - speed)
    cutoff = n["cutoff_hz"] + n["beta"] * new_speed.abs()
    new_value = value + moves * _share(cutoff, safe) * (x - value)
    return torch.where(fresh, x, new_value), torch.where(fresh, torch.zeros_like(x), new_speed)


def _share(cutoff_hz: Tensor, seconds: Tensor) -> Tensor:
    # Exact for any interval; the paper's alpha is its approximation for short ones.
    return 1 - torch.exp(-2 * math.pi * cutoff_hz * seconds)


def _both(n: dict[str, Tensor], word: str, D: int) -> Tensor:
    """Spread two numbers over a code: expression's over the first half, pose's over the second."""
    halves = [n[f"{branch}_{word}"].expand(-1, D // 2) for branch in ("expression", "pose")]
    return torch.cat(halves, dim=1)


def forward_cuda(
    expression_NL: Tensor,
    pose_NL: Tensor,
    own_ND: Tensor,
    numbers_NF: Tensor,
    past_N5D: Tensor,
    unit_N: Tensor,
    out: Tensor,
) -> Tensor:
    """Queue the kernel, one block a session. The tensors were checked."""
    N, L = expression_NL.shape
    tensors = (expression_NL, pose_NL, own_ND, numbers_NF, past_N5D, unit_N, out)
    _launch.launch("edit_codes", "edit_codes_f32", (N, 1, 1), (_BLOCK, 1, 1), *tensors, L)
    return out


def _check(
    expression: Tensor, pose: Tensor, own: Tensor, numbers: Tensor, past: Tensor, unit: Tensor, out: Tensor
) -> None:
    check("expression_NL", expression, ("N", "L"), torch.float32, device=out.device)
    N, L = expression.shape
    wanted: dict[str, tuple[Tensor, Shape]] = {
        "pose_NL": (pose, (N, L)),
        "own_ND": (own, (N, 2 * L)),
        "numbers_NF": (numbers, (N, len(FIELDS))),
        "past_N5D": (past, (N, PAST, 2 * L)),
        "unit_N": (unit, (N,)),
        "out": (out, (N, 2 * L)),
    }
    for name, (tensor, shape) in wanted.items():
        check(name, tensor, shape, torch.float32, device=out.device)
    # Sessions run along the grid's x axis, which allows 2^31 blocks.
    check_limits("past_N5D", values=past.numel())
