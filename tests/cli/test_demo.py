"""The demonstration, on a clip of half a second."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engine.assets_manifest import ASSETS
from engine.cli import main
from engine.demo import CELL_PX, LABEL_PX, SIZE, TrackOnce
from engine.portrait import read_picture
from engine.types import Face, Image
from tests.videos import grey, write_video


def test_three_pipelines_search_a_picture_once() -> None:
    asked: list[int] = []

    def track(image: Image) -> Face | None:
        asked.append(int(image[0, 0, 0]))
        return None

    once, first, second = TrackOnce(track), grey(1), grey(2)
    for image in (first, first, first, second, second, first):
        once(image)
    assert asked == [1, 2, 1]


def test_the_demo_writes_driver_and_three_results_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    face = cv2.resize(read_picture(ASSETS / "portraits" / "astronaut.jpg"), (256, 256))
    clip = write_video(tmp_path / "clip.mp4", [face] * 12)
    monkeypatch.setattr("engine.assets_manifest.demo_clip", lambda: clip)
    monkeypatch.setattr("engine.sinks.window.has_display", lambda: False)
    assert main(["demo", "-o", str(tmp_path / "demo.mp4")]) == 0
    assert "frames in 12" in capsys.readouterr().out
    with av.open(str(tmp_path / "demo.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert pictures[0].shape == (SIZE[1], SIZE[0], 3)
    cells = [pictures[-1][LABEL_PX:, i * CELL_PX : (i + 1) * CELL_PX] for i in range(4)]
    assert all(np.ptp(cell) > 100 for cell in cells), "a panel is empty"
    assert pictures[-1][:LABEL_PX].max() > 150, "the labels are missing"
