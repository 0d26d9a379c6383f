"""Which branch is expression is measured on pictures whose expression and pose are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mimicam.engine.errors import EngineError
from mimicam.engine.models.dpe.config import DpeConfig
from mimicam.engine.models.dpe.network import Dpe
from mimicam.engine.types import Mode
from mimicam.training.dpe.branches import (
    BranchReport,
    Edit,
    FaceMeasure,
    exchange,
    measure_branches,
    name_branches,
)
from tests.training.dpe.conftest import blob


def read(image_N3SS: Tensor) -> FaceMeasure:
    """Mouth: how much the third channel misses of the second. Place: the disc's centre of mass."""
    light = (image_N3SS + 1) / 2
    line = torch.linspace(-1, 1, image_N3SS.shape[-1])
    place = (light[:, 0] * line).sum((1, 2)) / light[:, 0].sum((1, 2))
    mouth = (light[:, 0] - light[:, 2]).mean((1, 2))
    return FaceMeasure(expression=mouth[:, None], pose=place[:, None])


FACES = torch.tensor([[-0.2, 0.05], [0.2, 0.25], [0.1, 0.1], [-0.1, 0.2]])
"""Place and mouth."""


def draw(faces_N2: Tensor) -> Tensor:
    return torch.stack([blob(float(x), float(mouth)) for x, mouth in faces_N2])


def perfect(source: Tensor, driving: Tensor, mode: Mode) -> Tensor:
    """An ideal editor: looks both faces up and draws the mixture."""
    known = draw(FACES)
    s, d = (FACES[torch.cdist(x.flatten(1), known.flatten(1)).argmin(1)] for x in (source, driving))
    column = torch.tensor([mode is Mode.POSE, mode is Mode.EXP])
    return draw(torch.where(column, d, s))


def the_other_way(source: Tensor, driving: Tensor, mode: Mode) -> Tensor:
    return perfect(source, driving, Mode.POSE if mode is Mode.EXP else Mode.EXP)


def report_of(edit: Edit) -> BranchReport:
    images = draw(FACES)
    return measure_branches(edit, read, [(images[:2], images[2:]), (images[2:], images[:2].flip(0))])


def test_a_perfect_editor_keeps_its_names() -> None:
    report = report_of(perfect)
    assert report.first_expression == pytest.approx(1, abs=0.05)
    assert report.second_pose == pytest.approx(1, abs=0.05)
    assert abs(report.first_pose) < 0.05
    assert abs(report.second_expression) < 0.05
    assert not report.swapped


def test_swapped_branches_are_seen() -> None:
    report = report_of(the_other_way)
    assert report.swapped
    assert report.preference == pytest.approx(-report_of(perfect).preference, abs=1e-6)


def test_naming_exchanges_heads_and_generators(tiny: DpeConfig) -> None:
    torch.manual_seed(0)
    model, (s, d) = Dpe(tiny), (draw(FACES[:1]), draw(FACES[1:2]))
    with torch.no_grad():
        exp, pose = model.edit(s, d, Mode.EXP), model.edit(s, d, Mode.POSE)
        assert name_branches(model, report_of(the_other_way))
        assert torch.equal(model.edit(s, d, Mode.EXP), pose)
        assert torch.equal(model.edit(s, d, Mode.POSE), exp)
        assert not name_branches(model, report_of(perfect))
        assert torch.equal(model.edit(s, d, Mode.EXP), pose)
        exchange(model)
        assert torch.equal(model.edit(s, d, Mode.EXP), exp)


def test_branches_that_do_the_same_are_not_named(tiny: DpeConfig) -> None:
    report = report_of(lambda _source, driving, _mode: driving)
    assert report.preference == pytest.approx(0, abs=1e-6)
    with pytest.raises(EngineError, match="do not differ"):
        name_branches(Dpe(tiny), report)


@pytest.mark.parametrize("kind", ["constant", "source"])
def test_an_editor_that_ignores_the_driver_has_no_gain(tiny: DpeConfig, kind: str) -> None:
    report = report_of(
        lambda source, _driving, _mode: source if kind == "source" else 0 * source + draw(FACES[:1])
    )
    for gain in (report.first_expression, report.first_pose, report.second_expression, report.second_pose):
        assert gain == pytest.approx(0, abs=1e-6)
    with pytest.raises(EngineError, match="do not differ"):
        name_branches(Dpe(tiny), report)


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs"):
        measure_branches(perfect, read, [])
