"""Renders the studio's page: generates its inputs from the table of controls."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape

from mimicam.engine.control_row import Control, Value, controls_of, values_of
from mimicam.engine.controls import REGION_CONTROLS, EditSettings, Mode
from mimicam.engine.presets.preset import Preset
from mimicam.engine.web.protocol import STATIC
from mimicam.engine.web.settings import BrowserSettings, Settings, call_controls

_PLACE = re.compile(r"<!-- controls: (\w+) -->")
"""Place of a section's inputs in ``static/index.html``."""

_BLOCK = re.compile(r"<!-- with: (\w+) -->(.*?)<!-- end: \1 -->", re.DOTALL)
"""Part of ``static/index.html`` that is left out where its section has no inputs."""
_PRESETS = "<!-- presets -->"


def studio_page(
    edit: EditSettings,
    presets: Sequence[Preset] = (),
    *,
    modes: Sequence[Mode] = tuple(Mode),
    has_blendshapes: bool = True,
    own_face: bool = True,
) -> str:
    """Render the page as HTML.

    Args:
        edit: initial values of its inputs.
        presets: offered with a button and a slider each.
        modes: those that the model has.
        has_blendshapes: see `engine.models.base.LiveModel`; without them no part of the face has an
            input of its own.
        own_face: whether the model edits the driver's own picture.
    """
    lacking = {*(() if has_blendshapes else REGION_CONTROLS), *(() if own_face else ("own_face",))}
    rows = [(_within(row, modes), "call") for row in call_controls() if row.name not in lacking]
    rows += [(row, "browser") for row in controls_of(BrowserSettings)]
    values = Settings(portrait="", edit=edit).values() | values_of(BrowserSettings())

    def section(place: re.Match[str]) -> str:
        return "".join(_input(row, scope, values) for row, scope in rows if row.section == place[1])

    def block(found: re.Match[str]) -> str:
        return found[2] if any(row.section == found[1] for row, _ in rows) else ""

    page = _BLOCK.sub(block, (STATIC / "index.html").read_text(encoding="utf-8"))
    return _PLACE.sub(section, page).replace(_PRESETS, _preset_section(presets))


def _within(row: Control, modes: Sequence[Mode]) -> Control:
    if row.name != "mode":
        return row
    return replace(row, choices={mode: text for mode, text in row.choices.items() if mode in modes})


def _preset_section(presets: Sequence[Preset]) -> str:
    if not presets:
        return ""
    inputs = "".join(_preset(preset) for preset in presets)
    return (
        '<section class="card" aria-labelledby="presets-title"><h2 id="presets-title">Expressions</h2>'
        f'<div class="presets">{inputs}</div></section>'
    )


def _preset(preset: Preset) -> str:
    """A name and a key are letters, digits and hyphens, so they need no escaping."""
    title = preset.name.replace("-", " ").capitalize()
    key = f" ({preset.key.upper()})" if preset.key else ""
    leaves = ' data-leaves="true"' if preset.hold_s is not None else ""
    own = ' data-own="true"' if preset.eye_contact else ""
    return (
        f'<div class="preset"{own}><button type="button" data-preset="{preset.name}" data-key="{preset.key}"{leaves} '
        f'aria-pressed="false" title="Add this expression{key}">{title}</button>'
        f'<input type="range" min="0" max="1.5" step="0.05" value="0" data-preset-amount="{preset.name}" '
        f'aria-label="Strength of {title}" /></div>'
    )


def _input(row: Control, scope: str, values: Mapping[str, Value]) -> str:
    # The scripts find inputs by these two attributes, so they name none.
    marks = f'data-control="{row.name}" data-scope="{scope}"'
    value = values[row.name]
    if isinstance(row.default, bool):
        return _switch(row, marks, bool(value))
    if not row.choices:
        return _slider(row, marks, value)
    return _segments(row, marks, value) if row.segments else _list(row, marks, value)


def _switch(row: Control, marks: str, on: bool) -> str:
    checked = " checked" if on else ""
    return (
        f'<label class="switch" title="{escape(row.help)}">'
        f'<input id="{row.name}" type="checkbox" {marks}{checked} />'
        f"<span>{escape(row.label)}</span></label>"
    )


def _slider(row: Control, marks: str, value: Value) -> str:
    return (
        f'<label class="slider" for="{row.name}" title="{escape(row.help)}">'
        f"<span>{escape(row.label)}</span>"
        f'<output for="{row.name}" data-unit="{row.unit}"></output>'
        f'<input id="{row.name}" type="range" min="{row.minimum:g}" max="{row.maximum:g}" '
        f'step="{row.step:g}" value="{value:g}" {marks} /></label>'
    )


def _segments(row: Control, marks: str, value: Value) -> str:
    choices = "".join(
        f'<label><input type="radio" name="{row.name}" value="{plain}" {marks}'
        f"{' checked' if plain == value else ''} /><span>{escape(caption)}</span></label>"
        for plain, caption in zip(row.values, row.choices.values(), strict=True)
    )
    return (
        f'<fieldset class="segments" title="{escape(row.help)}">'
        f'<legend class="hidden">{escape(row.label)}</legend>{choices}</fieldset>'
    )


def _list(row: Control, marks: str, value: Value) -> str:
    options = "".join(
        f'<option value="{plain}"{" selected" if plain == value else ""}>{escape(caption)}</option>'
        for plain, caption in zip(row.values, row.choices.values(), strict=True)
    )
    kind = "number" if isinstance(row.default, int) else "text"
    return (
        f'<label class="field list" title="{escape(row.help)}"><span>{escape(row.label)}</span>'
        f'<select id="{row.name}" data-type="{kind}" {marks}>{options}</select></label>'
    )
