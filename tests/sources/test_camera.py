"""Cameras, with drivers that misbehave. No device is needed."""

import threading
from collections.abc import Callable, Iterator

import pytest

from mimicam.engine.concurrency.mailbox import Drops
from mimicam.engine.errors import EngineError
from mimicam.engine.sources.camera import CameraSource
from mimicam.engine.sources.devices import CameraInfo
from mimicam.engine.types import Image
from tests.fake_clock import FakeClock
from tests.videos import grey

CAMERAS = [CameraInfo(index=0, name="Built-in HD"), CameraInfo(index=2, name="USB Stick Cam")]


class FakeCapture:
    """Gives grey levels from a list; None in it is a failed read. Blocks when ``gate`` is not open."""

    def __init__(self, levels: Iterator[int | None], gate: threading.Semaphore | None = None) -> None:
        self._levels, self._gate = levels, gate
        self.released = threading.Event()

    def read(self) -> tuple[bool, Image | None]:
        if self._gate is not None:
            self._gate.acquire()
        level = next(self._levels, None)
        return (level is not None, None if level is None else grey(level))

    def release(self) -> None:
        self.released.set()


def _camera(
    opener: Callable[..., FakeCapture | None], selector: str = "0", limit_s: float = 10
) -> CameraSource:
    return CameraSource(
        selector, clock=FakeClock(), drops=Drops(), opener=opener, cameras=lambda: CAMERAS, limit_s=limit_s,
        reopen_every_s=0.001, platform="linux",
    )  # fmt: skip


def test_a_picture_arrives_as_rgb_with_number_and_time() -> None:
    gate = threading.Semaphore(1)
    camera = _camera(lambda *_: FakeCapture(iter([50, 60]), gate))
    frame = camera.read(threading.Event())
    assert frame is not None
    assert (frame.seq, int(frame.image[0, 0, 0])) == (0, 50)
    assert camera.name == "Built-in HD 64x48"
    gate.release(100)
    camera.close()


def test_a_camera_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(EngineError, match=r"cannot be opened .* there are: 0 \(Built-in HD\), 2 \(USB Stick"):
        _camera(lambda *_: None, "7")


def test_on_macos_a_denied_camera_names_the_system_setting() -> None:
    threads: list[threading.Thread] = []

    def opener(*_: object) -> FakeCapture | None:
        threads.append(threading.current_thread())
        return FakeCapture(iter([9]))

    options = {"clock": FakeClock(), "drops": Drops(), "cameras": lambda: CAMERAS, "reopen_every_s": 9.0}
    CameraSource(opener=opener, platform="darwin", **options).close()  # type: ignore[arg-type]
    assert threads[0] is threading.current_thread()
    with pytest.raises(EngineError, match="not allowed: see System Settings, Privacy & Security, Camera"):
        CameraSource(opener=lambda *_: None, platform="darwin", **options)  # type: ignore[arg-type]


def test_a_camera_is_chosen_by_a_part_of_its_name() -> None:
    opened: list[int] = []

    def opener(index: int, *_: object) -> FakeCapture:
        opened.append(index)
        return FakeCapture(iter([9]))

    _camera(opener, "stick").close()
    assert opened[0] == 2


def test_an_unknown_name_is_refused_with_the_list() -> None:
    with pytest.raises(EngineError, match="no camera is called 'webcam'; there are: 0"):
        _camera(lambda *_: None, "webcam")


def test_a_camera_without_pictures_ends_in_a_message() -> None:
    never = threading.Semaphore(0)
    with pytest.raises(EngineError, match=r"gave no picture within 0\.05 s: close other programs"):
        _camera(lambda *_: FakeCapture(iter([]), never), limit_s=0.05)
    never.release(100)


def test_a_camera_that_only_fails_ends_in_a_message() -> None:
    with pytest.raises(EngineError, match="gave no picture"):
        _camera(lambda *_: FakeCapture(iter([])), limit_s=0.05)


def test_an_unplugged_camera_is_found_again_and_its_numbers_go_on() -> None:
    replugged = threading.Event()
    first = FakeCapture(iter([10]))
    second = FakeCapture(iter([200]), threading.Semaphore(1))
    opened: list[int] = []

    def opener(*_: object) -> FakeCapture | None:
        opened.append(1)
        if len(opened) == 1:
            return first
        return second if replugged.is_set() else None

    camera = _camera(opener)
    stop = threading.Event()
    before = camera.read(stop)
    assert first.released.wait(10), "the dead device was not let go"
    while len(opened) < 3:  # it looks again and again
        pass
    assert "is gone: plug it in again" in camera.status
    replugged.set()
    after = camera.read(stop)
    assert before is not None
    assert after is not None
    assert (before.seq, after.seq, int(after.image[0, 0, 0])) == (0, 1, 200)
    assert camera.status == ""


def test_stop_ends_read_while_the_driver_hangs() -> None:
    gate = threading.Semaphore(1)
    camera = _camera(lambda *_: FakeCapture(iter([1]), gate))
    stop = threading.Event()
    assert camera.read(stop) is not None
    stop.set()
    assert camera.read(stop) is None
    camera.close()
    gate.release(100)
