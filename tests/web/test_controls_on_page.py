"""The schema and the page, generated from the table of controls."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser

import pytest

from mimicam.engine.control_row import control, controls_of
from mimicam.engine.controls import REGION_CONTROLS, STUDIO_EDIT, EditSettings, Mode
from mimicam.engine.presets.bundled import BUNDLED
from mimicam.engine.web import page, protocol
from mimicam.engine.web.page import studio_page
from mimicam.engine.web.protocol import SETTINGS, from_query, openapi
from mimicam.engine.web.settings import BrowserSettings, MessageError, call_controls


class Inputs(HTMLParser):
    """Collects the inputs of a page that belong to a control."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.options: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if "data-control" in given:
            self.found.append({"tag": tag, **given})
        if tag == "option" and "selected" in given:
            self.options.append(given["value"])

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [one for one in self.found if one["data-control"] == name]


def test_each_row_with_a_place_has_its_input() -> None:
    inputs = Inputs(studio_page(STUDIO_EDIT))
    shown = {row.name for row in (*call_controls(), *controls_of(BrowserSettings)) if row.section}
    assert {one["data-control"] for one in inputs.found} == shown
    assert "<!-- controls" not in studio_page(STUDIO_EDIT), "every place is filled"


def test_a_slider_has_the_range_of_its_row() -> None:
    (slider,) = Inputs(studio_page(STUDIO_EDIT)).of("pose_gain")
    assert (slider["min"], slider["max"], slider["step"], slider["value"]) == ("0", "1.5", "0.05", "1")


def test_the_page_starts_with_the_servers_values() -> None:
    inputs = Inputs(studio_page(EditSettings(mode=Mode.EXP, expression_gain=1.2, mirror=False)))
    assert [one["value"] for one in inputs.of("mode") if "checked" in one] == ["exp"]
    assert inputs.of("expression_gain")[0]["value"] == "1.2"
    assert "checked" not in inputs.of("mirror")[0]
    assert set(inputs.options) == {"absolute", "relative", "measured", "keep", "480", "kept", "bottom-right"}


def test_the_page_offers_what_the_model_has() -> None:
    html = studio_page(STUDIO_EDIT, modes=(Mode.BOTH,), has_blendshapes=False, own_face=False)
    inputs, all_inputs = Inputs(html), Inputs(studio_page(STUDIO_EDIT))
    assert [one["value"] for one in inputs.of("mode")] == ["both"]
    missing = {one["data-control"] for one in all_inputs.found} - {
        one["data-control"] for one in inputs.found
    }
    assert missing == {*REGION_CONTROLS, "own_face"}
    assert not any(title in html for title in ("Parts of the face", "Your own face", "<!-- with", "<!-- end"))


def test_each_preset_has_a_button_with_its_key_and_a_slider() -> None:
    html = studio_page(STUDIO_EDIT, [BUNDLED["smile"], BUNDLED["wink"], BUNDLED["brows-up"]])
    assert (
        'data-preset="smile" data-key="j" aria-pressed="false" title="Add this expression (J)">Smile<' in html
    )
    assert 'data-preset="wink" data-key="w" data-leaves="true"' in html
    assert 'data-preset-amount="brows-up" aria-label="Strength of Brows up"' in html
    assert "Expressions</h2>" not in studio_page(STUDIO_EDIT), "a model without presets has no such card"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Toy:
    brow_gain: float = control(1.0, label="Brow <strength>", section="motion", maximum=3.0, help="Brows.")
    tint: str = control(
        "red", label="Tint", section="motion", choices={"red": "Red", "blue": "Blue"}, help="Tint."
    )


def test_a_new_row_reaches_schema_and_page(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = controls_of(_Toy)
    monkeypatch.setattr(page, "call_controls", lambda: rows)
    monkeypatch.setattr(page, "values_of", lambda _: {"voice": False, "transparent": False})
    monkeypatch.setattr(page.Settings, "values", lambda _: {"brow_gain": 1.0, "tint": "blue"})
    html = studio_page(STUDIO_EDIT)
    assert Inputs(html).of("brow_gain")[0]["max"] == "3"
    assert "Brow &lt;strength&gt;" in html
    assert "blue" in Inputs(html).options
    assert protocol._schema_of(rows[0]) == {
        "type": "number",
        "minimum": 0.0,
        "maximum": 3.0,
        "description": "Brows.",
    }
    assert protocol._schema_of(rows[1])["enum"] == ["red", "blue"]


def test_whip_describes_every_setting() -> None:
    parameters = openapi()["paths"]["/whip"]["post"]["parameters"]
    assert [one["name"] for one in parameters] == list(SETTINGS)


def test_settings_in_an_address_have_their_types() -> None:
    query = {
        "portrait": "x",
        "mode": "exp",
        "pose_gain": "0.5",
        "mirror": "false",
        "height": "256",
        "token": "t",
    }
    assert from_query(query) == {
        "portrait": "x", "mode": "exp", "pose_gain": 0.5, "mirror": False, "height": 256,
    }  # fmt: skip


@pytest.mark.parametrize("query", [{"mirror": "yes"}, {"pose_gain": "NaN"}, {"height": "4" * 5000}])
def test_settings_in_an_address_are_refused_in_words(query: dict[str, str]) -> None:
    with pytest.raises(MessageError, match=f"{next(iter(query))} must be of type"):
        from_query(query)
