"""Which model a name means, and what runs it."""

import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.models.family import Family
from mimicam.engine.models.load import BACKENDS, FAMILIES, load_model


def test_a_model_that_does_not_exist_is_named() -> None:
    with pytest.raises(EngineError, match="nowhere"):
        load_model("nowhere")


def test_a_backend_that_does_not_exist_is_named() -> None:
    with pytest.raises(EngineError, match="no backend 'abacus'"):
        load_model(backend="abacus")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_backend_opens_a_form_or_says_in_one_line_why_not(family: Family) -> None:
    forms = {form for form, _ in family.openers}
    for form in forms:
        for backend in set(BACKENDS) - {"auto"}:
            opened, reason = (form, backend) in family.openers, family.reasons.get((form, backend))
            assert opened != (reason is not None), f"{form.value} on {backend}"
            assert reason is None or "\n" not in reason.format(path="x", backend=backend)
        assert (form, family.automatic(form)) in family.openers
    assert {form for form, _ in family.reasons} <= forms


def test_families_are_told_apart_by_what_their_files_say() -> None:
    assert len({family.networks for family in FAMILIES}) == len(FAMILIES)
    formats = [family.weights_format for family in FAMILIES if family.weights_format is not None]
    assert len(set(formats)) == len(formats)
