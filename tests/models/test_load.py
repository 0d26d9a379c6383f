"""Which model a name means, and what runs it."""

import pytest

from mimicam.engine.backends.registry import BACKENDS, backend_names, find_backend
from mimicam.engine.errors import EngineError
from mimicam.engine.models.family import Family, Form
from mimicam.engine.models.load import FAMILIES, load_model


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
        for backend in BACKENDS:
            cell = (form, backend.name)
            assert not (cell in family.openers and cell in family.reasons), f"{form.value} on {backend.name}"
            refusal = family.reason(form, backend.name, "x")
            assert "\n" not in refusal
            assert any(word in refusal for word in ("give", "run", "use")), "it names a remedy"
        assert (form, family.automatic(form)) in family.openers
    assert {form for form, _ in family.reasons} <= forms


def test_a_backend_without_a_reason_is_refused_all_the_same() -> None:
    reason = FAMILIES[0].reason(Form.BUNDLE, "abacus", "x")
    assert reason == "compact models in this form do not run on --backend abacus: use --backend auto"


def test_every_choice_of_a_user_is_a_row() -> None:
    assert backend_names() == ("auto", *(backend.name for backend in BACKENDS))
    assert [find_backend(backend.name) for backend in BACKENDS] == list(BACKENDS)
    with pytest.raises(ValueError, match="'auto'"):
        find_backend("auto")


def test_families_are_told_apart_by_what_their_files_say() -> None:
    assert len({family.networks for family in FAMILIES}) == len(FAMILIES)
    formats = [family.weights_format for family in FAMILIES if family.weights_format is not None]
    assert len(set(formats)) == len(formats)
