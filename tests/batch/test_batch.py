"""Batches: segments are joined to what one edit gives, and nothing finished is done twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mimicam.engine.batch import runner, units, workers
from mimicam.engine.batch.jobs import Job, Row, read_jobs
from mimicam.engine.batch.runner import DONE, FAILED, Batch
from mimicam.engine.batch.units import content_hash, job_key, plan_segments, read_people
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.errors import EngineError
from mimicam.engine.sources.video import VideoFile
from tests.editing.material import face, track
from tests.pipeline.fake_model import FakeModel
from tests.videos import write_video

FRAMES, FPS = 13, 5


class Inline(Executor):
    """Runs each call at once, or fails as a test decides."""

    def __init__(self, fail: Callable[[str], BaseException | None] = lambda _: None) -> None:
        self.fail, self.calls = fail, list[str]()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.calls.append(fn.__name__)
        error = self.fail(fn.__name__)
        if isinstance(error, KeyboardInterrupt):
            raise error
        if error is not None:
            future.set_exception(error)
            return future
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as raised:
            future.set_exception(raised)
        return future


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """The model of this process, as if it were a worker."""
    made = FakeModel()
    monkeypatch.setattr(workers._Worker, "model", made)
    return made


@pytest.fixture(autouse=True)
def followed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Pretend that one person is seen, but not in the last frame; lists the videos that were followed."""
    seen: list[Path] = []

    def find(path: Path, progress: Callable[[int], None] = lambda _: None) -> list[FaceTrack]:
        seen.append(path)
        progress(1)
        faces = [face(160 + index, 160, scale_px=45.0) for index in range(FRAMES - 1)]
        return [track([*faces, None], fps=FPS)]

    monkeypatch.setattr(units, "track_people", find)
    content_hash.cache_clear()
    return seen


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(4)
    images = [rng.integers(0, 200, (20, 20, 3), np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(FRAMES)]
    return write_video(tmp_path_factory.mktemp("batch") / "clip.mp4", images, fps=FPS, sound=True)


def rows(folder: Path, clip: Path, *names: str) -> list[Row]:
    given = [{"source": str(clip), "out": f"{name}.mp4", "preset": "smile=1"} for name in names]
    (folder / "jobs.json").write_text(json.dumps(given))
    return read_jobs(folder / "jobs.json")


def batch(folder: Path, jobs: list[Row], pool: Executor | None = None, **options: Any) -> Batch:
    settings = {"workers": 2, "segment_s": 1.0, **options}
    return Batch(
        jobs,
        folder=folder / "segments",
        results=folder / "results.json",
        open_pool=lambda: pool or Inline(),
        **settings,
    )


def results(folder: Path) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())
    return read


def times_of(path: Path) -> list[float]:
    return [timed.time_s for timed in VideoFile(path)]


def sound_of(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return b"".join(bytes(packet) for packet in container.demux(audio=0))


@pytest.mark.usefixtures("model")
def test_the_joined_result_has_the_source_s_times_and_sound(clip: Path, tmp_path: Path) -> None:
    assert batch(tmp_path, rows(tmp_path, clip, "a")).run()
    assert times_of(tmp_path / "a.mp4") == pytest.approx(times_of(clip), abs=1e-3)
    assert sound_of(tmp_path / "a.mp4") == sound_of(clip)
    (found,) = results(tmp_path)
    counted = (found["state"], found["frames"], found["changed"], found["without_face"], found["segments"])
    assert counted == (DONE, FRAMES, FRAMES - 1, 1, 3)
    kept = [path.name for path in (tmp_path / "segments").iterdir()]
    assert [name for name in kept if not name.endswith(".tracks.npz")] == [], (
        "segments go when they are joined"
    )


@pytest.mark.usefixtures("model")
def test_any_number_of_workers_gives_identical_files(clip: Path, tmp_path: Path) -> None:
    written = []
    for count in (1, 2, 4):
        folder = tmp_path / str(count)
        folder.mkdir()
        assert batch(folder, rows(folder, clip, "a"), workers=count).run()
        written.append((folder / "a.mp4").read_bytes())
    assert written[0] == written[1] == written[2]


class Late(Inline):
    """Runs calls only when their results are waited for, the last one first."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._open: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if fn is workers.model_in_worker:
            return super().submit(fn, *args, **kwargs)
        self._open.append((Future(), fn, args))
        self.most = max(self.most, len(self._open))
        return self._open[-1][0]

    def wait(self, futures: Any, **_: object) -> tuple[set[Future[Any]], set[Future[Any]]]:
        future, fn, args = self._open.pop()
        future.set_result(fn(*args))
        return {future}, {*futures} - {future}


@pytest.mark.usefixtures("model")
def test_a_video_of_several_jobs_is_followed_once_and_any_order_gives_the_same(
    clip: Path, tmp_path: Path, followed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Late()
    monkeypatch.setattr(runner, "wait", pool.wait)
    assert batch(tmp_path, rows(tmp_path, clip, "a", "b"), pool, workers=3).run()
    assert followed == [clip]
    assert pool.most == 3
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert times_of(tmp_path / "a.mp4") == pytest.approx(times_of(clip), abs=1e-3)


def test_an_interrupted_batch_goes_on_where_it_was(clip: Path, tmp_path: Path, model: FakeModel) -> None:
    jobs = rows(tmp_path, clip, "a")
    count = [0]

    def interrupt(name: str) -> BaseException | None:
        count[0] += name == "write_in_worker"
        return KeyboardInterrupt() if count[0] == 3 else None

    stopped = []
    with pytest.raises(KeyboardInterrupt):
        batch(tmp_path, jobs, Inline(interrupt), workers=1, stop=lambda: stopped.append(True)).run()
    assert stopped == [True], "the workers are told"
    assert not (tmp_path / "a.mp4").exists()
    before = len(model.drawn)
    assert before == 10, "two of three segments"
    assert batch(tmp_path, jobs).run()
    assert len(model.drawn) - before == FRAMES - 1 - 10
    (found,) = results(tmp_path)
    assert (found["segments_reused"], found["frames"]) == (2, FRAMES)


def test_workers_give_up_at_the_next_frame_of_any_unit(
    clip: Path, tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = rows(tmp_path, clip, "a")
    assert row.job is not None
    units.follow(clip, tmp_path)
    segment, *_ = plan_segments(row.job, "key", tmp_path, seconds=1.0)
    stop = threading.Event()
    stop.set()
    monkeypatch.setattr(workers._Worker, "stop", stop)
    with pytest.raises(EngineError, match="the batch was interrupted: run it again to go on"):
        workers.write_in_worker(segment)
    assert len(model.drawn) == 1
    assert segment.figures is None
    assert not segment.path.exists()
    with pytest.raises(EngineError, match="interrupted"):
        workers.follow_in_worker(clip, tmp_path / "other")


def test_a_finished_job_is_not_done_again(clip: Path, tmp_path: Path, model: FakeModel) -> None:
    jobs, told = rows(tmp_path, clip, "a"), list[str]()
    assert batch(tmp_path, jobs).run()
    drawn, stamp = len(model.drawn), (tmp_path / "a.mp4").stat().st_mtime_ns
    assert batch(tmp_path, jobs, tell=told.append).run()
    assert (len(model.drawn), (tmp_path / "a.mp4").stat().st_mtime_ns) == (drawn, stamp)
    assert told == [f"job 1: {tmp_path / 'a.mp4'} was done before"]
    (tmp_path / "a.mp4").unlink()
    assert batch(tmp_path, jobs).run()
    assert len(model.drawn) == 2 * drawn, "a result that was removed is made again"


@pytest.mark.usefixtures("model")
def test_a_segment_without_its_figures_is_written_again(clip: Path, tmp_path: Path) -> None:
    (row,) = rows(tmp_path, clip, "a")
    assert row.job is not None
    folder = tmp_path / "segments"
    folder.mkdir()
    units.follow(clip, folder)
    segment, *_ = plan_segments(row.job, "key", folder, seconds=1.0)
    units.write_segment(segment, FakeModel())
    assert segment.figures is not None
    for damage in ("", "{", '{"frames": 3}'):
        segment.path.with_suffix(".json").write_text(damage)
        assert segment.figures is None
        units.write_segment(segment, FakeModel())
        assert segment.figures is not None
    segment.path.unlink()
    assert segment.figures is None


@pytest.mark.usefixtures("model")
def test_a_broken_job_does_not_stop_the_others(clip: Path, tmp_path: Path) -> None:
    jobs = rows(tmp_path, clip, "a", "b", "c")
    assert jobs[1].job is not None
    other = replace(jobs[1].job, face="7")
    jobs[1] = replace(jobs[1], job=other)
    jobs.append(Row(number=4, error="it has no source: add it"))
    assert not batch(tmp_path, jobs).run()
    assert [each["state"] for each in results(tmp_path)] == [DONE, FAILED, DONE, FAILED]
    assert "--face 7 names nobody" in results(tmp_path)[1]["error"]
    assert results(tmp_path)[3]["error"] == "it has no source: add it"
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.usefixtures("model")
def test_a_fault_of_ours_costs_its_job_and_is_shown_whole(clip: Path, tmp_path: Path) -> None:
    faults, told = [ZeroDivisionError("by zero")], list[str]()

    def once(name: str) -> BaseException | None:
        return faults.pop() if name == "write_in_worker" and faults else None

    assert not batch(tmp_path, rows(tmp_path, clip, "a", "b"), Inline(once), tell=told.append).run()
    assert sorted(each["state"] for each in results(tmp_path)) == [DONE, FAILED]
    assert any("a fault of mimicam (ZeroDivisionError: by zero)" in line for line in told)
    assert any(line.startswith(("Traceback", "ZeroDivisionError")) for line in told)


@pytest.mark.usefixtures("model")
def test_a_worker_that_dies_costs_nothing(clip: Path, tmp_path: Path) -> None:
    dies = [BrokenProcessPool("killed"), None]

    def once(name: str) -> BaseException | None:
        return dies.pop(0) if name == "write_in_worker" and dies else None

    assert batch(tmp_path, rows(tmp_path, clip, "a"), Inline(once)).run()
    assert times_of(tmp_path / "a.mp4") == pytest.approx(times_of(clip), abs=1e-3)


@pytest.mark.usefixtures("model")
def test_a_job_that_kills_workers_is_given_up_and_the_others_are_done(clip: Path, tmp_path: Path) -> None:
    bad = write_video(tmp_path / "bad.mp4", [np.zeros((320, 320, 3), np.uint8)] * FRAMES, fps=FPS)
    jobs = [*rows(tmp_path, bad, "a"), *(replace(row, number=2) for row in rows(tmp_path, clip, "b"))]

    class Deadly(Inline):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            on_bad = any(getattr(getattr(each, "job", None), "source", None) == bad for each in args)
            self.fail = lambda _: BrokenProcessPool("killed") if on_bad else None
            return super().submit(fn, *args, **kwargs)

    assert not batch(tmp_path, jobs, Deadly(), workers=1).run()
    first, second = results(tmp_path)
    assert (first["state"], second["state"]) == (FAILED, DONE)
    assert "workers died 3 times" in first["error"]


def test_the_key_changes_with_all_that_changes_the_result(clip: Path, tmp_path: Path) -> None:
    job = Job(source=clip, out=tmp_path / "a.mp4", preset="smile=1")
    other = write_video(tmp_path / "other.mp4", [np.zeros((32, 32, 3), np.uint8)] * 2)
    keys = {
        job_key(job, "model"),
        job_key(job, "another model"),
        job_key(replace(job, preset="smile=0.9"), "model"),
        job_key(replace(job, source=other), "model"),
        job_key(replace(job, driver=other), "model"),
        job_key(replace(job, mirror=True), "model"),
        job_key(replace(job, out=tmp_path / "b.mp4"), "model"),
    }
    assert len(keys) == 7
    assert job_key(replace(job), "model") in keys


def test_tracks_survive_their_file(tmp_path: Path, clip: Path) -> None:
    units.follow(clip, tmp_path)
    (read,) = read_people(clip, tmp_path)
    (made,) = units.track_people(clip)
    np.testing.assert_array_equal(read.times_s, made.times_s)
    assert [each is None for each in read.faces] == [each is None for each in made.faces]
    first, second = read.faces[3], made.faces[3]
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.landmarks, second.landmarks)
    np.testing.assert_array_equal(first.blendshapes, second.blendshapes)
