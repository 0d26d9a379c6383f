"""One model and one renderer for the folder; skipped, with the reason, where a machine has none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mimicam.engine.errors import EngineError
from mimicam.training.synthetic.model import FaceModel


@pytest.fixture(scope="session")
def face_model() -> FaceModel:
    try:
        return FaceModel.load()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def renderer(face_model: FaceModel) -> Iterator[object]:
    from mimicam.training.synthetic.render import Renderer

    try:
        made = Renderer(face_model, 128)
    except EngineError as error:
        pytest.skip(str(error))
    yield made
    made.context.release()
