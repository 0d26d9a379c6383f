"""Session: order, newest wins, stalled sinks, failures, shutdown. No devices, no sleeps."""

import _thread
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from mimicam.engine.errors import EngineError
from mimicam.engine.pipeline import FramePath
from mimicam.engine.report import Report, render_report
from mimicam.engine.session import STOP_LIMIT_S, Session, SessionParts
from mimicam.engine.sinks import Sink
from mimicam.engine.sources import Source
from mimicam.engine.stages.cover import CoveredFrames
from mimicam.engine.types import Frame
from tests.fake_clock import FakeClock
from tests.session.fakes import (
    LIMIT_S,
    BrokenSink,
    BrokenSource,
    EndlessSource,
    HangingSource,
    ListSink,
    PassThrough,
    ScriptedSource,
    StalledSink,
    frame,
)


def _session(source: Source, *sinks: Sink, pipeline: FramePath | None = None) -> Session:
    parts = SessionParts(source=source, pipeline=pipeline or PassThrough(), sinks=sinks, size=(64, 48))
    return Session(parts, clock=FakeClock())


def _is_complete(report: Report) -> bool:
    """Whether each frame is counted: in = out + dropped, and per sink out = written + dropped."""
    drops, names = report.drops, {sink.name for sink in report.sinks}
    before = sum(count for reason, count in drops.items() if reason not in names)
    return report.frames_in == report.frames_out + before and all(
        report.frames_out == sink.written + drops.get(sink.name, 0) for sink in report.sinks
    )


class Running:
    """A session on a thread of its own; its report is available after ``end``."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.report: Report | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.report = self.session.run()
        except EngineError as error:
            self.error = error

    def end(self) -> Report:
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive(), "the session did not end"
        assert self.report is not None, f"the session failed: {self.error}"
        return self.report


def test_frames_keep_their_order_and_the_last_one_always_arrives() -> None:
    sink = ListSink()
    report = _session(ScriptedSource([frame(i) for i in range(200)]), sink).run()
    assert sink.seen == sorted(sink.seen)
    assert sink.seen[-1] == 199
    assert report.frames_in == 200
    assert report.frames_out + report.drops.get("inference", 0) == 200, "a frame vanished uncounted"
    assert report.sinks[0].written + report.drops.get("list", 0) == report.frames_out


def test_a_slow_pipeline_gets_the_newest_frame_next() -> None:
    """While the first is drawn, the second is observed; of all later frames, the newest is next."""
    source, sink = ScriptedSource([frame(i) for i in range(10)], gated=True), ListSink()
    drawing, looking, go_on = threading.Event(), threading.Event(), threading.Event()

    def hold_first(taken: Frame) -> None:
        if taken.seq == 0:
            drawing.set()
            assert go_on.wait(LIMIT_S)
        else:
            assert sink.taken.acquire(timeout=LIMIT_S), "the result before was not written"

    def tell_second(taken: Frame) -> None:
        if taken.seq == 1:
            looking.set()

    pipeline = PassThrough(hold_first, before_look=tell_second)
    running = Running(_session(source, sink, pipeline=pipeline))
    source.gate.release()
    assert drawing.wait(LIMIT_S)
    source.gate.release()
    assert looking.wait(LIMIT_S), "nobody looked at the second frame while the first was drawn"
    source.gate.release(9)  # eight more frames, then the end
    while source.gate._value:  # all were read
        time.sleep(0)
    go_on.set()
    report = running.end()
    assert sink.seen == [0, 1, 9]
    assert report.drops == {"inference": 7}


def test_observing_runs_one_frame_ahead_of_drawing() -> None:
    looked: list[int] = []
    drawn: list[int] = []
    ahead: list[int] = []

    def draw(taken: Frame) -> None:
        assert taken.seq in looked
        drawn.append(taken.seq)

    def observe(taken: Frame) -> None:
        looked.append(taken.seq)
        ahead.append(len(looked) - len(drawn))

    report = _session(
        ScriptedSource([frame(i) for i in range(200)]),
        ListSink(),
        pipeline=PassThrough(draw, before_look=observe),
    ).run()
    assert drawn == looked == sorted(looked)
    assert len(drawn) == report.frames_out, "what was looked at was not drawn"
    # One being observed, one waiting, and one that the drawing thread took but did not start.
    assert max(ahead) <= 3


def test_an_error_while_looking_ends_the_session() -> None:
    def fail(_: Frame) -> None:
        raise EngineError("the tracker broke; reinstall")

    sink = ListSink()
    with pytest.raises(EngineError, match="the tracker broke"):
        _session(EndlessSource([frame(0)]), sink, pipeline=PassThrough(before_look=fail)).run()
    assert sink.closed == 1


def test_a_session_stops_with_one_frame_drawn_and_one_observed() -> None:
    source, sink = EndlessSource([frame(i) for i in range(3)]), ListSink()
    drawing, looked, go_on = threading.Event(), threading.Event(), threading.Event()

    def hold(_: Frame) -> None:
        drawing.set()
        assert go_on.wait(LIMIT_S)

    def tell(taken: Frame) -> None:
        if taken.seq:
            looked.set()

    running = Running(_session(source, sink, pipeline=PassThrough(hold, before_look=tell)))
    assert drawing.wait(LIMIT_S)
    assert looked.wait(LIMIT_S)
    running.session.stop()
    go_on.set()
    report = running.end()
    assert report.stuck == ()
    assert report.frames_out == 1
    assert report.frames_in == 1 + sum(report.drops.values()), "a frame vanished uncounted"


def test_a_stalled_sink_delays_nobody() -> None:
    source = ScriptedSource([frame(i) for i in range(100)], gated=True)
    stalled, healthy = StalledSink(), ListSink("healthy")
    running = Running(_session(source, stalled, healthy))
    for seq in range(100):
        source.gate.release()
        assert stalled.inside.wait(LIMIT_S)
        assert healthy.taken.acquire(timeout=LIMIT_S), f"frame {seq} waited for the stalled sink"
    stalled.free.set()
    source.gate.release()
    report = running.end()
    assert healthy.seen == list(range(100))
    assert stalled.seen == [0, 99], "a stalled sink must get the newest frame next, without a backlog"
    assert report.drops == {"stalled": 98}


def test_frame_age_counts_from_capture_to_written() -> None:
    clock = FakeClock(start_ns=1_000_000_000)
    source, sink = ScriptedSource([frame(0, captured_ns=1_000_000_000)]), ListSink()
    parts = SessionParts(
        source=source, pipeline=PassThrough(lambda _: clock.advance(0.040)), sinks=[sink], size=(64, 48)
    )
    report = Session(parts, clock=clock).run()
    assert report.sinks[0].age_ms is not None
    assert report.sinks[0].age_ms.max == pytest.approx(40.0)


def test_the_report_has_a_line_on_covered_parts_of_the_face() -> None:
    covered = CoveredFrames()
    covered.count({"mouth"})  # before counting starts
    path = PassThrough(lambda _: covered.count({"mouth"}))
    parts = SessionParts(source=ScriptedSource([frame(0)]), pipeline=path, sinks=[ListSink()], size=(64, 48))
    report = Session(parts, clock=FakeClock(), covered=covered).run()
    assert report.covered == {"mouth": 1}
    console = Console(width=120)
    with console.capture() as printed:
        console.print(render_report(report))
    assert "covered: mouth in 1 of 1 frames" in printed.get()


def test_stop_ends_source_pipeline_and_sinks_in_order() -> None:
    source, sink = EndlessSource([frame(0)]), ListSink()
    running = Running(_session(source, sink))
    assert sink.taken.acquire(timeout=LIMIT_S)
    running.session.stop()
    report = running.end()
    assert source.closed.is_set()
    assert sink.closed == 1
    assert report.stuck == ()
    assert not report.interrupted


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Programs that a shell script starts in the background ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_with_a_report() -> None:
    source, sink = EndlessSource([frame(0)]), ListSink(main_thread=False)

    def press(_: Frame) -> None:
        _thread.interrupt_main()

    report = _session(source, sink, pipeline=PassThrough(press)).run()
    assert report.interrupted
    assert sink.closed == 1
    assert source.closed.is_set()


def test_a_hanging_driver_does_not_hold_the_session() -> None:
    source, sink = HangingSource(), ListSink()
    session = _session(source, sink)
    began = threading.Event()
    original = source.read

    def read(stop: threading.Event) -> Frame | None:
        began.set()
        return original(stop)

    source.read = read  # type: ignore[method-assign]
    running = Running(session)
    assert began.wait(LIMIT_S)
    started_s = time.monotonic()
    session.stop()
    report = running.end()
    took_s = time.monotonic() - started_s
    source.free.set()
    assert report.stuck == ("source",)
    assert sink.closed == 1
    assert took_s < STOP_LIMIT_S + 5.0, "far beyond the limit: somebody waits for the driver"


def test_the_time_limit_ends_an_endless_source() -> None:
    sink = ListSink()
    report = _session(EndlessSource([frame(0)]), sink).run(seconds=0.05)
    assert sink.seen == [0]
    assert report.seconds >= 0


def test_a_source_error_is_raised_after_everything_is_closed() -> None:
    source, sink = BrokenSource([frame(0)]), ListSink()
    with pytest.raises(EngineError, match="the film tore; glue it"):
        _session(source, sink).run()
    assert sink.closed == 1
    assert source.closed.is_set()


def test_an_error_of_the_pipeline_ends_the_session() -> None:
    def fail(_: Frame) -> None:
        raise EngineError("the network broke; reinstall")

    sink = ListSink()
    with pytest.raises(EngineError, match="the network broke"):
        _session(EndlessSource([frame(0)]), sink, pipeline=PassThrough(fail)).run()
    assert sink.closed == 1


def test_a_sink_that_fails_to_open_ends_the_session_first() -> None:
    source, good = EndlessSource([frame(0)]), ListSink()
    with pytest.raises(EngineError, match="no such camera; buy one"):
        _session(source, good, BrokenSink(at_open=True)).run()
    assert good.seen == []
    assert good.closed == 1
    assert source.closed.is_set()


def test_the_last_sink_that_breaks_ends_the_session() -> None:
    broken = BrokenSink(at_write=1)
    with pytest.raises(EngineError, match="the disk is full"):
        _session(EndlessSource([frame(0)]), broken).run()
    assert broken.closed == 1


def test_a_broken_sink_is_dropped_alone_and_reported() -> None:
    good, broken = ListSink("good"), BrokenSink(at_write=1)
    source = ScriptedSource([frame(i) for i in range(3)], gated=True)
    told: list[str] = []
    heard = threading.Event()

    def on_lost(reason: str) -> None:
        told.append(reason)
        heard.set()

    parts = SessionParts(source=source, pipeline=PassThrough(), sinks=(good, broken), size=(64, 48))
    running = Running(Session(parts, clock=FakeClock(), on_lost=on_lost))
    source.gate.release()
    assert heard.wait(LIMIT_S)
    for _ in range(3):
        assert good.taken.acquire(timeout=LIMIT_S)
        source.gate.release()
    report = running.end()
    assert good.seen == [0, 1, 2]
    assert told == list(report.lost) == ["the disk is full; free some space"]
    assert broken.closed == good.closed == 1
    assert report.drops["broken"] == 3, "the frame on which it broke is lost too"
    assert _is_complete(report)


_UNFORESEEN = [
    OSError(5, "Input/output error"),
    RuntimeError("driver\nis gone"),
    ValueError("shape"),
    KeyError("x"),
]


@pytest.mark.parametrize("error", _UNFORESEEN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("main_thread", [False, True], ids=["own thread", "window"])
def test_any_error_drops_only_its_sink(error: Exception, main_thread: bool) -> None:
    good, broken = ListSink("good"), BrokenSink(at_write=1, error=error, main_thread=main_thread)
    report = _session(ScriptedSource([frame(i) for i in range(50)]), good, broken).run()
    assert good.seen[-1] == 49
    assert len(report.lost) == 1
    assert report.lost[0].startswith(f"broken broke ({type(error).__name__}: ")
    assert len(report.lost[0].splitlines()) == 1
    assert broken.closed == good.closed == 1
    assert _is_complete(report)


@pytest.mark.parametrize("error", _UNFORESEEN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", [{"at_open": True}, {"at_write": 1}], ids=["open", "write"])
def test_the_last_sinks_error_ends_the_session_in_one_line(error: Exception, where: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=rf"^broken broke \({type(error).__name__}: .*\): leave it out"):
        _session(EndlessSource([frame(0)]), BrokenSink(error=error, **where)).run()


def test_a_window_that_fails_to_close_costs_no_sink_its_frames() -> None:
    class Stubborn(ListSink):
        def close(self) -> None:
            raise RuntimeError("the desktop is gone")

    other = ListSink("other")
    window = Stubborn("window", main_thread=True)
    report = _session(ScriptedSource([frame(i) for i in range(5)]), window, other).run()
    assert (other.seen[-1], other.closed) == (4, 1)
    assert report.lost == ("window broke (RuntimeError: the desktop is gone): leave it out, or start again",)


class SlowToClose(ListSink):
    """Takes longer than the usual limit to complete its file."""

    def __init__(self, *, limit_s: float) -> None:
        super().__init__("disk")
        self.stop_limit_s, self.go_on = limit_s, threading.Event()

    def close(self) -> None:
        self.go_on.wait(LIMIT_S)
        super().close()


def test_only_a_sink_that_keeps_frames_gets_more_time_to_stop() -> None:
    for limit_s, stuck in ((LIMIT_S, ()), (STOP_LIMIT_S / 2, ("disk",))):
        slow, told = SlowToClose(limit_s=limit_s), []

        def on_slow(names: str, slow: SlowToClose = slow, told: list[str] = told) -> None:
            told.append(names)
            slow.go_on.set()

        parts = SessionParts(
            source=EndlessSource([frame(0)]), pipeline=PassThrough(), sinks=[slow], size=(64, 48)
        )
        report = Session(parts, clock=FakeClock(), on_slow=on_slow).run(seconds=0.05)
        assert (report.stuck, told) == (stuck, [] if stuck else ["disk"])
        slow.go_on.set()


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_stops_waiting_for_a_slow_sink() -> None:
    slow = SlowToClose(limit_s=LIMIT_S)
    parts = SessionParts(
        source=EndlessSource([frame(0)]), pipeline=PassThrough(), sinks=[slow], size=(64, 48)
    )
    session = Session(parts, clock=FakeClock(), on_slow=lambda _: signal.raise_signal(signal.SIGINT))
    started_s = time.monotonic()
    report = session.run(seconds=0.05)
    assert report.stuck == ("disk",)
    assert time.monotonic() - started_s < LIMIT_S
    slow.go_on.set()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_frames_that_a_hanging_thread_holds_are_counted() -> None:
    hangs, began = threading.Event(), threading.Event()

    def hang(_: Frame) -> None:
        began.set()
        assert hangs.wait(LIMIT_S)

    for pipeline, thread in ((PassThrough(hang), "drawing"), (PassThrough(before_look=hang), "observing")):
        began.clear()
        hangs.clear()
        running = Running(
            _session(EndlessSource([frame(i) for i in range(5)]), ListSink(), pipeline=pipeline)
        )
        assert began.wait(LIMIT_S)
        running.session.stop()
        report = running.end()
        hangs.set()
        assert report.stuck == (thread,), "the other thread does not wait for it"
        assert report.frames_in == report.frames_out + sum(report.drops.values())


def test_frames_that_a_hanging_sink_holds_are_counted() -> None:
    stalled = StalledSink()
    running = Running(_session(EndlessSource([frame(i) for i in range(5)]), stalled))
    assert stalled.inside.wait(LIMIT_S)
    running.session.stop()
    report = running.end()
    assert report.stuck == ("stalled",)
    assert _is_complete(report)
    stalled.free.set()


def test_a_window_runs_on_the_thread_that_called_run() -> None:
    window, other = ListSink("window", main_thread=True), ListSink("other")
    _session(ScriptedSource([frame(i) for i in range(5)]), window, other).run()
    assert window.thread is threading.current_thread()
    assert other.thread is not window.thread
    assert window.seen[-1] == other.seen[-1] == 4
    assert window.closed == other.closed == 1


def test_two_windows_are_refused() -> None:
    windows = [ListSink("a", main_thread=True), ListSink("b", main_thread=True)]
    with pytest.raises(ValueError, match="only one of them a window"):
        _session(ScriptedSource([]), *windows)


def test_sinks_receive_the_size_of_the_results() -> None:
    sink = ListSink()
    _session(ScriptedSource([frame(0)]), sink).run()
    assert sink.size == (64, 48)


def test_stats_name_rate_age_drops_and_the_sources_problem() -> None:
    source = ScriptedSource([frame(0)])
    session = _session(source, ListSink())
    session.run()
    source.status = "camera is gone: plug it in again"
    first, second = session.stats()
    assert "fps" in first
    assert "age" in first
    assert "drops: none" in first
    assert second == "camera is gone: plug it in again"
