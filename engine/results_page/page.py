"""Write one HTML page that shows results beside their sources and drivers, without any network."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically
from mimicam.engine.picture_file import PICTURE_SUFFIXES
from mimicam.engine.results_page.collect import DONE, FAILED, Result

_STATIC = Path(__file__).parent / "static"
_GENERATOR = '<meta name="generator" content="mimicam report">'
_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """One column of figures."""

    caption: str
    value: Callable[[Result], float | str | None]
    shown: Callable[[float], str] = "{:,.0f}".format
    style: str = "figure"


def _figure(name: str, scale: float = 1.0) -> Callable[[Result], float | None]:
    def value(result: Result) -> float | None:
        found = result.figures.get(name)
        return None if found is None else found * scale

    return value


_COLUMNS = (
    _Column(caption="Kind", value=lambda result: result.kind, style=""),
    _Column(caption="State", value=lambda result: result.state, style=""),
    _Column(caption="Length, s", value=_figure("duration_s"), shown="{:.2f}".format),
    _Column(caption="Frames", value=_figure("frames")),
    _Column(caption="Changed", value=_figure("changed")),
    _Column(caption="Without face", value=_figure("without_face")),
    _Column(caption="Mouth covered", value=_figure("mouth_covered")),
    _Column(caption="Eyes covered", value=_figure("eyes_covered")),
    _Column(caption="Driver's mouth covered", value=_figure("driver_mouth_covered")),
    _Column(caption="Driver's eyes covered", value=_figure("driver_eyes_covered")),
    _Column(caption="Work, s", value=_figure("seconds"), shown="{:,.1f}".format),
    _Column(caption="Lines", value=_figure("height")),
    _Column(caption="Size, MB", value=_figure("bytes", 1e-6), shown="{:,.2f}".format),
)


def write_page(results: Sequence[Result], page: Path, *, title: str) -> None:
    """Write the page. Videos and pictures stay where they are; the page refers to them.

    Args:
        results: what is shown.
        page: the HTML file. A page of an earlier run is replaced, any other file is not.
        title: names the folder.

    Raises:
        EngineError: the file cannot be written, or is something else.
    """
    _check_free(page)
    with write_atomically(page) as part:
        text = page_of(results, folder=page.resolve().parent, title=title)
        part.write_bytes(text.encode("utf-8", "replace"))  # names of files may be no Unicode


def page_of(results: Sequence[Result], *, folder: Path, title: str) -> str:
    """Return the page as HTML.

    ``folder``: holds the page; addresses are relative to it.
    """
    script, style = ((_STATIC / name).read_text(encoding="utf-8") for name in ("report.js", "report.css"))
    done = [result for result in results if result.state != FAILED]
    failed = [result for result in results if result.state == FAILED]
    body = [
        f"<h1>Results in {escape(title)}</h1>",
        f"<p>{summary(results)}. This page and its files stay on this computer.</p>",
        "<noscript><p>Without scripts, nothing is sorted or played in step.</p></noscript>",
        *([_failures(failed)] if failed else []),
        *([_table(done, folder), *_cards(done, folder)] if done else []),
    ]
    # File names cannot become scripts, even if one slipped through: only this very script may run.
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script, style)}">\n{_GENERATOR}\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Results in {escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + f"\n</main>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def summary(results: Sequence[Result]) -> str:
    """Return how many results there are, and how many failed."""
    failed = sum(result.state == FAILED for result in results)
    done = len(results) - failed
    return f"{done} {'result' if done == 1 else 'results'}, {failed} failed"


def _policy(script: str, style: str) -> str:
    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    # Videos and pictures have no rule: browsers differ in what "self" is for a page opened as a
    # file.
    none = "; ".join(
        f"{kind} 'none'" for kind in ("connect-src", "object-src", "frame-src", "base-uri", "form-action")
    )
    return f"script-src {hashed(script)}; style-src {hashed(style)}; {none}"


def _check_free(page: Path) -> None:
    try:
        with page.open("rb") as file:
            # The head is enough, and any file may lie there.
            ours = _GENERATOR.encode() in file.read(_HEAD_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise EngineError(f"{page} cannot be written ({error.strerror}): choose another with -o") from error
    if not ours:
        raise EngineError(f"{page} is there and no page of mimicam report: choose another with -o")


def _failures(failed: Sequence[Result]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(result.path.name)}</th><td>{escape(result.error)}</td></tr>'
        for result in failed
    )
    return (
        '<section aria-labelledby="failures"><h2 id="failures">Failures</h2><div class="wide" tabindex="0" '
        'role="region" aria-labelledby="failures"><table><thead><tr><th scope="col">Result</th>'
        f'<th scope="col">Reason</th></tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _table(results: Sequence[Result], folder: Path) -> str:
    shown = [
        column for column in _COLUMNS if any(column.value(result) not in (None, "") for result in results)
    ]
    # Only columns that some result fills: edits lack the figures of a batch.
    captions = _heading("Result") + "".join(_heading(column.caption, column.style) for column in shown)
    rows = "".join(_row(number, result, shown, folder) for number, result in enumerate(results, start=1))
    return (
        '<section aria-labelledby="figures"><h2 id="figures">Figures</h2><p class="dim">Press a heading to sort; '
        'the results below follow.</p><div class="wide" tabindex="0" role="region" aria-labelledby="figures">'
        f'<table id="sorted"><thead><tr>{captions}</tr></thead><tbody>{rows}</tbody></table></div></section>'
        '<h2 id="results">Results</h2>'
    )


def _heading(caption: str, style: str = "") -> str:
    return f'<th scope="col" class="{style}"><button type="button">{escape(caption)}</button></th>'


def _row(number: int, result: Result, columns: Sequence[_Column], folder: Path) -> str:
    name = escape(_shown_name(result, folder))
    cells = "".join(_cell(column.value(result), column.shown) for column in columns)
    return (
        f'<tr data-card="card-{number}"><th scope="row" data-value="{name}">'
        f'<a href="#card-{number}">{name}</a></th>{cells}</tr>'
    )


def _cell(value: float | str | None, shown: Callable[[float], str]) -> str:
    if value is None:
        return '<td class="figure" data-value=""><span aria-label="not known">–</span></td>'
    if isinstance(value, str):
        return f'<td data-value="{escape(value)}">{escape(value)}</td>'
    return f'<td class="figure" data-value="{value:.6g}">{escape(shown(value))}</td>'


def _cards(results: Sequence[Result], folder: Path) -> list[str]:
    cards = [_card(number, result, folder) for number, result in enumerate(results, start=1)]
    return ['<div id="cards">', *cards, "</div>"]


def _card(number: int, result: Result, folder: Path) -> str:
    name = escape(_shown_name(result, folder))
    several = len(result.drivers) > 1
    shown = [("Source", result.source)] if result.source is not None else []
    shown += [
        (f"Driver {index}" if several else "Driver", path)
        for index, path in enumerate(result.drivers, start=1)
    ]
    if result.path.is_file():
        shown.append(("Result", result.path))
    state = "" if result.state == DONE else f"<p>This job is {escape(result.state)}.</p>"
    notes = "".join(f'<p class="dim">{escape(note)}</p>' for note in result.notes)
    figures = "".join(_view(role, path, folder) for role, path in shown if path is not None)
    return (
        f'<article class="card" id="card-{number}" aria-labelledby="name-{number}">'
        f'<h3 id="name-{number}" tabindex="-1">{name}</h3>{state}{notes}'
        f'<div class="views">{figures}</div></article>'
    )


def _view(role: str, path: Path, folder: Path) -> str:
    address, name = escape(_address(path, folder)), escape(path.name)
    label = f"{role}: {name}"
    if path.suffix.lower() in PICTURE_SUFFIXES:
        view = f'<img src="{address}" alt="{label}" loading="lazy">'
    else:
        # One sound at a time. Nothing is loaded before it is played: a folder may hold hundreds.
        muted = "" if role == "Result" else " muted"
        view = (
            f'<video src="{address}" aria-label="{label}" data-role="{role}" controls playsinline '
            f'preload="none"{muted}></video>'
        )
    return f'<figure>{view}<figcaption><b>{role}</b> <a href="{address}">{name}</a></figcaption></figure>'


def _shown_name(result: Result, folder: Path) -> str:
    try:
        return result.path.resolve().relative_to(folder).as_posix()
    except ValueError:
        return result.path.name


def _address(path: Path, folder: Path) -> str:
    """Return a file's address from the page: relative where one exists, as it does on one drive."""
    try:
        relative = Path(os.path.relpath(path.resolve(), folder)).as_posix()
    except ValueError:  # another drive of Windows
        return path.resolve().as_uri()
    return quote(relative, safe="/", errors="surrogateescape")
