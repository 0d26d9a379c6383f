"""The page of results: nothing from a name becomes markup, every address leads to its file."""

from __future__ import annotations

from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest

from mimicam.engine.commands import main
from mimicam.engine.errors import EngineError
from mimicam.engine.results_page.collect import Result
from mimicam.engine.results_page.page import page_of, write_page
from tests.results_page.material import job, write_h264, write_record

NASTY = "\"><script>alert(1)</script>&#1 100% ü'`.mp4"


class _Tags(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def every(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def _addresses(tags: _Tags) -> set[str]:
    return {value for _, each in tags.found for name in ("src", "href") if (value := each.get(name))}


def test_a_name_never_becomes_markup_or_an_address_elsewhere(tmp_path: Path) -> None:
    results = [
        Result(path=tmp_path / NASTY.replace("/", "_"), kind="batch", state="done", notes=(NASTY,)),
        Result(path=Path("javascript:alert(1).mp4"), kind="batch", state="failed", error=NASTY),
        Result(path=tmp_path / "a.mp4", kind=NASTY, state=NASTY, source=tmp_path / "javascript:alert(2).mp4"),
    ]
    tags = _Tags(page_of(results, folder=tmp_path, title=NASTY))
    assert len(tags.every("script")) == 1
    assert not any(name.startswith("on") for _, each in tags.found for name in each)
    assert all(":" not in address for address in _addresses(tags))


def test_every_address_is_a_file_beside_the_page(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    source = write_h264(tmp_path / "a #1?&.mp4", frames=1)
    (tmp_path / "out").mkdir()
    out = write_h264(tmp_path / "out" / "50% ü.mp4", frames=1)
    page = tmp_path / "pages" / "report.html"
    write_page([Result(path=out, kind="edited", source=source)], page, title="x")
    tags = _Tags(page.read_text(encoding="utf-8"))
    files = {(page.parent / unquote(address)).resolve() for address in _addresses(tags) if address[0] != "#"}
    assert files == {source, out}
    assert "http" not in page.read_text(encoding="utf-8").replace("http-equiv", "")


def test_every_view_has_a_name_and_headings_are_in_order(tmp_path: Path) -> None:
    picture = tmp_path / "me.png"
    picture.write_bytes(b"")
    results = [Result(path=write_h264(tmp_path / "a.mp4", frames=1), kind="animated", source=picture)]
    tags = _Tags(page_of(results, folder=tmp_path, title="x"))
    assert [each["aria-label"] for each in tags.every("video")] == ["Result: a.mp4"]
    assert [each["alt"] for each in tags.every("img")] == ["Source: me.png"]
    levels = [int(name[1]) for name, _ in tags.found if name in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_unknown_figures_are_not_zero(tmp_path: Path) -> None:
    results = [
        Result(path=tmp_path / "a.mp4", kind="batch", figures={"changed": 0.0}),
        Result(path=tmp_path / "b.mp4", kind="edited"),
    ]
    page = page_of(results, folder=tmp_path, title="x")
    assert 'data-value="0">0</td>' in page
    assert 'data-value=""><span aria-label="not known">' in page
    assert "Without face" not in page, "a column that no result has is left out"


def test_covered_frames_have_a_column_where_somebody_looked(tmp_path: Path) -> None:
    looked = Result(
        path=tmp_path / "a.mp4", kind="edited", figures={"mouth_covered": 12.0, "eyes_covered": 0.0}
    )
    page = page_of([looked, Result(path=tmp_path / "b.mp4", kind="marked")], folder=tmp_path, title="x")
    headings = [part.partition("</button>")[0] for part in page.split('<button type="button">')[1:]]
    assert headings == ["Result", "Kind", "State", "Mouth covered", "Eyes covered"]
    assert 'data-value="12">12</td><td class="figure" data-value="0">0</td>' in page


def test_only_its_own_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    results = [Result(path=tmp_path / "a.mp4", kind="batch")]
    write_page(results, page, title="one")
    write_page(results, page, title="two")
    assert "Results in two" in page.read_text()
    page.write_text("<h1>My thesis</h1>")
    with pytest.raises(EngineError, match=r"no page of mimicam report: choose another with -o"):
        write_page(results, page, title="three")
    assert page.read_text() == "<h1>My thesis</h1>"


def test_the_command_writes_the_page_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = write_h264(tmp_path / "a.mp4", frames=1)
    write_record(tmp_path, job(1, out=str(out)), job(2, out="b.mp4", state="failed", error="no face <seen>"))
    assert main(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "no face &lt;seen&gt;" in page
    assert ": 1 result, 1 failed; open it" in capsys.readouterr().out
