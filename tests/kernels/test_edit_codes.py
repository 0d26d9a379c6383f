from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mimicam.engine.controls import EditSettings
from mimicam.engine.models.frame_graph import CodeUpdate
from mimicam.kernels import _launch
from mimicam.kernels import edit_codes as op
from mimicam.kernels.edit_codes import FIELDS, edit_codes
from tests.kernels.cases import apart, generator

# Largest error seen over thirty frames, emulated on x86-64, 2026-11: 5e-7. A GPU's expf may differ by two units in the
# last place, which the filter does not amplify.
LIMIT = 5e-6
FRAMES = 30
STILL = {"active": 1.0, "follow": 1.0, "expression_gain": 1.0, "pose_gain": 1.0, "expression_share": 1.0,
         "pose_share": 1.0, "cutoff_hz": 4.0, "beta": 4.0, "speed_cutoff_hz": 1.0}  # fmt: skip


class Session:
    """Sessions with a past, run by one implementation."""

    def __init__(self, N: int, L: int, run: Any, device: str = "cpu") -> None:
        self.N, self.L, self._run, self._device = N, L, run, device
        self.past = torch.zeros(N, op.PAST, 2 * L, device=device)
        self.unit = torch.ones(N, device=device)
        self.own = torch.randn(N, 2 * L, generator=generator(9)).to(device)
        self.out = torch.full((N, 2 * L), torch.nan, device=device)

    def step(self, codes: Tensor, *numbers: dict[str, float]) -> Tensor:
        rows = [[float((STILL | row).get(name, 0.0)) for name in FIELDS] for row in numbers]
        expression, pose = (half.contiguous().to(self._device) for half in codes.split(self.L, 1))
        table = torch.tensor(rows, device=self._device)
        return self._run(expression, pose, self.own, table, self.past, self.unit, out=self.out).clone()


def test_a_fresh_absolute_frame_gives_the_codes_back() -> None:
    session, codes = Session(1, 4, edit_codes), torch.randn(1, 8, generator=generator())
    assert torch.allclose(session.step(codes, {"fresh": 1}), codes, atol=1e-6)


def test_gains_scale_the_way_from_the_neutral() -> None:
    session, codes = Session(1, 4, edit_codes), torch.randn(1, 8, generator=generator())
    assert torch.allclose(
        session.step(codes, {"fresh": 1, "take_neutral": 1, "expression_relative": 1, "pose_relative": 1}),
        session.own,
    )
    row = {"fresh": 1, "expression_relative": 1, "pose_relative": 1, "expression_gain": 2.0, "pose_gain": 0.5}
    out = session.step(codes + 1, row)
    assert torch.allclose(out - session.own, torch.tensor([[2.0] * 4 + [0.5] * 4]), atol=1e-5)


def test_a_jump_is_approached_by_the_filters_share() -> None:
    session = Session(1, 2, edit_codes)
    ones = torch.ones(1, 4)
    session.step(ones, {"fresh": 1})
    assert torch.allclose(session.step(ones, {"seconds": 0.1}), ones)
    row = {"seconds": 0.1, "cutoff_hz": 1.0, "beta": 0.0, "speed_cutoff_hz": 1.0}
    moved = session.step(ones + 1, row)
    assert torch.allclose(moved, 1 + (1 - torch.exp(torch.tensor(-0.2 * torch.pi))) * ones, atol=1e-6)
    assert torch.equal(session.step(ones + 5, row | {"seconds": 0.0}), moved), "time stands still"


def test_easing_starts_from_what_was_kept() -> None:
    session = Session(1, 2, edit_codes)
    shown = session.step(3 * torch.ones(1, 4), {"fresh": 1})
    half = {"follow": 0, "expression_share": 0.5, "pose_share": 1.0}
    eased = session.step(torch.zeros(1, 4), half | {"keep": 1})
    assert torch.allclose(eased[:, :2], (shown + session.own)[:, :2] / 2)
    assert torch.allclose(eased[:, 2:], session.own[:, 2:])
    again = session.step(torch.zeros(1, 4), half)
    assert torch.equal(again, eased), "easing counts from what was kept, not from what was shown"


def test_who_has_no_frame_keeps_everything() -> None:
    session, codes = Session(2, 3, edit_codes), torch.randn(2, 6, generator=generator())
    session.step(codes, {"fresh": 1}, {"fresh": 1})
    past, unit = session.past.clone(), session.unit.clone()
    out = session.step(codes + 1, {"seconds": 0.03}, {"active": 0, "fresh": 1, "keep": 1, "take_neutral": 1})
    assert torch.equal(session.past[1], past[1])
    assert torch.equal(session.unit[1], unit[1])
    assert not torch.equal(session.past[0], past[0])
    assert torch.equal(out[1], past[1, 4])


def test_without_a_face_what_was_smoothed_stays() -> None:
    session, codes = Session(1, 3, edit_codes), torch.randn(1, 6, generator=generator())
    session.step(codes, {"fresh": 1, "take_neutral": 1})
    past, unit = session.past.clone(), session.unit.clone()
    session.step(torch.full((1, 6), torch.nan), {"follow": 0, "fresh": 1, "take_neutral": 1, "seconds": 1})
    assert torch.equal(session.past[:, :3], past[:, :3])
    assert torch.equal(session.unit, unit)
    assert torch.equal(session.out, session.own)


@pytest.mark.parametrize("size", [(1, 512), (3, 5), (2, 128), (2, 300)], ids=str)
@pytest.mark.usefixtures("on_cpu")
def test_emulated_kernel_agrees_with_the_reference(size: tuple[int, int]) -> None:
    assert _worst(size, lambda *inputs, out: op.forward_cuda(*inputs, out), "cpu") <= LIMIT


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(1, 512), (3, 5), (64, 512)], ids=str)
def test_kernel_agrees_with_the_reference(size: tuple[int, int], gpu: str) -> None:
    assert _worst(size, lambda *inputs, out: edit_codes(*inputs, out=out, impl="cuda"), gpu) <= LIMIT


def test_the_numbers_have_one_order_everywhere() -> None:
    source = (Path(_launch._FOLDER) / "edit_codes.cu").read_text()
    found = re.search(r"enum Field \{(.*?)\}", source, re.S)
    assert found is not None
    names = tuple(name.strip().lower() for name in found.group(1).split(","))
    assert names == (*FIELDS, "fields")
    edit = CodeUpdate(follow=False, settings=EditSettings(expression_gain=0.5, pose_gain=1.5), beta=4.0)
    # The first number, whether the slot is active, is the slot's own.
    sent = dict(zip(FIELDS[1:], edit.numbers(FIELDS[1:]).tolist(), strict=True))
    assert (sent["follow"], sent["expression_gain"], sent["pose_gain"], sent["beta"]) == (0.0, 0.5, 1.5, 4.0)
    own = {field.name for field in dataclasses.fields(CodeUpdate)} - {"settings"}
    assert own <= set(FIELDS), "each field reaches the kernel"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"expression": torch.zeros(3)}, "expression_NL must be"),
        ({"pose": torch.zeros(1, 3)}, "pose_NL must be"),
        ({"numbers": torch.zeros(1, 2)}, "numbers_NF must be"),
        ({"past": torch.zeros(1, 5, 4).double()}, "past_N5D must be"),
        ({"impl": "cuda"}, "needs CUDA tensors"),
    ],
)
def test_a_misfit_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    fits: dict[str, Any] = {
        "expression": torch.zeros(1, 2), "pose": torch.zeros(1, 2), "own": torch.zeros(1, 4),
        "numbers": torch.zeros(1, len(FIELDS)), "past": torch.zeros(1, 5, 4), "unit": torch.ones(1),
    }  # fmt: skip
    values = fits | {name: value for name, value in change.items() if name != "impl"}
    with pytest.raises(ValueError, match=words):
        edit_codes(*values.values(), out=torch.zeros(1, 4), impl=change.get("impl", "auto"))


def _worst(size: tuple[int, int], run: Any, device: str) -> float:
    """Both sides over a sequence in which everything happens."""
    N, L = size
    sides = [Session(N, L, run, device), Session(N, L, edit_codes, "cpu")]
    rng, worst = generator(3), 0.0
    names = ("value", "speed", "neutral", "held", "shown")
    codes = torch.randn(N, 2 * L, generator=rng)
    for index in range(FRAMES):
        codes = codes + 0.2 * torch.randn(N, 2 * L, generator=rng)
        dice = torch.rand(N, 7, generator=rng)
        rows = [_row(index, dice[n].tolist()) for n in range(N)]
        got, want = (side.step(codes, *rows) for side in sides)
        differences = {"out": apart(got, want)}
        for number, name in enumerate(names):
            # By name: a card that disagrees is not at hand when the report is read.
            differences[name] = apart(sides[0].past[:, number], sides[1].past[:, number])
        worst = max(worst, *differences.values())
        assert worst <= LIMIT, f"frame {index}: {differences}"
    return worst


def test_expression_is_absolute_and_pose_relative() -> None:
    session, codes = Session(1, 4, edit_codes), torch.randn(1, 8, generator=generator())
    session.step(codes, {"fresh": 1, "take_neutral": 1, "pose_relative": 1})
    out = session.step(codes + 1, {"fresh": 1, "pose_relative": 1})
    assert torch.allclose(out[:, :4], codes[:, :4] + 1, atol=1e-5)
    assert torch.allclose(out[:, 4:] - session.own[:, 4:], torch.ones(1, 4), atol=1e-5)


def _row(index: int, dice: list[float]) -> dict[str, float]:
    return {
        "active": float(dice[0] < 0.9), "follow": float(dice[1] < 0.8 or index == 0),
        "fresh": float(dice[2] < 0.1 or index == 0), "seconds": 0.0 if dice[3] < 0.1 else 0.1 * dice[3],
        "take_neutral": float(dice[4] < 0.2), "expression_relative": float(index % 7 > 2),
        "pose_relative": float(index % 5 > 1), "keep": float(dice[5] < 0.1),
        "expression_gain": 2 * dice[6], "pose_gain": 1.5 * dice[5], "expression_share": dice[4],
        "pose_share": dice[3],
    }  # fmt: skip
