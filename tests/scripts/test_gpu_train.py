"""Training on a remote GPU, rehearsed on the CPU: files, resuming, stopping, and imports on a bare machine."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mimicam.engine.errors import EngineError
from mimicam.engine.models.compact.spec import CompactConfig
from mimicam.training.compact.recipe import CompactOptions, CompactRecipe
from mimicam.training.compact.weights import load_average
from mimicam.training.data.device_batches import BatchDrawer
from mimicam.training.data.pairs import FramePack, PairSampler
from scripts.gpu_train import main
from scripts.remote_training.pack import PackOptions, write_folder
from scripts.remote_training.session import Deadline, batch_counts
from scripts.remote_training.snapshots import FILES, Progress, Snapshots
from scripts.remote_training.step_count import find_step_count
from tests import bare
from tests.training.packs import write_pack

ROOT = Path(__file__).parents[2]
SMALL = CompactConfig(size=32, latent=16, widths=(8, 8, 16, 16), embed=4)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packs")
    packs = (write_pack(root / "clips"), write_pack(root / "heads", people=4, frames=4, validation=()))
    write_folder(PackOptions(packs=packs, out=root / "small", size=64))
    return root / "small"


@pytest.fixture(scope="module")
def session(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rehearsal, in a process in which nothing of the product's other packages can be imported."""
    folder = tmp_path_factory.mktemp("session")
    out = folder / "out"
    command = [sys.executable, "scripts/gpu_train.py", "--pack", str(pack), "--out", str(out), "--rehearse"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env=bare.environment(folder),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def test_a_bare_machine_trains_and_leaves_few_small_files(session: Path) -> None:
    files = {p.name: p.stat().st_size for p in session.iterdir()}
    assert set(files) == set(FILES)
    assert len(files) <= 8
    assert max(files.values()) < 16 * 2**20
    facts = json.loads((session / "report.json").read_text())
    assert facts["step"] == 10
    assert {"psnr", "psnr_copy", "seconds", "device", "samples_per_s", "waiting_share"} <= facts.keys()
    assert facts["weights_finite"] is True
    assert "samples_per_s" in (session / "report.md").read_text()


def test_the_curve_has_a_line_of_every_loss(session: Path) -> None:
    with (session / "curve.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["step"] for row in rows] == ["10"]
    assert all(math.isfinite(float(value)) for value in rows[0].values())
    assert float(rows[0]["l1"]) > 0


def test_a_second_session_goes_on_from_weights_in_the_pack(session: Path, pack: Path, tmp_path: Path) -> None:
    again = tmp_path / "small"
    again.mkdir()
    for path in pack.iterdir():
        (again / path.name).write_bytes(path.read_bytes())
    (again / "weights.pt").write_bytes((session / "weights.pt").read_bytes())
    options = ["--pack", str(again), "--out", str(tmp_path / "out"), "--rehearse", "--steps", "1"]
    assert main([*options, "--lr", "1e-7", "--lr-final", "1e-7"]) == 0
    before, after = load_average(session / "weights.pt"), load_average(tmp_path / "out" / "weights.pt")
    for name, value in before.items():
        assert torch.allclose(after[name], value, atol=1e-3, rtol=2e-3), name


def test_a_session_without_time_to_train_is_refused(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--pack", str(pack), "--out", str(tmp_path / "out"), "--rehearse", "--minutes", "0"]
    assert main(options) == 1
    assert capsys.readouterr().err == "error: --minutes passed while the data was read: give more\n"


@pytest.mark.parametrize("folder", ["empty", "absent"])
def test_a_folder_that_is_no_pack_is_refused_in_one_line(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["--pack", str(tmp_path / folder), "--out", str(tmp_path / "out"), "--rehearse"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_nothing_is_trained(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--pack", str(pack), "--out", str(tmp_path / "out")]) == 2
    assert "no GPU" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_learning_rate_follows_steps_or_time() -> None:
    clock = iter([0.0, 0.0, 50.0, 99.9, 0.0, 0.0, 0.0]).__next__
    deadline = Deadline(100.0, clock)
    deadline.begin()
    options = CompactOptions(lr=1e-3, lr_final=1e-4, warmup=1, steps=1000)
    recipe = CompactRecipe(options, config=SMALL, time_share=deadline.share)
    middle, end = recipe._rate(10), recipe._rate(10)
    assert middle == pytest.approx((1e-3 + 1e-4) / 2)
    assert end == pytest.approx(1e-4, rel=1e-3)
    assert recipe._rate(1000) == pytest.approx(1e-4)


def _report(folder: Path, **smoke: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"training smoke run": {"outcome": "passed", "result": smoke}}
    (folder / "gpu_check.json").write_text(json.dumps({"parts": parts}))
    return folder / "gpu_check.json"


def test_the_smoke_run_gives_the_number_of_steps(tmp_path: Path) -> None:
    def steps(**more: Any) -> int:
        options: dict[str, Any] = {"batch": 96, "device": "H", "given": None, "guess": 7} | more
        return find_step_count(tmp_path / "train", 200.0, **options).steps

    assert steps() == 7, "nothing to go by"
    file = _report(tmp_path / "check", steps_per_s=12.5, batch=96, device="H")
    assert steps() == 2500
    assert steps(batch=48) == steps(device="other") == 7, "it was another batch, or another GPU"
    assert steps(given=file) == 2500
    (tmp_path / "check" / "gpu_check.json").write_text("cut off {")
    assert steps() == 7


def test_a_smoke_run_that_is_named_and_does_not_fit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _report(tmp_path / "check", steps_per_s=12.5, batch=96, device="H")
    options = ["--out", str(tmp_path / "out"), "--rehearse", "--steps-from", str(file)]
    assert main(options) == 1
    assert "give --steps" in capsys.readouterr().err


def _recipe_and_batch(tmp_path: Path) -> tuple[CompactRecipe, dict[str, torch.Tensor]]:
    frames = FramePack(write_pack(tmp_path / "pack"), validation=False)
    torch.manual_seed(0)
    return CompactRecipe(CompactOptions(warmup=1), config=SMALL), PairSampler(frames, size=32, batch=2).batch(
        0
    )


def test_a_step_that_is_not_finite_is_skipped(tmp_path: Path) -> None:
    recipe, batch = _recipe_and_batch(tmp_path)
    recipe.step(0, batch)
    before = {name: value.clone() for name, value in recipe.model.state_dict().items()}
    broken = batch | {"target": torch.full(batch["target"].shape, math.nan)}
    assert not math.isfinite(float(recipe.step(1, broken)["total"]))
    for name, value in recipe.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert int(recipe.skipped) == 1
    recipe.step(2, batch)
    after = recipe.model.state_dict()
    assert any(not torch.equal(after[name], value) for name, value in before.items())
    assert all(value.isfinite().all() for value in recipe.average.state_dict().values())


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    recipe, batch = _recipe_and_batch(tmp_path)
    out = tmp_path / "out"
    snapshots = Snapshots(recipe, batch, out, Progress(2), curve=tmp_path / "none.csv")
    snapshots.write(1)
    good = (out / "weights.pt").read_bytes()
    with torch.no_grad():
        next(recipe.average.parameters()).fill_(math.nan)
    snapshots.write(2)
    assert (out / "weights.pt").read_bytes() == good
    facts = json.loads((out / "report.json").read_text())
    assert facts["step"] == 2
    assert facts["weights_finite"] is False


def test_waiting_for_data_is_told_apart_from_training(monkeypatch: pytest.MonkeyPatch) -> None:
    import scripts.remote_training.snapshots as module

    now = {"s": 0.0}
    monkeypatch.setattr(module.time, "monotonic", lambda: now["s"])

    def batches() -> Any:
        while True:
            now["s"] += 1.0
            yield {}

    progress = Progress(96)
    stream = progress.counted(batches())
    for _ in range(4):
        next(stream)
        now["s"] += 3.0
    next(stream)
    facts = progress.facts()
    assert facts["waiting_share"] == pytest.approx(5 / 17, abs=1e-3)
    assert facts["samples_per_s"] == pytest.approx(96 * 4 / 17, abs=0.1)


def test_the_host_waits_for_nothing_inside_a_step() -> None:
    """A profile of one step: no number is read from the device, no factorisation asks it for errors."""
    from scripts.remote_training.session import RemoteTraining, SessionOptions

    options = SessionOptions(
        pack=None, batch=4, size=32, other_shares=(0.125,), cross_identity=1, seed=0, device="cpu"
    )  # fmt: skip
    compact = CompactOptions(warmup=1, gan=0.01, gan_parts=0.01, gan_warmup=0)
    training = RemoteTraining(options, compact, Deadline(math.inf))
    steps = training.steps(Progress(4))
    next(steps)
    reads = _Reads()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        with reads:
            next(steps)
        BatchDrawer(training.samplers).batch(
            5
        )  # as the sampler's thread does, which the profiler does not see
    bad = {event.name for event in found.events() if _waits(event.name) and not _in_fused_adam(event)}
    assert not bad
    assert not reads.found
    assert np.isfinite(float(training.recipe.skipped))


def test_reads_of_a_tensor_are_noticed() -> None:
    value = torch.tensor([1.0])
    for read in (Tensor.tolist, Tensor.item, Tensor.numpy, Tensor.cpu, float, bool):
        with _Reads() as reads:
            read(value)
        assert reads.found, read


class _Reads(TorchFunctionMode):
    """Collects what copies a tensor to the host. The profiler of a CPU sees no ``.tolist()``, nor copies to a CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.__name__
        if name in (
            "tolist",
            "item",
            "numpy",
            "cpu",
            "__array__",
            "__bool__",
            "__float__",
            "__int__",
            "__index__",
        ):
            self.found.add(name)
        return function(*args, **(kwargs or {}))


def _waits(name: str) -> bool:
    numbers = (
        "aten::item",
        "aten::_local_scalar_dense",
        "aten::is_nonzero",
        "aten::nonzero",
        "aten::multinomial",
    )
    checked = (
        "linalg_inv",
        "linalg_solve",
        "linalg_lu",
        "linalg_det",
        "linalg_check",
        "aten::inverse",
        "cholesky",
    )
    return name in numbers or name == "aten::det" or any(word in name for word in checked)


def _in_fused_adam(event: Any) -> bool:
    """Adam's fused kernel for the processor reads its step counts one by one; the GPU's reads them on the device."""
    parent = event.cpu_parent
    return parent is not None and (parent.name == "aten::_fused_adam_" or _in_fused_adam(parent))


def test_batches_are_shared_among_packs() -> None:
    assert batch_counts(96, (0.125,), 3) == [72, 12, 12]
    assert batch_counts(96, (0.25, 0.125), 3) == [60, 24, 12]
    assert batch_counts(8, (0.125,), 1) == [8]


@pytest.mark.parametrize("shares", [(0.1, 0.1, 0.1), (0.6, 0.4), (-0.1, 0.1)])
def test_shares_of_a_batch_that_do_not_fit_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(EngineError, match="--other-share needs"):
        batch_counts(96, shares, 3)
