"""Steps, stops, resumes: what a run promises, on a recipe of one layer."""

import csv
import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.training.trainer import Batch, Trainer, TrainerOptions  # noqa: E402


class Line:
    """Fits a line to noise; dropout makes it depend on the random state."""

    def __init__(self, name: str = "line") -> None:
        self.name = name
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
        self.adam = torch.optim.Adam(self.net.parameters(), lr=1e-2)
        self.seen: list[int] = []
        self.grids = 0

    def modules(self) -> dict[str, Any]:
        return {"net": self.net}

    def optimisers(self) -> dict[str, Any]:
        return {"adam": self.adam}

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        self.seen.append(step)
        loss = ((self.net(batch["x"]) - batch["x"].sum(1, keepdim=True)) ** 2).mean()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {"loss": loss.item(), "step_seen": float(step)}

    def sample_grid(self, batch: Batch) -> Any:
        self.grids += 1
        return batch["x"].new_zeros(3, 8, 16)


def batches(first: int) -> Iterator[Batch]:
    step = first
    while True:
        yield {"x": torch.randn(6, 4, generator=torch.Generator().manual_seed(step))}
        step += 1


def options(out: Path, steps: int, **more: Any) -> TrainerOptions:
    return TrainerOptions(out=out, steps=steps, **({"log_every": 4} | more))


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return bool(torch.equal(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)


def _curve(out: Path) -> list[dict[str, str]]:
    with (out / "curve.csv").open(newline="") as lines:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(lines)]


@pytest.mark.parametrize("stops", [[4], [6], [3, 9, 10]], ids=str)
def test_a_stopped_run_ends_where_an_unbroken_one_does(stops: list[int], tmp_path: Path) -> None:
    whole = Line()
    Trainer(whole, options(tmp_path / "whole", 16)).run(batches)
    for stop in [*stops, 16]:
        torch.manual_seed(stop)  # another process has another random state
        part = Line()
        trainer = Trainer(part, options(tmp_path / "parts", stop))
        assert trainer.resume() is (stop != stops[0])
        if stop == stops[0]:
            torch.manual_seed(0)
            part = Line()
            trainer = Trainer(part, options(tmp_path / "parts", stop))
        assert trainer.run(batches) == stop
    assert _equal(part.net.state_dict(), whole.net.state_dict())
    assert _equal(part.adam.state_dict(), whole.adam.state_dict())
    assert _curve(tmp_path / "parts") == _curve(tmp_path / "whole")


def test_the_curve_holds_means_and_its_seconds_never_run_back(tmp_path: Path) -> None:
    for steps in (6, 12):
        trainer = Trainer(Line(), options(tmp_path, steps))
        trainer.resume()
        trainer.run(batches)
    assert [float(row["step_seen"]) for row in _curve(tmp_path)] == [1.5, 5.5, 9.5]
    with (tmp_path / "curve.csv").open(newline="") as lines:
        seconds = [float(row["seconds"]) for row in csv.DictReader(lines)]
    assert seconds == sorted(seconds)


def test_the_curve_forgets_what_lies_past_the_checkpoint(tmp_path: Path) -> None:
    Trainer(Line(), options(tmp_path, 4)).run(batches)
    with (tmp_path / "curve.csv").open("a") as file:
        file.write("8,9.9,0.1,6.5\r\n12,9.9")  # a run that died later, in the middle of a line
    trainer = Trainer(Line(), options(tmp_path, 8))
    trainer.resume()
    trainer.run(batches)
    assert [row["step"] for row in _curve(tmp_path)] == ["4", "8"]
    assert all(None not in row.values() for row in _curve(tmp_path))


def test_a_new_run_in_an_old_folder_starts_a_new_curve(tmp_path: Path) -> None:
    Trainer(Line(), options(tmp_path, 8)).run(batches)
    Trainer(Line(), options(tmp_path, 4)).run(batches)
    assert [row["step"] for row in _curve(tmp_path)] == ["4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step_in_work(number: signal.Signals, tmp_path: Path) -> None:
    class Interrupted(Line):
        def step(self, step: int, batch: Batch) -> dict[str, float]:
            if step == 2:
                signal.raise_signal(number)
            return super().step(step, batch)

    before = signal.getsignal(number)
    recipe = Interrupted()
    assert Trainer(recipe, options(tmp_path, 100)).run(batches) == 3
    assert recipe.seen == [0, 1, 2], "the step in work was finished, and no other begun"
    assert signal.getsignal(number) is before
    again = Trainer(Line(), options(tmp_path, 100))
    assert again.resume()
    assert again.step == 3


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    Trainer(Line(), options(tmp_path, 3)).run(batches)
    again = Line()
    trainer = Trainer(again, options(tmp_path, 3))
    trainer.resume()
    assert trainer.run(batches) == 3
    assert again.seen == []


def test_no_time_means_no_step(tmp_path: Path) -> None:
    recipe = Line()
    assert Trainer(recipe, options(tmp_path, 3, minutes=-1.0)).run(batches) == 0


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert not Trainer(Line(), options(tmp_path, 3)).resume()


def test_another_recipes_run_is_refused(tmp_path: Path) -> None:
    Trainer(Line("first"), options(tmp_path, 1)).run(batches)
    recipe = Line("second")
    before = {k: v.clone() for k, v in recipe.net.state_dict().items()}
    with pytest.raises(EngineError, match="is of recipe 'first', not 'second': choose another --out"):
        Trainer(recipe, options(tmp_path, 2)).resume()
    assert _equal(recipe.net.state_dict(), before)


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\3\4 cut off"])
def test_a_damaged_checkpoint_gives_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(EngineError, match="choose another --out"):
        Trainer(Line(), options(tmp_path, 1)).resume()


class Evil:
    """Runs code where a pickle is trusted."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def test_a_foreign_pickle_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"recipe": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(EngineError, match="not a checkpoint"):
        Trainer(Line(), options(tmp_path, 1)).resume()
    assert not (tmp_path / "pwned").exists()


def test_a_full_disk_loses_nothing_of_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(Line(), options(tmp_path, 2))
    trainer.run(batches)
    before = trainer.checkpoint.read_bytes()

    def full(_state: object, file: Any) -> None:
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(EngineError, match=r"cannot be written \(No space left on device\)"):
        trainer.save()
    assert trainer.checkpoint.read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_a_killed_write_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(Line(), options(tmp_path, 2))
    trainer.run(batches)
    before = trainer.checkpoint.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        trainer.save()
    assert trainer.checkpoint.read_bytes() == before
    again = Trainer(Line(), options(tmp_path, 4))
    assert again.resume()
    assert again.step == 2


def test_sample_grids_are_written_when_they_are_due(tmp_path: Path) -> None:
    recipe = Line()
    Trainer(recipe, options(tmp_path, 7, samples_every=3)).run(batches, samples=next(batches(0)))
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == ["0000003.jpg", "0000006.jpg"]


def test_a_checkpoint_is_written_on_the_way(tmp_path: Path) -> None:
    class Dies(Line):
        def step(self, step: int, batch: Batch) -> dict[str, float]:
            if step == 5:
                raise RuntimeError("power cut")
            return super().step(step, batch)

    with pytest.raises(RuntimeError, match="power cut"):
        Trainer(Dies(), options(tmp_path, 9, checkpoint_every_s=0.0)).run(batches)
    again = Trainer(Line(), options(tmp_path, 9))
    assert again.resume()
    assert again.step == 5


def test_a_run_whose_networks_have_other_layers_is_refused_in_a_line(tmp_path: Path) -> None:
    Trainer(Line(), options(tmp_path, 1)).run(batches)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    other = Line()
    other.net = torch.nn.Sequential(other.net, torch.nn.Linear(1, 1))
    with pytest.raises(EngineError, match=r"choose another --out; .* start from this one with --weights"):
        Trainer(other, options(tmp_path, 2)).resume()
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept
