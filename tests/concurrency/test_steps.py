"""Long work as an iterator."""

from __future__ import annotations

import gc
import inspect
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import mimicam
from mimicam.engine.concurrency import prefetch as ahead_module
from mimicam.engine.concurrency.prefetch import prefetch
from mimicam.engine.concurrency.steps import Progress, Steps, Work, counted, in_one_call, in_steps
from mimicam.engine.errors import EngineError
from tests.videos import grey, write_video

FRAMES = 4


class Job:
    """Yields progress over a few frames, and records what it did."""

    def __init__(self, *, fail_at: int | None = None, interrupt_at: int | None = None) -> None:
        self.fail_at, self.interrupt_at = fail_at, interrupt_at
        self.drawn: list[int] = []
        self.finished = self.ended = False

    def __call__(self) -> Work[str]:
        progress = counted("render", FRAMES)
        try:
            for frame in range(FRAMES):
                if frame == self.fail_at:
                    raise EngineError("the disk is full; free some space")
                if frame == self.interrupt_at:
                    signal.raise_signal(signal.SIGINT)
                self.drawn.append(frame)
                yield progress(frame + 1)
            self.finished = True
        finally:
            self.ended = True
        return "result"


def test_a_loop_sees_each_frame_and_then_the_result_is_there() -> None:
    steps = Steps(Job()())
    seen = list(steps)
    assert [(each.step, each.done, each.total) for each in seen] == [("render", n + 1, 4) for n in range(4)]
    assert sorted(each.seconds for each in seen) == [each.seconds for each in seen]
    assert steps.result() == steps.result() == "result"


def test_without_a_loop_the_result_does_all() -> None:
    job = Job()
    steps = Steps(job())
    assert job.drawn == [], "nothing happens before the first step"
    assert steps.result() == "result"
    assert job.drawn == list(range(FRAMES))


def test_a_loop_that_was_left_is_taken_up_again() -> None:
    job = Job()
    steps = Steps(job())
    for progress in steps:
        if progress.done == 2:
            break
    assert not job.ended, "nothing is lost"
    assert next(steps).done == 3
    assert steps.result() == "result"
    assert job.drawn == list(range(FRAMES))


def test_a_block_that_is_left_gives_the_work_up() -> None:
    job = Job()
    with Steps(job()) as steps:
        next(steps)
    assert job.ended
    assert not job.finished
    assert list(steps) == []
    with pytest.raises(RuntimeError, match="there is no result"):
        steps.result()


def test_steps_that_are_forgotten_give_the_work_up() -> None:
    job = Job()
    for _ in Steps(job()):
        break
    gc.collect()
    assert job.ended


def test_a_failure_comes_from_its_step_and_leaves_no_result() -> None:
    job = Job(fail_at=2)
    steps = Steps(job())
    with pytest.raises(EngineError, match="the disk is full"):
        list(steps)
    assert job.ended
    with pytest.raises(RuntimeError, match="there is no result"):
        steps.result()


def test_ctrl_c_within_a_step_is_raised_at_its_end_and_gives_the_work_up() -> None:
    job = Job(interrupt_at=1)
    steps = Steps(job())
    with pytest.raises(KeyboardInterrupt):
        list(steps)
    assert job.drawn == [0, 1], "nothing is interrupted in the middle of a frame"
    assert job.ended
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_within_the_result_gives_the_work_up() -> None:
    job = Job(interrupt_at=1)
    with pytest.raises(KeyboardInterrupt):
        Steps(job()).result()
    assert job.drawn == [0, 1]
    assert job.ended


def test_ctrl_c_within_the_last_step_is_raised_and_the_result_kept() -> None:
    def work() -> Work[str]:
        yield counted("render", 1)(1)
        signal.raise_signal(signal.SIGINT)
        return "result"

    steps = Steps(work())
    with pytest.raises(KeyboardInterrupt):
        list(steps)
    assert steps.result() == "result"


def test_between_two_steps_ctrl_c_is_the_caller_s_own() -> None:
    def ahead() -> Work[str]:
        for frame in prefetch(range(10)):
            yield counted("render", 10)(frame)
        return "result"

    steps = Steps(ahead())
    next(steps)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert steps.result() == "result", "a caller who goes on loses nothing"


def test_ctrl_c_ends_the_wait_for_a_frame_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead_module, "_END_LIMIT_S", 0.1)
    release, went_on = threading.Event(), threading.Event()

    def frames() -> Iterator[int]:
        yield 1
        yield 2
        signal.raise_signal(signal.SIGINT)
        if not release.wait(30):
            went_on.set()

    def work() -> Work[str]:
        with closing(prefetch(frames())) as ahead:
            for frame in ahead:
                yield counted("render", None)(frame)
        return "result"

    steps = Steps(work())
    next(steps)
    with pytest.raises(KeyboardInterrupt):
        list(steps)
    assert not went_on.is_set()
    release.set()


_ENDS_IN_A_LOOP = """
import threading
from pathlib import Path
from mimicam.engine.concurrency.steps import Steps
from mimicam.engine.render import render_video
from mimicam.engine.sources.video import VideoFile

class Same:
    def observe(self, frame): return frame
    def draw(self, seen): return seen

def work():
    for progress in Steps(render_video(VideoFile(Path("a.mp4")), Same(), Path("out.mp4"), size=(64, 48))):
        if progress.done == 3:
            print(len(list(Path().glob("*.part"))))
            reached.set()
            threading.Event().wait()

reached = threading.Event()
threading.Thread(target=work, daemon=True).start()
reached.wait()
"""


def test_a_program_that_ends_in_a_loop_leaves_no_file(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [grey(i) for i in range(20)])
    done = subprocess.run(
        [sys.executable, "-c", _ENDS_IN_A_LOOP],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def _work(source: Path, *, count: int = 2) -> Work[str]:
    """Draw a video.

    Args:
        source: the video.
        count: frames.
    """
    yield from (Progress(step="edit", done=n, total=count, seconds=0.0) for n in range(count))
    return str(source)


def test_both_public_forms_take_the_same_arguments_and_say_what_they_return() -> None:
    once, stepwise = in_one_call(_work, "draw"), in_steps(_work, "iter_draw")
    assert once(Path("a"), count=1) == "a"
    assert [each.done for each in stepwise(Path("a"), count=3)] == [0, 1, 2]
    assert str(inspect.signature(once)) == "(source: 'Path', *, count: 'int' = 2) -> 'str'"
    assert str(inspect.signature(stepwise)) == "(source: 'Path', *, count: 'int' = 2) -> 'Steps[str]'"
    assert (once.__name__, stepwise.__name__) == ("draw", "iter_draw")
    assert once.__doc__ == stepwise.__doc__ == _work.__doc__


@pytest.mark.parametrize("name", ["render", "edit_video", "retrieve"])
def test_the_python_api_has_both_forms(name: str) -> None:
    once, stepwise = getattr(mimicam, name), getattr(mimicam, f"iter_{name}")
    assert inspect.signature(once).parameters == inspect.signature(stepwise).parameters
    assert "progress" not in inspect.signature(once).parameters
