"""The demonstration, on a clip of half a second."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mimicam.engine.assets_manifest import ASSETS
from mimicam.engine.commands import main
from mimicam.engine.demo import CELL_PX, LABEL_PX, SIZE, Wall
from mimicam.engine.portrait import enroll, read_picture
from mimicam.engine.types import EditSettings, Face, Frame, Image, Mode
from tests.pipeline.fake_model import FakeModel
from tests.videos import grey, write_video


def test_three_pipelines_look_at_a_picture_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Tracker:
        person = 0

        def __call__(self, image: Image, _captured_ns: int) -> Face | None:
            asked.append(int(image[0, 0, 0]))
            return None

    monkeypatch.setattr("mimicam.engine.demo.FaceTracker", Tracker)
    model = FakeModel()
    portrait = enroll(ASSETS / "portraits" / "astronaut.jpg", model=model)
    wall = Wall(model, [portrait], seconds=1.0, edit=EditSettings(jaw_gain=0.5))
    for seq in range(3):
        result = wall.draw(wall.observe(Frame(image=grey(seq), seq=seq, captured_ns=seq)))
        assert (result.seq, result.image.shape) == (seq, (SIZE[1], SIZE[0], 3))
    assert asked == [0, 1, 2]
    assert len(model.conditionings) == 3 * 3
    modes = {pipeline.edit.mode for pipeline in wall._pipelines}
    assert (modes, {pipeline.edit.jaw_gain for pipeline in wall._pipelines}) == (set(Mode), {0.5})


def test_the_demo_writes_driver_and_three_results_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    face = cv2.resize(read_picture(ASSETS / "portraits" / "astronaut.jpg"), (256, 256))
    clip = write_video(tmp_path / "clip.mp4", [face] * 12)
    monkeypatch.setattr("mimicam.engine.assets_manifest.demo_clip", lambda: clip)
    monkeypatch.setattr("mimicam.engine.sinks.window.has_display", lambda: False)
    assert main(["demo", "-o", str(tmp_path / "demo.mp4")]) == 0
    assert "frames in 12" in capsys.readouterr().out
    with av.open(str(tmp_path / "demo.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert pictures[0].shape == (SIZE[1], SIZE[0], 3)
    cells = [pictures[-1][LABEL_PX:, i * CELL_PX : (i + 1) * CELL_PX] for i in range(4)]
    assert all(np.ptp(cell) > 100 for cell in cells), "a panel is empty"
    assert pictures[-1][:LABEL_PX].max() > 150, "the labels are missing"
