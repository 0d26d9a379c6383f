"""The GPU session, rehearsed on the CPU: files, resuming, stopping, and imports on a bare machine."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.session.packs import write_pack
from training.carry_cli import Carry
from training.gpu_session import main
from training.weights import load_average

BARE = """
import sys
class Missing:
    def find_spec(self, name, *_):
        if name.split(".")[0] in {"openvino", "av", "tyro", "rich", "safetensors", "moderngl"}:
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
from training.gpu_session import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("carry")
    packs = (write_pack(root / "clips"), write_pack(root / "heads", people=4, frames=4, validation=()))
    Carry(packs=packs, out=root / "carry", size=64).run()
    return root / "carry"


def _options(carried: Path, out: Path, *more: str) -> list[str]:
    small = ["--batch", "8", "--size", "32", "--device", "cpu", "--steps", "20", "--warmup", "1"]
    return ["--carry", str(carried), "--out", str(out), *small, *more]


@pytest.fixture(scope="module")
def session(carried: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty steps, in a process in which nothing of the product's other packages can be imported."""
    out = tmp_path_factory.mktemp("out")
    command = [sys.executable, "-c", BARE, *_options(carried, out, "--publish-s", "2")]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def test_a_bare_machine_trains_and_leaves_few_small_files(session: Path) -> None:
    files = {p.name: p.stat().st_size for p in session.iterdir()}
    assert set(files) == {"weights.pt", "curve.csv", "samples.jpg", "session.json"}
    assert max(files.values()) < 16 * 2**20
    facts = json.loads((session / "session.json").read_text())
    assert facts["step"] == 20
    assert {"psnr", "psnr_copy", "seconds", "device"} <= facts.keys()


def test_the_curve_falls_while_it_trains(session: Path) -> None:
    with (session / "curve.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["step"] for row in rows] == ["20"]
    assert float(rows[0]["l1"]) > 0


def test_a_second_session_goes_on_from_the_carried_weights(
    session: Path, carried: Path, tmp_path: Path
) -> None:
    again = tmp_path / "carry"
    again.mkdir()
    for path in carried.iterdir():
        (again / path.name).write_bytes(path.read_bytes())
    (again / "weights.pt").write_bytes((session / "weights.pt").read_bytes())
    assert main(_options(again, tmp_path / "out", "--steps", "1", "--lr", "1e-7", "--lr-final", "1e-7")) == 0
    before, after = load_average(session / "weights.pt"), load_average(tmp_path / "out" / "weights.pt")
    for name, value in before.items():
        assert torch.allclose(after[name], value, atol=1e-3, rtol=2e-3), name


def test_the_session_ends_when_its_time_is_over_and_still_writes(carried: Path, tmp_path: Path) -> None:
    assert main(_options(carried, tmp_path / "out", "--steps", "1000000", "--minutes", "0.1")) == 0
    assert json.loads((tmp_path / "out" / "session.json").read_text())["step"] < 1_000_000
    assert (tmp_path / "out" / "weights.pt").is_file()


def test_a_folder_that_was_not_carried_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_options(tmp_path, tmp_path / "out")) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
