"""What batches work on: a short clip, one person in it, and a model that draws at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.batch import units, workers
from mimicam.engine.batch.units import content_hash
from mimicam.engine.concurrency.steps import Work, counted
from mimicam.engine.editing.track import FaceTrack
from tests.batch.material import FPS, FRAMES
from tests.editing.material import face, track
from tests.pipeline.fake_model import FakeModel
from tests.videos import write_video


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """The model of this process, as if it were a worker."""
    made = FakeModel()
    monkeypatch.setattr(workers._Worker, "model", made)
    return made


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Pretend that one person is seen, but not in the last frame; lists the videos that were followed."""
    seen: list[Path] = []

    def find(path: Path) -> Work[list[FaceTrack]]:
        seen.append(path)
        yield counted("track", FRAMES)(1)
        faces = [face(160 + index, 160, scale_px=45.0) for index in range(FRAMES - 1)]
        pictures = [np.full((320, 320, 3), index, np.uint8) for index in range(FRAMES)]
        found = track([*faces, None], fps=FPS, pictures=pictures)
        return [replace(found, hands={3: np.arange(478) % 2 == 0})]

    monkeypatch.setattr(units, "track_people", find)
    content_hash.cache_clear()
    return seen


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(4)
    images = [rng.integers(0, 200, (20, 20, 3), np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(FRAMES)]
    return write_video(tmp_path_factory.mktemp("batch") / "clip.mp4", images, fps=FPS, sound=True)
