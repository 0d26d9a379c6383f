"""Growth of a process: memory, threads and open files over many calls, a long call, a long run.

    python -m mimicam.benchmarks.growth --scenario calls --calls 100 --out growth_calls.json
    python -m mimicam.benchmarks.growth --scenario call --seconds 900
    python -m mimicam.benchmarks.growth --scenario run --seconds 900

``mimicam serve`` or ``mimicam run`` is a process of its own and is measured from outside. Callers
are made of aiortc and share the machine with it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import aiohttp
import tyro

from mimicam.benchmarks.machine import describe_machine, finish_report
from mimicam.benchmarks.process_memory import TimedSample, growth, sample_process
from mimicam.benchmarks.web_caller import call, read_clip, wait_for_no_call
from mimicam.benchmarks.web_loopback import serving
from mimicam.engine.errors import EngineError

_CLIP = Path(__file__).parents[1] / "engine" / "assets" / "demo" / "driver.mp4"
_CAMERA_SIZE = (480, 360)
_CAMERA_IMAGES = 60
_SETTLE_S = 1.5
"""Seconds from the end of a call to its sample: its threads end, and its memory is returned."""
_STOP_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Measure how memory, threads and open files grow."""

    scenario: Literal["calls", "call", "run"] = "calls"
    """calls: short calls in a row; call: one long call; run: one long run without a browser."""
    model: str = "compact"
    """As for ``mimicam serve`` and ``mimicam run``."""
    calls: int = 100
    """Number of calls, in the scenario calls."""
    call_s: float = 1.5
    """How long each of them shows results."""
    seconds: float = 900.0
    """How long a long call or run takes."""
    every_s: float = 10.0
    """Time between samples of a long call or run."""
    warm: int = 10
    """Calls, or minutes of a long call or run, before growth counts."""
    out: Path | None = None
    """JSON file for the result; printed in any case."""

    def __post_init__(self) -> None:
        if self.scenario == "calls" and self.calls <= self.warm:
            raise EngineError(f"--calls must be more than --warm, which is {self.warm}")
        if self.scenario != "calls" and self.seconds <= 60 * self.warm:
            raise EngineError(f"--seconds must be more than the {self.warm} minutes of --warm")


def main(options: Growth) -> dict[str, Any]:
    """Run, print and save.

    Raises:
        EngineError: a process does not start, or a call is refused.
    """
    machine = describe_machine()
    if options.scenario == "run":
        samples = _run(options)
    else:
        with serving(options.model) as (server, link):
            work = _many_calls if options.scenario == "calls" else _one_call
            samples = asyncio.run(work(options, server.pid, link))
    given = {name: value for name, value in asdict(options).items() if name != "out"}
    facts = {"machine": machine, "options": given, **growth(samples, _warm_up(options, samples))}
    finish_report(facts, options.out)
    return facts


def _warm_up(options: Growth, samples: Sequence[TimedSample]) -> int:
    """Return the number of the sample from which growth counts."""
    if options.scenario == "calls":
        return options.warm - 1
    # The number of samples before the end of the warm-up is the index of the first one after it.
    return sum(one.at_s < 60.0 * options.warm for one in samples)


async def _many_calls(options: Growth, pid: int, link: str) -> list[TimedSample]:
    images, samples, began_s = _camera(), [], time.monotonic()
    async with _studio(link) as (http, url):
        for _ in range(options.calls):
            async with call(http, url, images) as results:
                await _show(results, options.call_s)
            # The server ends a call after the caller has left; its last threads are no growth.
            await wait_for_no_call(http, url)
            await asyncio.sleep(_SETTLE_S)
            samples.append(_sample(pid, began_s))
    return samples


async def _one_call(options: Growth, pid: int, link: str) -> list[TimedSample]:
    samples = []
    async with _studio(link) as (http, url), call(http, url, _camera()) as results:
        await results.recv()
        began_s = time.monotonic()
        while time.monotonic() < began_s + options.seconds:
            await _show(results, options.every_s)
            samples.append(_sample(pid, began_s))
    return samples


def _run(options: Growth) -> list[TimedSample]:
    samples = []
    with _running(options.model) as process:
        began_s = time.monotonic()
        while time.monotonic() < began_s + options.seconds:
            time.sleep(options.every_s)
            samples.append(_sample(process.pid, began_s))
    return samples


@contextmanager
def _running(model: str) -> Iterator[subprocess.Popen[bytes]]:
    """``mimicam run`` as a process of its own: the clip again and again, written nowhere."""
    command = [sys.executable, "-m", "mimicam", "run", "--source", str(_CLIP), "--loop", "--sink", "null"]
    # From outside: a process that measures itself allocates while it does.
    process = subprocess.Popen([*command, "--model", model], stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_STOP_S)


async def _show(results: Any, seconds: float) -> None:
    """Receive results for a time that begins with the first."""
    await results.recv()
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        await results.recv()


@asynccontextmanager
async def _studio(link: str) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A client that has the token of a link, and the address without it."""
    parts = urlsplit(link)
    headers = {"Authorization": f"Bearer {parse_qs(parts.query)['token'][0]}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        yield http, f"{parts.scheme}://{parts.netloc}"


def _camera() -> list[Any]:
    return list(read_clip(_CLIP, _CAMERA_SIZE, _CAMERA_IMAGES))


def _sample(pid: int, began_s: float) -> TimedSample:
    sample = TimedSample(at_s=time.monotonic() - began_s, process=sample_process(pid))
    print(sample.facts(), file=sys.stderr, flush=True)
    return sample


if __name__ == "__main__":
    main(tyro.cli(Growth))
