"""Age of pictures in the studio: camera to result on one machine, browser included.

A clip with a number painted on each picture is Chromium's camera. The server repeats the number on
the result (setting ``measure``). The page notes when each number is shown in the preview and in the
result.

    python -m mimicam.benchmarks.web_loopback --model compact --seconds 60 --out benchmarks/results/web.json
    python -m mimicam.benchmarks.web_loopback --model null          # transport alone
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tyro

from mimicam.benchmarks.machine import describe_machine, finish_report
from mimicam.engine.errors import EngineError
from mimicam.engine.web import timecode

_CLIP = Path(__file__).parents[1] / "engine" / "assets" / "demo" / "driver.mp4"
_SIZE = (640, 480)
START_S = 60.0
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)  # fmt: skip
WATCH = """async () => {
  const { Reader } = await import('/static/timecode.js');
  const seen = new Map();
  window.presented = [];  // [at, how many pictures the browser has composed], also those whose call-back came late
  window.ages = [];  // [shown at, age or null], milliseconds
  const each = (id, note) => {
    const video = document.getElementById(id), reader = new Reader();
    let last = null;
    const next = (_, { presentedFrames }) => {
      const number = reader.read(video);
      if (id === 'result') { window.presented.push([performance.now(), presentedFrames]); }
      if (number !== null && number !== last) { last = number; note(number, performance.now()); }
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  };
  each('camera', (number, at) => seen.set(number, at));
  each('result', (number, at) => {
    const from = seen.get(number);  // undefined: the preview skipped that picture, as browsers may
    window.ages.push([at, from !== undefined && at - from < 10000 ? at - from : null]);
  });
  window.mimicam.link.send({ type: 'set', settings: { measure: true } });
}"""

_STATS = """async () => {
  const out = {};
  const each = (top, bottom) => (bottom ? Math.round((10000 * top) / bottom) / 10 : null);
  (await window.mimicam.link.pc.getStats()).forEach((s) => {
    if (s.type === 'outbound-rtp' && s.kind === 'video') out.camera = {
      encode_ms: each(s.totalEncodeTime, s.framesEncoded), fps: s.framesPerSecond, width: s.frameWidth,
      limited_by: s.qualityLimitationReason, bits_per_s: s.targetBitrate, plis: s.pliCount, nacks: s.nackCount };
    if (s.type === 'inbound-rtp' && s.kind === 'video') out.result = {
      wait_ms: each(s.jitterBufferDelay, s.jitterBufferEmittedCount), decode_ms: each(s.totalDecodeTime, s.framesDecoded),
      fps_decoded: s.framesPerSecond, dropped: s.framesDropped, keys: s.keyFramesDecoded,
      freezes: s.freezeCount, freeze_s: s.totalFreezesDuration,
      packets_lost: s.packetsLost, bytes: s.bytesReceived };
    if (s.type === 'candidate-pair' && s.nominated) out.round_trip_ms = 1000 * s.currentRoundTripTime;
  });
  return out;
}"""


@dataclass(frozen=True, kw_only=True)
class WebLoopback:
    """Measure the studio's frame age in a real browser."""

    model: str = "compact"
    """As for ``mimicam serve``; ``null`` measures transport alone."""
    seconds: float = 60.0
    """Seconds that are measured, after the warm-up."""
    warm_up_s: float = 8.0
    threads: int | None = None
    """Threads of the model."""
    chromium: str = "chromium"
    """Program."""
    out: Path | None = None
    """JSON file for the result; printed in any case."""


def main(options: WebLoopback) -> dict[str, Any]:
    """Run, print and save.

    Raises:
        EngineError: no number came back.
    """
    facts: dict[str, Any] = {
        "machine": describe_machine(),
        "options": {k: v for k, v in asdict(options).items() if k != "out"},
    }
    with tempfile.TemporaryDirectory() as folder, serving(options.model, options.threads) as (server, url):
        camera = Path(folder) / "camera.mjpeg"
        write_camera(camera)
        facts.update(_browse(options, url, camera, server.pid))
    finish_report(facts, options.out)
    return facts


def write_camera(path: Path, clip: Path = _CLIP) -> None:
    """The clip's middle at 640x480 with a number on each picture, there and back, as motion JPEG."""
    video = cv2.VideoCapture(str(clip))
    images = []
    while (read := video.read())[0]:
        images.append(_middle(read[1]))
    with path.open("wb") as file:
        for number, image in enumerate([*images, *images[::-1]]):
            painted = image.copy()
            timecode.paint(painted, number)
            file.write(cv2.imencode(".jpg", painted, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


def summarise(seen: list[tuple[float, float | None]], least: int = 20) -> dict[str, Any]:
    """Percentiles, rate, and growth, from (shown at, age) in milliseconds, one for each number read
    off the result.

    An age is None where the camera preview did not show that picture: it counts as shown, and has
    no age.

    Raises:
        EngineError: fewer than ``least`` have an age.
    """
    aged = [(at, age) for at, age in seen if age is not None]
    if len(aged) < least:
        raise EngineError(f"only {len(aged)} numbers came back: is a face in the clip, is the machine free?")
    # From all pictures that were shown: one without an age still ended a gap.
    gaps = np.diff([at for at, _ in seen])
    ages = np.array([age for _, age in aged])
    # Medians of thirds: a queue that grows shows, a single stall does not.
    third = len(ages) // 3
    return {
        "pictures": len(seen),
        "fps_read": round(1000 * len(gaps) / float(gaps.sum()), 2),
        "age_ms": {name: round(float(np.percentile(ages, q)), 1) for name, q in _QUANTILES},
        "longest_gap_ms": round(float(gaps.max()), 1),
        "growth_ms": round(float(np.median(ages[-third:]) - np.median(ages[:third])), 1),
    }


_QUANTILES = (("p5", 5), ("p50", 50), ("p95", 95), ("p99", 99), ("max", 100))


@contextmanager
def serving(
    model: str, threads: int | None = None, arguments: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``mimicam serve`` as a process of its own, and its link.

    Raises:
        EngineError: it does not start.
    """
    command = [sys.executable, "-m", "mimicam", "serve", "--port", "0", "--no-browser", "--model", model]
    command += arguments if threads is None else [*arguments, "--threads", str(threads)]
    # A process of its own, so that neither the browser's driver nor this script shares its
    # interpreter lock.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None, "it was asked for"
        url = next((line.strip() for line in process.stdout if "?token=" in line), "")
        if not url:
            raise EngineError("the server did not start: run 'mimicam serve' to see why")
        yield process, url
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def watched(
    chromium: str, url: str, camera: Path, through: Callable[[Any], None] | None = None
) -> Iterator[Any]:
    """A live page of the studio whose numbers are noted in ``window.ages`` and
    ``window.presented``.

    Args:
        chromium: program.
        url: with token.
        camera: motion JPEG for its camera.
        through: handles the page's ``/offer`` requests (playwright's ``Route``) instead of the
            server alone.

    Raises:
        EngineError: there is no such program.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program(chromium), args=[*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        if through is not None:
            page.route("**/offer", through)
        page.goto(url)
        page.click("#start")
        # Live means that a result arrived. Watching earlier would count the start as age.
        page.wait_for_selector("#stage[data-live=true]", timeout=START_S * 1000)
        page.evaluate(WATCH)
        yield page
        browser.close()


def noted(page: Any, seconds: float) -> tuple[list[Any], list[Any]]:
    """Let time pass and take what was noted meanwhile: (shown at, age) and (at, pictures shown so
    far)."""
    page.evaluate("() => { window.ages.length = window.presented.length = 0; }")
    page.wait_for_timeout(seconds * 1000)
    ages, presented = page.evaluate("() => [window.ages, window.presented]")
    return [tuple(pair) for pair in ages], presented


def connection_figures(page: Any) -> dict[str, Any]:
    """Read the browser's statistics of the connection (``getStats``)."""
    return dict(page.evaluate(_STATS))


def _browse(options: WebLoopback, url: str, camera: Path, server_pid: int) -> dict[str, Any]:
    with watched(options.chromium, url, camera) as page:
        page.wait_for_timeout(options.warm_up_s * 1000)
        # A minute each: one long wait would not show whether age or memory grows on the way.
        parts = [_part(page, server_pid, seconds) for seconds in _minutes(options.seconds)]
        ages = [pair for part in parts for pair in part.ages]
        return {
            "fps_shown": rate([one for part in parts for one in part.presented]), **summarise(ages),
            "browser": page.context.browser.version,
            "server": page.evaluate("() => window.mimicam.stats.server"),
            "webrtc": connection_figures(page), "by_minute": [part.facts() for part in parts],
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A minute or less of a measurement."""

    ages: list[Any]
    presented: list[Any]
    server_mb: float | None
    page_mb: float

    def facts(self) -> dict[str, Any]:
        """For the report: growth shows from minute to minute."""
        aged = [age for _, age in self.ages if age is not None]
        return {
            "fps_shown": rate(self.presented),
            "age_p50_ms": round(float(np.median(aged)), 1) if aged else None,
            "age_p95_ms": round(float(np.percentile(aged, 95)), 1) if aged else None,
            "server_mb": self.server_mb, "page_mb": self.page_mb,
        }  # fmt: skip


def _part(page: Any, server_pid: int, seconds: float) -> _Part:
    ages, presented = noted(page, seconds)
    heap_mb = page.evaluate("() => performance.memory.usedJSHeapSize / 1e6")
    return _Part(
        ages=ages, presented=presented, server_mb=_resident_mb(server_pid), page_mb=round(heap_mb, 1)
    )


def _minutes(seconds: float) -> list[float]:
    """Whole minutes and the rest."""
    whole = int(seconds // 60)
    rest = seconds - 60 * whole
    return [60.0] * whole + ([rest] if rest >= 1 else [])


def rate(presented: list[tuple[float, int]]) -> float:
    """Pictures a second, from (milliseconds, count)."""
    (began, first), (ended, last) = presented[0], presented[-1]
    return round(1000 * (last - first) / (ended - began), 2)


def program(name: str) -> str:
    import shutil

    found = shutil.which(name)
    if found is None:
        raise EngineError(f"no program {name}: install Chromium, or give its path to --chromium")
    return found


def _middle(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    wide = height * _SIZE[0] // _SIZE[1]
    left = (width - wide) // 2
    return cv2.resize(image[:, left : left + wide], _SIZE, interpolation=cv2.INTER_CUBIC)


def _resident_mb(pid: int) -> float | None:
    """Read the resident memory of another process, MB; Linux only."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    main(tyro.cli(WebLoopback))
