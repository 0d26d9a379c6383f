"""Which model a name means, and what runs it."""

import pytest

from engine.errors import EngineError
from engine.models.load import load_model


def test_a_model_that_does_not_exist_is_named() -> None:
    with pytest.raises(EngineError, match="nowhere"):
        load_model("nowhere")


def test_a_backend_that_does_not_exist_is_named() -> None:
    with pytest.raises(EngineError, match="no backend 'abacus'"):
        load_model(backend="abacus")
