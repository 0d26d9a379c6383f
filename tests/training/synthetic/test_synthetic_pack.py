"""Packing: parts, resume, one file; the command's limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.commands import main
from mimicam.engine.errors import EngineError
from mimicam.training.commands.data.render import RenderHeads
from mimicam.training.synthetic import pack
from mimicam.training.synthetic.quadruple import FIELDS, Quadruple


class FakeGenerator:
    """Fills a quadruple with its number, and remembers which were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, seed: int, index: int) -> Quadruple:
        self.asked.append(index)
        small = {name: np.full((2, 2), index, np.float32) for name in FIELDS if name != "images"}
        return Quadruple(images=np.full((4, 8, 8, 3), index + seed, np.uint8), **small)


def _job(folder: Path, count: int = 60, seed: int = 3) -> pack.Job:
    return pack.Job(count=count, seed=seed, size_px=8, folder=folder)


def _ignore(done: int, total: int) -> None:
    assert 0 < done <= total


def test_a_second_run_renders_only_what_is_missing(tmp_path: Path) -> None:
    job = _job(tmp_path / "parts")
    assert pack.render_parts(job, FakeGenerator, _ignore) == 60
    (tmp_path / "parts" / "part-00001.npz").unlink()
    fake = FakeGenerator()
    assert pack.render_parts(job, lambda: fake, _ignore) == 25
    assert fake.asked == list(range(25, 50))


def test_a_longer_count_extends_the_same_parts(tmp_path: Path) -> None:
    pack.render_parts(_job(tmp_path, 30), FakeGenerator, _ignore)
    fake = FakeGenerator()
    pack.render_parts(_job(tmp_path, 50), lambda: fake, _ignore)
    assert fake.asked == list(range(25, 50)), "the short last part is rendered anew, the full one stays"


def test_parts_of_another_seed_are_refused(tmp_path: Path) -> None:
    pack.render_parts(_job(tmp_path), FakeGenerator, _ignore)
    with pytest.raises(EngineError, match="another seed"):
        pack.render_parts(_job(tmp_path, seed=4), FakeGenerator, _ignore)


def test_an_interrupted_part_leaves_no_file_that_looks_done(tmp_path: Path) -> None:
    class Stopping(FakeGenerator):
        def __call__(self, seed: int, index: int) -> Quadruple:
            if index == 30:
                raise KeyboardInterrupt
            return super().__call__(seed, index)

    with pytest.raises(KeyboardInterrupt):
        pack.render_parts(_job(tmp_path), Stopping, _ignore)
    assert [p.name for p in tmp_path.iterdir()] == ["part-00000.npz"]


def test_merging_keeps_order_and_leaves_one_readable_file(tmp_path: Path) -> None:
    out = tmp_path / "all.npz"
    job = _job(pack.parts_folder(out))
    pack.render_parts(job, FakeGenerator, _ignore)
    pack.merge(job, out, {"expression_names": np.array(["a", "b"])})
    with np.load(out) as done:
        assert done["images"].shape == (60, 4, 8, 8, 3)
        np.testing.assert_array_equal(done["images"][:, 0, 0, 0, 0], np.arange(60) + 3)
        np.testing.assert_array_equal(done["gaze_rad"][:, 0, 0], np.arange(60))
        assert list(done["expression_names"]) == ["a", "b"]
        assert done["order"].tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert [p.name for p in tmp_path.iterdir()] == ["all.npz"]
    assert pack.is_finished(out, job)
    assert not pack.is_finished(out, _job(job.folder, 61))


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size_px": 16}], ids=str)
def test_impossible_options_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(EngineError, match="must"):
        RenderHeads(out=tmp_path / "x.npz", **wrong)


def test_a_missing_model_ends_the_command_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["data", "render", "--out", str(tmp_path / "x.npz"), "--model", str(tmp_path / "none.npz")])
    assert code == 1
    assert capsys.readouterr().err.startswith("error: no face model")


def test_the_command_writes_pictures_and_their_truth(renderer: object, tmp_path: Path) -> None:
    del renderer  # only so that a machine without GL skips
    out = tmp_path / "two.npz"
    options = ["data", "render", "--out", str(out), "--count", "2", "--seed", "7", "--size-px", "64"]
    assert main(options) == 0
    with np.load(out) as done:
        assert done["images"].shape == (2, 4, 64, 64, 3)
        assert done["expressions"].shape == (2, 2, 57)
        assert done["rotations"].shape == (2, 2, 3, 3)
        assert done["landmarks_px"].shape == (2, 4, 68, 2)
        assert len(done["expression_names"]) == 57
    assert main(options) == 0, "a finished file is left alone"
