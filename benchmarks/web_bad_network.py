"""The studio over a bad network: loss and jitter between a real browser and the server, each way.

    python -m mimicam.benchmarks.web_bad_network --model compact --out benchmarks/results/web_bad_network.json

A clear link, then a bad one, then a clear one again. The network is ``benchmarks.bad_network``: a
relay in user space that does what netem's ``delay 200ms 200ms loss 5%`` does, packets that overtake
each other included.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from mimicam.benchmarks.bad_network import BadNetwork, LinkConditions
from mimicam.benchmarks.machine import describe_machine, finish_report
from mimicam.benchmarks.web_loopback import connection_figures, noted, serving, watched, write_camera

CLEAR = LinkConditions(loss=0.0, delay_ms=0.0, jitter_ms=0.0)


@dataclass(frozen=True, kw_only=True)
class WebBadNetwork:
    """Measure freezes, delay and recovery."""

    model: str = "null"
    """As for ``mimicam serve``."""
    loss: float = 0.05
    delay_ms: float = 200.0
    jitter_ms: float = 200.0
    """Packets are held for the delay plus or minus up to this, each way."""
    clear_s: float = 8.0
    bad_s: float = 40.0
    chromium: str = "chromium"
    """Program."""
    out: Path | None = None
    """JSON file for the result; printed in any case."""


def main(options: WebBadNetwork) -> dict[str, Any]:
    """Run, print and save."""
    bad = LinkConditions(loss=options.loss, delay_ms=options.delay_ms, jitter_ms=options.jitter_ms)
    with tempfile.TemporaryDirectory() as folder, serving(options.model) as (_, url), BadNetwork() as network:
        network.conditions = CLEAR
        camera = Path(folder) / "camera.mjpeg"
        write_camera(camera)
        with watched(options.chromium, url, camera, through(network)) as page:
            # Thrown away: rate control and jitter buffer settle in the first seconds.
            noted(page, 4.0)
            before, _ = noted(page, options.clear_s)
            network.conditions = bad
            during, _ = noted(page, options.bad_s)
            network.conditions = CLEAR
            after, _ = noted(page, options.clear_s)
            connection = connection_figures(page)
    facts: dict[str, Any] = {
        "machine": describe_machine(), "model": options.model, "each_way": as_json(bad),
        "packets": {"carried": network.carried, "lost": network.lost},
        "before": summary(before), "during": summary(during), "after": summary(after),
        "growth_ms": growth(during), "recovered_ms": recovery(before, after), "webrtc": connection,
    }  # fmt: skip
    finish_report(facts, options.out)
    return facts


def through(network: BadNetwork) -> Any:
    """A handler for playwright that leads the page's call through a network."""

    def handle(route: Any) -> None:
        body = json.loads(route.request.post_data)
        # Both descriptions change, or the peers would find a direct path past the relay.
        body["sdp"] = network.offer_through(body["sdp"])
        response = route.fetch(post_data=json.dumps(body))
        answer = response.json()
        if "sdp" in answer:
            answer["sdp"] = network.answer_through(answer["sdp"])
        route.fulfill(response=response, json=answer)

    return handle


def summary(seen: list[tuple[float, float | None]]) -> dict[str, Any]:
    """Rate, longest freeze and ages of (shown at, age), milliseconds."""
    at = np.array([at for at, _ in seen])
    ages = np.array([age for _, age in seen if age is not None])
    gaps = np.diff(at)
    return {
        "fps_read": round(1000 * len(gaps) / float(at[-1] - at[0]), 2),
        "longest_gap_ms": round(float(gaps.max()), 1),
        "age_ms": {f"p{q}": round(float(np.percentile(ages, q)), 1) for q in (5, 50, 95)},
    }


def growth(seen: list[tuple[float, float | None]]) -> float:
    """Median age of the last third minus that of the second, in milliseconds: the first settles."""
    ages = [age for _, age in seen if age is not None]
    third = len(ages) // 3
    return round(float(np.median(ages[-third:]) - np.median(ages[third : 2 * third])), 1)


def recovery(
    before: list[tuple[float, float | None]], after: list[tuple[float, float | None]]
) -> float | None:
    """Milliseconds on a clear link until ten pictures in a row are as young as before; None: never."""
    # 50 ms beyond the 95th percentile: 1.5 frames at 30 a second, so that noise does not count.
    usual = float(np.percentile([age for _, age in before if age is not None], 95)) + 50.0
    aged = [(at, age) for at, age in after if age is not None]
    for i in range(len(aged) - 10):
        # Ten in a row, since single pictures are young while the backlog drains.
        if all(age <= usual for _, age in aged[i : i + 10]):
            return round(aged[i][0] - after[0][0], 1)
    return None


def as_json(conditions: LinkConditions) -> dict[str, float]:
    """Return a link's conditions as JSON values."""
    return {"loss": conditions.loss, "delay_ms": conditions.delay_ms, "jitter_ms": conditions.jitter_ms}


if __name__ == "__main__":
    main(tyro.cli(WebBadNetwork))
