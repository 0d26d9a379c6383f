"""The preview window, without a display."""

from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.sinks.window import WindowSink, check_display
from mimicam.engine.types import Frame, Image


class FakeScreen:
    """Keeps what is drawn; gives the keys of a list."""

    def __init__(self, keys: list[str | None]) -> None:
        self.keys, self.drawn, self.opened = keys, list[Image](), True

    def show(self, image_bgr: Image) -> None:
        self.drawn.append(image_bgr.copy())

    def key(self) -> str | None:
        return self.keys.pop(0) if self.keys else None

    def is_open(self) -> bool:
        return self.opened

    def close(self) -> None:
        self.opened = False


def _window(keys: list[str | None]) -> tuple[WindowSink, FakeScreen, list[str]]:
    screen, pressed = FakeScreen(keys), list[str]()
    return WindowSink(on_key=pressed.append, figures=lambda: ["29.9 fps"], screen=screen), screen, pressed


def _frame(seq: int = 0) -> Frame:
    image = np.zeros((256, 256, 3), np.uint8)
    image[:] = (200, 100, 50)
    return Frame(image=image, seq=seq, captured_ns=0)


def test_the_window_shows_rgb_as_bgr() -> None:
    window, screen, _ = _window([])
    window.write(_frame())
    assert screen.drawn[0][0, 0].tolist() == [50, 100, 200]


@pytest.mark.parametrize(
    ("size", "shown"), [((256, 256), (512, 512)), ((480, 480), (480, 480)), ((360, 640), (360, 640))]
)
def test_small_results_are_enlarged_and_others_left(size: tuple[int, int], shown: tuple[int, int]) -> None:
    window, screen, _ = _window([])
    window.write(Frame(image=np.zeros((*size, 3), np.uint8), seq=0, captured_ns=0))
    assert screen.drawn[0].shape[:2] == shown


def test_keys_reach_the_session() -> None:
    window, _, pressed = _window(["m", None, "3", "q"])
    window.write(_frame())
    for _ in range(4):
        window.poll()
    assert pressed == ["m", "3", "q"]


def test_f_draws_the_figures_into_the_window_only() -> None:
    window, screen, pressed = _window(["f"])
    frame = _frame()
    window.write(frame)
    window.poll()
    window.write(frame)
    assert pressed == []
    assert (screen.drawn[0] != screen.drawn[1]).any(), "no figures were drawn"
    assert (frame.image == (200, 100, 50)).all(), "the figures were drawn into the frame of all sinks"


def test_a_banner_is_always_shown_in_the_window_and_in_no_other_sink() -> None:
    screen, frame = FakeScreen([]), _frame()
    window = WindowSink(on_key=lambda _: None, figures=list, banner="your own picture", screen=screen)
    window.write(frame)
    assert (screen.drawn[0] != (50, 100, 200)).any()
    assert (frame.image == (200, 100, 50)).all()


def test_closing_the_window_by_hand_quits() -> None:
    window, screen, pressed = _window([])
    window.write(_frame())
    screen.opened = False
    window.poll()
    assert pressed == ["q"]


def test_without_a_display_the_error_offers_a_file() -> None:
    with pytest.raises(EngineError, match=r"no display .* use --sink file:OUT\.mp4"):
        check_display({}, "linux")


def test_a_desktop_without_x_is_refused_before_qt_aborts() -> None:
    with pytest.raises(EngineError, match=r"turn XWayland on, or use --sink file:OUT\.mp4"):
        check_display({"WAYLAND_DISPLAY": "wayland-0"}, "linux")


def test_a_silent_display_is_refused_before_qt_aborts() -> None:
    with pytest.raises(EngineError, match="display :987 does not answer"):
        check_display({"DISPLAY": ":987"}, "linux")


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_windows_and_macos_always_have_a_display(platform: str) -> None:
    check_display({}, platform)


def test_a_display_given_as_a_path_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "org.xquartz:0").touch()
    check_display({"DISPLAY": str(tmp_path / "org.xquartz")}, "darwin")
