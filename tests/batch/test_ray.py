"""Batches with Ray: what goes to it, what comes back, and what happens without it. See test_ray_cluster.py too."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mimicam.engine import silent_imports
from mimicam.engine.batch import ray_cluster, ray_workers, workers
from mimicam.engine.batch.jobs import Row
from mimicam.engine.batch.process_pool import ProcessWorkers
from mimicam.engine.batch.ray_workers import RayWorker, RayWorkers
from mimicam.engine.batch.runner import Batch
from mimicam.engine.batch.states import DONE, FAILED, JobState, Unit, Workers
from mimicam.engine.commands import main
from mimicam.engine.errors import EngineError
from tests.batch.material import FRAMES, Inline, results, rows
from tests.pipeline.fake_model import FakeModel


class FakeData:
    """Ray Data as far as it is used: rows go to one actor, the last first."""

    def __init__(self, dies: Callable[[bytes], int] = lambda _: 0) -> None:
        self.dies, self.batches, self.sizes = dies, list[list[dict[str, Any]]](), list[int]()
        self.asked: dict[str, Any] = {}

    def ActorPoolStrategy(self, *, size: int, max_tasks_in_flight_per_actor: int) -> int:  # noqa: N802
        assert max_tasks_in_flight_per_actor == 1, "no unit waits at a busy worker while another is idle"
        return size

    def from_items(self, items: list[dict[str, Any]], *, override_num_blocks: int) -> FakeData:
        assert override_num_blocks == len(items)
        self.batches.append(items)
        return self

    def map_batches(
        self, fn: type[RayWorker], *, fn_constructor_args: Any, batch_size: int, compute: int, **asked: Any
    ) -> FakeData:
        assert batch_size == 1
        self.sizes.append(compute)
        self.asked, self.make = asked, lambda: fn(*fn_constructor_args)
        return self

    def iter_batches(self, **_: Any) -> Iterator[Mapping[str, Any]]:
        made = self.make()
        workers._Worker.model = FakeModel()
        for item in reversed(self.batches[-1]):
            with ray_workers._mark(made._folder, item["call"]).open("ab") as mark:
                mark.write(b"." * self.dies(item["call"]))
            yield made({name: np.array([value], object) for name, value in item.items()})


class RayError(Exception):
    """Stands for Ray's own."""


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> FakeData:
    """Ray Data behind a cluster of two cores and a GPU."""
    made = FakeData()
    ray = SimpleNamespace(data=made, exceptions=SimpleNamespace(RayError=RayError))
    room = {"CPU": 2, "GPU": 1}
    cluster = SimpleNamespace(ray=ray, count=room.__getitem__, close=lambda: None)
    monkeypatch.setattr(ray_workers, "RayCluster", lambda *_, **__: cluster)
    monkeypatch.setattr(workers._Worker, "model", None)
    monkeypatch.setattr(workers._Worker, "load", None)
    return made


def ray_pool(folder: Path, *, backend: str = "auto", count: int | None = None) -> RayWorkers:
    return RayWorkers(
        "local", model="compact", backend=backend, count=count, cores=2, folder=folder, tell=lambda _: None
    )


def batch(folder: Path, clip: Path, *names: str, pool: Workers | None = None) -> Batch:
    return Batch(
        rows(folder, clip, *names),
        folder=folder / "segments",
        results=folder / "results.json",
        segment_s=1.0,
        workers=pool or ray_pool(folder / "segments"),
    )


@pytest.mark.usefixtures("followed")
def test_ray_gives_the_files_of_the_process_pool(
    clip: Path, tmp_path: Path, data: FakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled, of_ray = tmp_path / "pool", tmp_path / "ray"
    pooled.mkdir()
    of_ray.mkdir()
    monkeypatch.setattr(workers._Worker, "model", FakeModel())
    assert batch(pooled, clip, "a", "b", pool=ProcessWorkers(Inline, count=2, stop=lambda: None)).run()
    assert batch(of_ray, clip, "a", "b").run()
    for name in ("a.mp4", "b.mp4"):
        assert (of_ray / name).read_bytes() == (pooled / name).read_bytes()
    assert [len(items) for items in data.batches] == [1, 1, 6], "model, one video, three segments a job"
    assert data.sizes == [1, 1, 2]
    assert [path.suffix for path in (of_ray / "segments").iterdir()] == [".npz"], "no mark of a try is left"


@pytest.mark.usefixtures("followed")
def test_no_frames_pass_through_ray(clip: Path, tmp_path: Path, data: FakeData) -> None:
    assert batch(tmp_path, clip, "a").run()
    largest = max(len(item["call"]) for items in data.batches for item in items)
    assert largest < 2000 < 3 * 320 * 320, "bytes"


@pytest.mark.usefixtures("followed")
def test_a_broken_job_costs_itself(clip: Path, tmp_path: Path, data: FakeData) -> None:
    data.dies = lambda call: 3 * (b"a.mp4" in call)
    told = list[str]()
    edited = batch(tmp_path, clip, "a", "b")
    edited._tell = told.append
    assert not edited.run()
    first, second = results(tmp_path)
    assert (first["state"], second["state"]) == (FAILED, DONE)
    assert first["error"] == "workers died 3 times while they were at it: try it with --workers 1"
    assert second["frames"] == FRAMES
    assert len([line for line in told if line.startswith("job 1 failed")]) == 1, "it has three segments"


@pytest.mark.usefixtures("followed")
def test_a_unit_is_tried_three_times(clip: Path, tmp_path: Path, data: FakeData) -> None:
    data.dies = lambda _: 2
    assert batch(tmp_path, clip, "a").run()


class WallError(Exception):
    """Cannot be copied: its only argument is not kept."""

    def __init__(self, height: int) -> None:
        super().__init__()
        self.height = height


def fail(kind: str) -> float:
    raise {"own": EngineError("give another file"), "disk": OSError(28, "full"), "odd": WallError(3)}[kind]


@pytest.mark.parametrize(
    ("kind", "raised", "text"),
    [
        ("own", EngineError, "give another file"),
        ("disk", OSError, "full"),
        ("odd", RuntimeError, "WallError"),
    ],
)
def test_errors_arrive_with_their_kind_and_place(
    tmp_path: Path, data: FakeData, kind: str, raised: type[Exception], text: str
) -> None:
    unit = Unit(state=JobState(row=Row(number=1)), work=fail, arguments=(kind,), after=lambda _: None)
    ((_, outcome),) = ray_pool(tmp_path).run(deque([unit]))
    with pytest.raises(raised, match=text) as caught:
        outcome()
    assert "in fail" in str(caught.value.__cause__)
    assert data.batches


def test_what_a_worker_takes(tmp_path: Path, data: FakeData) -> None:
    ray_pool(tmp_path).model()
    assert data.asked == {"num_cpus": 1}
    ray_pool(tmp_path, backend="tensorrt").model()
    assert data.asked == {"num_gpus": 1}
    with pytest.raises(EngineError, match="Ray at local has 2 cores: ask for at most as many --workers"):
        ray_pool(tmp_path, count=3)


def test_a_failure_of_ray_is_one_line(
    tmp_path: Path, data: FakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> Iterator[Any]:
        raise RayError("Traceback ...\nModuleNotFoundError: No module named 'mimicam'\n")

    monkeypatch.setattr(data, "iter_batches", broken)
    with pytest.raises(
        EngineError, match=r"Ray gave up \(ModuleNotFoundError: .*\): check that all machines"
    ):
        ray_pool(tmp_path).model()


@pytest.fixture
def jobs(tmp_path: Path, clip: Path) -> str:
    (tmp_path / "jobs.json").write_text(json.dumps([{"source": str(clip), "out": "a.mp4"}]))
    return str(tmp_path / "jobs.json")


def test_without_ray_it_says_what_to_install(
    jobs: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["batch", jobs, "--ray", "local"]) == 1
    assert "pip install 'mimicam[ray]'" in capsys.readouterr().err


def test_an_address_where_nobody_answers_is_named(jobs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert main(["batch", jobs, "--ray", f"127.0.0.1:{port}"]) == 1
    line = " ".join(capsys.readouterr().err.split())
    assert f"no Ray cluster answers at 127.0.0.1:{port}" in line
    assert "ray start --head --disable-usage-stats" in line


@pytest.mark.parametrize("address", ["ray://host:10001", "host", ":6379", "host:port", ""])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(EngineError, match="--ray takes local, auto or HOST:PORT"):
        ray_cluster.RayCluster(address, cores=1)


def test_a_cluster_starts_without_a_way_out_and_the_environment_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    before = dict(os.environ)
    with silent_imports.no_way_out():
        assert {os.environ["http_proxy"], os.environ["https_proxy"]} == {"http://127.0.0.1:9"}
        assert os.environ["no_proxy"] == "", "nothing goes past the proxy"
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("local", r"Ray does not start here \(no node in time\): try again when the machine is less busy"),
        ("auto", r"Ray at auto cannot be used \(no node in time\): start one with 'ray start --head"),
    ],
)
def test_a_ray_that_does_not_start_is_one_line(
    address: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = list[bool]()

    def start(**_: Any) -> None:
        raise Exception("no node\n in time")

    ray = SimpleNamespace(init=start, shutdown=lambda: closed.append(True))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(silent_imports, "ray", lambda: ray)
    folder = tmp_path / "ray"
    folder.mkdir()
    monkeypatch.setattr(ray_cluster.tempfile, "mkdtemp", lambda **_: str(folder))
    with pytest.raises(EngineError, match=line):
        ray_cluster.RayCluster(address, cores=1)
    assert closed == [True]
    assert folder.exists() == (address == "auto"), "its folder goes too"
