"""``mimicam report``: one page of results, side by side with what they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class WriteReport:
    """Write a web page that plays sources, drivers and results side by side, with sortable figures.

    The page works without a network. It refers to the files where they are.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """Folder with results of batch, edit and render, and the record of batch."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE")] = None
    """The page to write. By default report.html in DIR."""
    inputs: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR")] = ()
    """Further folders with sources and drivers. They are recognised by their content."""

    def run(self) -> int:
        """Write the page and print how many results it shows."""
        from mimicam.engine.results_page.collect import collect
        from mimicam.engine.results_page.page import summary, write_page

        page = self.out or self.folder / "report.html"
        results = collect(self.folder, self.inputs)
        write_page(results, page, title=self.folder.resolve().name)
        print(f"wrote {page}: {summary(results)}; open it in a browser")
        return 0
