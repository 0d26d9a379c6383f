"""Batches on a real Ray cluster of several nodes on this machine: a worker is killed, and files are identical."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import pytest

pytest.importorskip("ray", reason="Ray is not installed: make test-ray")

from mimicam.engine import silent_imports
from mimicam.engine.assets_manifest import demo_clip
from mimicam.engine.batch.jobs import Row, read_jobs
from mimicam.engine.batch.process_pool import process_workers
from mimicam.engine.batch.ray_cluster import RayCluster
from mimicam.engine.batch.ray_workers import RayWorkers
from mimicam.engine.batch.runner import Batch
from mimicam.engine.batch.states import JobState, Unit, Workers
from mimicam.engine.errors import EngineError
from tests.batch.ray_units import meet, work

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="finds a writer in /proc"),
]
_NODE = {"num_cpus": 2, "object_store_memory": 80 << 20, "include_dashboard": False}
FRAMES = 26
"""Two segments."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes with two cores each."""
    silent_imports.ray()
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    with silent_imports.no_way_out():
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=_NODE)
        cluster.add_node(**_NODE)
    yield cluster.address
    cluster.shutdown()


def pool(address: str, folder: Path, count: int) -> RayWorkers:
    return RayWorkers(
        address, model="compact", backend="auto", count=count, cores=2, folder=folder, tell=lambda _: None
    )


def run(workers: Workers, *calls: tuple[Any, ...]) -> dict[str, Any]:
    """Run units, by the name that is their second argument; return each result or error."""
    units = [
        Unit(state=JobState(row=Row(number=1)), work=call[0], arguments=call[1:], after=lambda _: None)
        for call in calls
    ]
    found: dict[str, Any] = {}
    try:
        for unit, outcome in workers.run(deque(units)):
            try:
                found[unit.arguments[1]] = outcome()
            except EngineError as error:
                found[unit.arguments[1]] = str(error)
    finally:
        workers.close()
    return found


def test_units_run_on_all_nodes_and_killed_ones_again(address: str, tmp_path: Path) -> None:
    calls = [(meet, tmp_path, f"together{number}", 3) for number in range(4)]
    deadly = [(work, tmp_path, "once", 1), (work, tmp_path, "always", 9)]
    found = run(pool(address, tmp_path, 4), *calls, *deadly)
    assert [found[f"together{number}"] for number in range(4)] == [1.0] * 4
    assert len({path.read_text() for path in tmp_path.glob("together*.ran")}) == 2, "both nodes"
    assert found["once"] == 2.0
    assert "workers died 3 times" in found["always"]
    assert (tmp_path / "always.ran").read_text().count("\n") == 3
    assert list(tmp_path.glob(".*.part")) == []


def test_a_cluster_that_reports_its_use_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    internal_kv = pytest.importorskip("ray.experimental.internal_kv")
    cluster = RayCluster(address, cores=1)
    kept = json.loads(internal_kv._internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster"))
    cluster.close()
    assert "os" not in kept, "this one reports nothing"
    reporting = json.dumps({**kept, "os": "linux"}).encode()
    monkeypatch.setattr(internal_kv, "_internal_kv_get", lambda *_, **__: reporting)
    with pytest.raises(EngineError, match="this Ray cluster reports its use"):
        RayCluster(address, cores=1)


def test_any_number_of_workers_and_a_killed_one_give_identical_files(address: str, tmp_path: Path) -> None:
    clip = _cut(tmp_path / "clip.mp4")
    written = [
        _edited(clip, lambda _: process_workers("compact", "auto", 1)),
        _edited(clip, lambda folder: pool(address, folder, 1)),
        _edited(clip, lambda folder: pool(address, folder, 4)),
    ]
    killed = threading.Event()
    killer = threading.Thread(target=_kill_a_writer, args=(clip.parent / "jobs.segments", killed))
    killer.start()
    written.append(_edited(clip, lambda folder: pool(address, folder, 2)))
    killer.join()
    assert killed.is_set(), "a worker was killed while it wrote"
    assert len(set(written)) == 1
    assert [path.suffix for path in (tmp_path / "jobs.segments").iterdir()] == [".npz"]


def _cut(path: Path) -> Path:
    """Write the first frames of the bundled clip."""
    with av.open(str(demo_clip())) as given, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=given.streams.video[0].average_rate)
        stream.width, stream.height = 640, 360
        for frame, _ in zip(given.decode(video=0), range(FRAMES), strict=False):
            frame.pict_type = av.video.frame.PictureType.NONE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _edited(clip: Path, workers: Callable[[Path], Workers]) -> bytes:
    """Edit the clip in two segments; the result and the tracks are made anew."""
    folder, out = clip.parent / "jobs.segments", clip.parent / "out.mp4"
    (clip.parent / "jobs.json").write_text(
        json.dumps([{"source": "clip.mp4", "out": "out.mp4", "preset": "smile=0.5"}])
    )
    rows = read_jobs(clip.parent / "jobs.json")
    results = clip.parent / "results.json"
    results.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    batch = Batch(rows, folder=folder, results=results, workers=workers(folder), segment_s=1.0)
    assert batch.run(), results.read_text()
    assert json.loads(results.read_text())[0]["segments"] == 2
    return out.read_bytes()


def _kill_a_writer(folder: Path, killed: threading.Event) -> None:
    """Kill the first process that has an unfinished segment open, as soon as it has written to it."""
    end_s = time.monotonic() + 300.0
    while time.monotonic() < end_s and not killed.is_set():
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with suppress(OSError):  # processes end meanwhile
                target = link.readlink()
                if target.parent == folder and target.suffix == ".part" and target.stat().st_size > 0:
                    os.kill(int(link.parts[2]), signal.SIGKILL)
                    killed.set()
                    return
        time.sleep(0.1)  # another process writes: there is no event to wait for
