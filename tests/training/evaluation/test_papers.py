"""The papers' protocols: which frames drive which, metrics against known pictures, and the printed tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.types import Image, Mode, MotionCode
from mimicam.training.commands.evaluate import Evaluate
from mimicam.training.data.pairs import FramePack
from mimicam.training.evaluation.evaluate import Meters
from mimicam.training.evaluation.methods import Method, baselines
from mimicam.training.evaluation.paper_tables import SUBSTITUTES, TABLES
from mimicam.training.evaluation.papers import DaeGanProtocol, DpeProtocol
from tests.training.evaluation.conftest import FRAMES
from tests.training.packs import write_pack


class Recorder:
    """A method that copies the driver, and keeps the rows of its portraits and drivers."""

    def __init__(self, pack: FramePack) -> None:
        self._row = {pack.frames[k].tobytes(): k for k in range(len(pack.frames))}
        self.seen: list[tuple[int, int]] = []

    def __call__(self, portrait: Image, _: MotionCode, driver: Image, *__: object) -> Image:
        self.seen.append((self._row[portrait.tobytes()], self._row[driver.tobytes()]))
        return driver


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> FramePack:
    """Three validation people of ten frames: rows 0 to 9, 10 to 19, 20 to 29."""
    folder = write_pack(tmp_path_factory.mktemp("people"), people=3, frames=10, validation=(0, 1, 2))
    return FramePack(folder, validation=True)


def recorded(protocol: DpeProtocol | DaeGanProtocol, pack: FramePack, mode: Mode) -> Recorder:
    recorder = Recorder(pack)
    protocol.measure(Method(generate=recorder, smoothed=recorder, modes=(mode,)), Meters())
    return recorder


def test_dpe_drives_the_first_frame_by_the_last_and_others_by_the_first(people: FramePack) -> None:
    seen = recorded(DpeProtocol(people, frames=4), people, Mode.EXP).seen
    same = [(10 * person, 10 * person + k) for person in range(3) for k in (6, 7, 8, 9)]
    cross = [(10 * ((person - 1) % 3), 10 * person + k) for person in range(3) for k in (0, 1, 2, 3)]
    assert seen == same + cross


def test_dpes_counts_are_the_papers_where_the_data_allows(people: FramePack) -> None:
    facts = DpeProtocol(people).facts()
    assert facts == {"pairs": 3, "frames_same": 3 * 9, "frames_cross": 3 * 10}, "shorter videos are used"


def test_a_long_video_gives_the_papers_400_frames(tmp_path: Path) -> None:
    folder = write_pack(tmp_path, people=16, frames=405, size=8, validation=tuple(range(16)))
    facts = DpeProtocol(FramePack(folder, validation=True)).facts()
    assert facts == {"pairs": 15, "frames_same": 6000, "frames_cross": 6000}, "6K pictures (section 4.1)"
    found = DaeGanProtocol(FramePack(folder, validation=True)).facts()
    assert found == {"videos": 16, "frames": 16 * 32}


def test_daegan_holds_out_what_drives(people: FramePack) -> None:
    seen = recorded(DaeGanProtocol(people, frames=4), people, Mode.BOTH).seen
    assert len(seen) == 12
    for person in range(3):
        own = [pair for pair in seen if pair[1] // 10 == person]
        (portrait,) = {pair[0] for pair in own}
        drivers = [pair[1] for pair in own]
        assert portrait // 10 == person
        assert portrait not in drivers
        assert drivers == sorted(set(drivers))
    assert seen == recorded(DaeGanProtocol(people, frames=4), people, Mode.BOTH).seen, "the same choice"


def test_daegan_measures_only_what_draws_both(people: FramePack) -> None:
    assert recorded(DaeGanProtocol(people), people, Mode.EXP).seen == []


def test_copying_the_driver_is_the_truth_of_the_same_person(pack: FramePack) -> None:
    figures = DpeProtocol(pack, frames=5).measure(baselines()["copy driver"], Meters())
    assert figures["both same"]["ssim"] == pytest.approx(1.0, abs=1e-4)
    # The tracker reads the result where the pack's frame was read: noise of its square only.
    assert figures["both same"]["tracker_aed"] < 0.03
    assert figures["exp same"]["tracker_apd"] > figures["both same"]["tracker_apd"], "the head must stay"
    held = DaeGanProtocol(pack, frames=5).measure(baselines()["copy driver"], Meters())
    assert held["both held-out"]["ssim"] == pytest.approx(1.0, abs=1e-4)


def test_one_person_is_too_few_for_dpe(tmp_path: Path) -> None:
    pack = FramePack(write_pack(tmp_path), validation=True)
    with pytest.raises(EngineError, match="two validation people"):
        DpeProtocol(pack)


@pytest.mark.parametrize("paper", ["dpe", "daegan"])
def test_every_row_has_a_value_for_every_metric(paper: str) -> None:
    for table in TABLES[paper]:
        assert all(len(values) == len(table.metrics) for values in table.rows.values())


@pytest.mark.parametrize("paper", ["dpe", "daegan"])
def test_the_command_prints_the_papers_rows_and_ours(
    paper: str, pack_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    Evaluate(pack=pack_folder, paper=paper, frames=5, threads=1, floors=False, json=out).run()
    shown = capsys.readouterr().out
    facts = json.loads(out.read_text())
    assert facts["paper"] == paper
    assert facts["substitutes"] == SUBSTITUTES
    for table in TABLES[paper]:
        figures = facts["figures"]["model"][table.setting]
        assert np.isfinite(list(figures.values())).all()
        assert all(method in shown for method in table.rows)
    assert "(paper)" in shown
    if paper == "dpe":
        aed = facts["figures"]["model"]["exp cross"]["tracker_aed"]
        line = next(line for line in shown.splitlines() if f"{aed:.4f}" in line)
        # Method, CSIM, AED, APD of the paper's networks are not ours to fill.
        assert [cell.strip() for cell in line.split("│")[1:5]] == ["model", "-", "-", "-"]


def test_what_the_papers_do_not_have_is_refused(pack_folder: Path) -> None:
    with pytest.raises(EngineError, match="--paper does not use --lively"):
        Evaluate(pack=pack_folder, paper="dpe", lively=2, frames=FRAMES).run()
