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

from mimicam.engine.batch import process_pool, runner, units, workers
from mimicam.engine.batch.jobs import Job, Row, read_jobs
from mimicam.engine.batch.process_pool import ProcessWorkers
from mimicam.engine.batch.runner import Batch
from mimicam.engine.batch.states import DONE, FAILED
from mimicam.engine.batch.units import job_key, plan_segments, read_people
from mimicam.engine.concurrency.steps import Steps
from mimicam.engine.editing import person
from mimicam.engine.errors import EngineError
from mimicam.engine.face.covers import Covers
from mimicam.engine.files import sha256_of
from mimicam.engine.provenance import EDITED, this_program
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.verify import read_marks
from tests.batch.material import FPS, FRAMES, Inline, results, rows
from tests.pipeline.fake_model import FakeModel
from tests.videos import write_video

pytestmark = pytest.mark.usefixtures("followed")


def batch(folder: Path, jobs: list[Row], pool: Executor | None = None, **options: Any) -> Batch:
    settings = {"segment_s": 1.0, **options}
    count, stop = settings.pop("workers", 2), settings.pop("stop", lambda: None)
    return Batch(
        jobs,
        folder=folder / "segments",
        results=folder / "results.json",
        workers=ProcessWorkers(lambda: pool or Inline(), count=count, stop=stop),
        **settings,
    )


def key_of(job: Job) -> str:
    return job_key(job, workers.model_in_worker())


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
    assert [name for name in kept if ".tracks-" not in name] == [], "segments go when they are joined"


@pytest.mark.usefixtures("model")
def test_any_number_of_workers_gives_identical_files(clip: Path, tmp_path: Path) -> None:
    written = []
    for count in (1, 2, 4):
        folder = tmp_path / str(count)
        folder.mkdir()
        assert batch(folder, rows(folder, clip, "a"), workers=count).run()
        written.append((folder / "a.mp4").read_bytes())
    assert written[0] == written[1] == written[2]


def test_the_joined_result_names_what_it_comes_from(clip: Path, tmp_path: Path, model: FakeModel) -> None:
    assert batch(tmp_path, rows(tmp_path, clip, "a")).run()
    marks = read_marks(tmp_path / "a.mp4")
    assert marks == replace(EDITED, tool=this_program(), source=sha256_of(clip), model=model.sha256)


@pytest.mark.usefixtures("model")
def test_covered_frames_are_counted_over_the_segments(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = Covers(parts=frozenset({"mouth"}), landmarks=np.zeros(478, bool))
    monkeypatch.setattr(person, "find_covers", lambda _: {4: hand, 5: hand})
    assert batch(tmp_path, rows(tmp_path, clip, "a")).run()
    (found,) = results(tmp_path)
    assert (found["covered"], found["driver_covered"]) == ({"mouth": 2}, None)


@pytest.mark.usefixtures("model")
def test_a_job_that_looks_for_no_covers_counts_none(clip: Path, tmp_path: Path) -> None:
    given = [{"source": str(clip), "out": "a.mp4", "driver": str(clip), "covered": "ignore"}]
    (tmp_path / "jobs.json").write_text(json.dumps(given))
    assert batch(tmp_path, read_jobs(tmp_path / "jobs.json")).run()
    (found,) = results(tmp_path)
    assert (found["covered"], found["driver_covered"]) == (None, None)


@pytest.mark.usefixtures("model")
def test_a_job_may_have_a_badge(clip: Path, tmp_path: Path) -> None:
    given = [
        {"source": str(clip), "out": f"{badge}.mp4", "badge": badge} for badge in ("off", "top-left", "up")
    ]
    (tmp_path / "jobs.json").write_text(json.dumps(given))
    jobs = read_jobs(tmp_path / "jobs.json")
    assert jobs[2].error.startswith("badge must be one of bottom-right, bottom-left")
    batch(tmp_path, jobs[:2]).run()
    plain, badged = ([timed.image for timed in VideoFile(tmp_path / f"{n}.mp4")] for n in ("off", "top-left"))
    changes = [np.abs(a.astype(int) - b).mean(axis=2) for a, b in zip(plain, badged, strict=True)]
    assert min(change[4:24, 4:70].mean() for change in changes) > 25
    assert max(change[100:].mean() for change in changes) < 4, "all else is only encoded anew"


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
    monkeypatch.setattr(process_pool, "wait", pool.wait)
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
    segment, *_ = plan_segments(row.job, key_of(row.job), tmp_path, seconds=1.0)
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


def test_a_worker_that_would_write_other_pictures_refuses(
    clip: Path, tmp_path: Path, model: FakeModel
) -> None:
    (row,) = rows(tmp_path, clip, "a")
    assert row.job is not None
    units.follow(clip, tmp_path)
    segment, *_ = plan_segments(row.job, job_key(row.job, "weights backend"), tmp_path, seconds=1.0)
    with pytest.raises(EngineError, match="has another model, backend, preset or version"):
        workers.write_in_worker(segment)
    assert model.drawn == []


def test_a_finished_job_is_not_done_again(clip: Path, tmp_path: Path, model: FakeModel) -> None:
    jobs, told = rows(tmp_path, clip, "a"), list[str]()
    assert batch(tmp_path, jobs).run()
    drawn, stamp = len(model.drawn), (tmp_path / "a.mp4").stat().st_mtime_ns
    assert batch(tmp_path, jobs, tell=told.append).run()
    assert (len(model.drawn), (tmp_path / "a.mp4").stat().st_mtime_ns) == (drawn, stamp)
    assert told == [f"job 1: {tmp_path / 'a.mp4'} was done before"]
    (found,) = results(tmp_path)
    assert (found["frames"], found["changed"], found["segments"]) == (FRAMES, FRAMES - 1, 3)
    (tmp_path / "a.mp4").unlink()
    assert batch(tmp_path, jobs).run()
    assert len(model.drawn) == 2 * drawn, "a result that was removed is made again"


@pytest.mark.usefixtures("model")
def test_records_that_are_nested_too_deeply_count_as_none(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text("[" * 100_000)
    assert runner._read_results(record) == {}
    assert units._figures(record) is None


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

    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / ".0123456789abcdef.part").touch()  # as a killed worker leaves it
    assert batch(tmp_path, rows(tmp_path, clip, "a"), Inline(once)).run()
    assert times_of(tmp_path / "a.mp4") == pytest.approx(times_of(clip), abs=1e-3)
    assert [path.suffix for path in (tmp_path / "segments").iterdir()] == [".npz"]


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
    (made,) = Steps(units.track_people(clip)).result()
    np.testing.assert_array_equal(read.times_s, made.times_s)
    assert [each is None for each in read.faces] == [each is None for each in made.faces]
    first, second = read.faces[3], made.faces[3]
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.landmarks, second.landmarks)
    np.testing.assert_array_equal(first.blendshapes, second.blendshapes)
    np.testing.assert_array_equal(read.colours[3], made.colours[3])
    assert read.colours.keys() == made.colours.keys()
    assert read.hands.keys() == made.hands.keys() == {3}
    np.testing.assert_array_equal(read.hands[3], made.hands[3])
