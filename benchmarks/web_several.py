"""Several callers at once on one machine, browsers included: fairness, and the cost of each.

    python -m mimicam.benchmarks.web_several --callers 1 2 3 --seconds 12 --out benchmarks/results/web_several.json

Every caller is a page of its own in one Chromium, with the clip of ``benchmarks.web_loopback`` as
its camera. The browser encodes, decodes and composes on the same cores, so the figures are for
callers on this machine. ``server_cores``, the server's share of the cores, is what callers
elsewhere cost.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from mimicam.benchmarks.machine import describe_machine, finish_report
from mimicam.benchmarks.web_loopback import (
    FLAGS,
    START_S,
    WATCH,
    program,
    rate,
    serving,
    summarise,
    write_camera,
)
from mimicam.engine.errors import EngineError

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class WebSeveral:
    """Measure one, two, three callers at once."""

    callers: tuple[int, ...] = (1, 2, 3)
    """Numbers of callers at once; each joins those that are there."""
    model: str = "compact"
    """As for ``mimicam serve``."""
    seconds: float = 12.0
    """How long each run is measured."""
    warm_up_s: float = 6.0
    chromium: str = "chromium"
    """Program."""
    out: Path | None = None
    """JSON file for the result; printed in any case."""


def main(options: WebSeveral) -> dict[str, Any]:
    """Run, print and save.

    Raises:
        EngineError: no number came back.
    """
    most = max(options.callers)
    facts: dict[str, Any] = {
        "machine": describe_machine(),
        "model": options.model,
        "seconds": options.seconds,
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(options.model, arguments=("--max-calls", str(most))) as (server, url),
        browser(options.chromium, Path(folder) / "camera.mjpeg") as running,
    ):
        pages: list[Any] = []
        facts["runs"] = runs = []
        # Callers join one by one and stay: the next run starts with the earlier calls warm.
        for count in range(1, most + 1):
            pages.append(join(running, url))
            if count in options.callers:
                runs.append(_run(options, pages, server.pid))
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    finish_report(facts, options.out)
    return facts


def _run(options: WebSeveral, pages: list[Any], server: int) -> dict[str, Any]:
    pages[0].wait_for_timeout(options.warm_up_s * 1000)
    for page in pages:
        page.evaluate("() => { window.ages.length = window.presented.length = 0; }")
    # Counters of the kernel, which only grow: differences hold whatever ran before.
    before, began_s = cpu_seconds(server), time.monotonic()
    pages[0].wait_for_timeout(options.seconds * 1000)
    took_s = time.monotonic() - began_s
    used = {name: seconds - before[name] for name, seconds in cpu_seconds(server).items()}
    seen = [_caller(page) for page in pages]
    shown = [one["fps_shown"] for one in seen]
    return {
        "callers": len(pages), "server_cores": round(used["server"] / took_s, 2),
        "browser_cores": round(used["others"] / took_s, 2),
        "least_over_most_fps": round(min(shown) / max(shown), 2), "each": seen,
        "notices": [page.inner_text("#notice") if page.is_visible("#notice") else None for page in pages],
    }  # fmt: skip


def _caller(page: Any) -> dict[str, Any]:
    ages, presented = page.evaluate("() => [window.ages, window.presented]")
    facts = summarise([tuple(pair) for pair in ages], least=3)
    server = page.evaluate("() => window.mimicam.stats.server")
    return {
        "fps_shown": rate(presented), "age_p50_ms": facts["age_ms"]["p50"], "age_p95_ms": facts["age_ms"]["p95"],
        "longest_gap_ms": facts["longest_gap_ms"], "growth_ms": facts["growth_ms"],
        "fps_in": server["fps_in"], "fps_out": server["fps_out"], "on_server_p50_ms": server["age_p50_ms"],
    }  # fmt: skip


@contextmanager
def browser(chromium: str, camera: Path) -> Iterator[Any]:
    """Chromium, with the clip as the camera of every page; the clip is written first."""
    from playwright.sync_api import sync_playwright

    write_camera(camera)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=program(chromium), args=[*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
        )
        yield running
        running.close()


def join(running: Any, url: str) -> Any:
    """One more live page, with cookies and a call of its own, whose numbers are noted
    (`benchmarks.web_loopback`)."""
    page = running.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(url)
    page.click("#start")
    page.wait_for_selector("#stage[data-live=true]", timeout=START_S * 1000)
    page.evaluate(WATCH)
    return page


def cpu_seconds(server: int) -> dict[str, float]:
    """Processor time used so far: of the server, and of our other children (the browser). Linux
    only.

    Raises:
        EngineError: not on Linux.
    """
    if not Path("/proc/self/stat").exists():
        raise EngineError("this benchmark reads /proc: run it on Linux")
    facts = dict(_processes())
    spent = {"server": 0.0, "others": 0.0}
    for pid, (_, seconds) in facts.items():
        above = list(_ancestors(pid, lambda one: facts.get(one, (0, 0.0))[0]))
        if os.getpid() in above:
            spent["server" if server in (pid, *above) else "others"] += seconds
    return spent


def _processes() -> Iterator[tuple[int, tuple[int, float]]]:
    """(pid, (parent, seconds)); those that end meanwhile are left out."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # Behind the last parenthesis: a program's name may hold spaces and parentheses.
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        # Fields 4, 14 and 15 of proc(5): parent, then user and system time in ticks.
        yield int(path.parent.name), (int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS)


def _ancestors(pid: int, parent: Callable[[int], int]) -> Iterator[int]:
    while pid := parent(pid):
        yield pid


if __name__ == "__main__":
    main(tyro.cli(WebSeveral))
