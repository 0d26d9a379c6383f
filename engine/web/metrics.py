"""Exports counters in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from mimicam.engine.concurrency.timings import Percentiles
from mimicam.engine.web.studio import Studio

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts HTTP answers. The other values are read from the studio at each request."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        """Number of answers by route and status."""

    def render(self, studio: Studio) -> str:
        """Render all metrics as text."""
        calls = studio.calls
        lines = [
            *_series("mimicam_calls", "gauge", "Cameras connected.", [({}, len(calls))]),
            *_series("mimicam_viewers", "gauge", "Result-only viewers connected.", [({}, studio.viewers)]),
            *_series("mimicam_draining", "gauge", "1 while the server stops.", [({}, int(studio.draining))]),
            *_series(
                "mimicam_calls_ended_total", "counter", "Calls that ended.",
                [({"reason": reason}, count) for reason, count in sorted(studio.ended.items())],
            ),
            *_series(
                "mimicam_http_answers_total", "counter", "Answers by route and status.",
                [({"route": r, "status": str(s)}, n) for (r, s), n in sorted(self.requests.items())],
            ),
            *_series(
                "mimicam_call_fps", "gauge", "Results a second, by call.",
                [({"call": str(i)}, round(c.worker.went_out.per_s(), 2)) for i, c in enumerate(calls)],
            ),
            *_series(
                "mimicam_call_dropped_frames", "gauge", "Driver frames replaced by newer ones, by running call.",
                [({"call": str(i)}, c.worker.drops.total()) for i, c in enumerate(calls)],
            ),
            *_series(
                "mimicam_call_frame_age_seconds", "gauge", "Received to handed to the encoder, by call.",
                [row for i, c in enumerate(calls) if c.own_view for row in _ages(i, c.own_view.age.percentiles())],
            ),
        ]  # fmt: skip
        return "\n".join(lines) + "\n"


def _ages(call: int, age: Percentiles | None) -> list[tuple[dict[str, str], float]]:
    if age is None:
        return []
    rows = (("0.5", age.p50), ("0.95", age.p95), ("0.99", age.p99))
    return [({"call": str(call), "quantile": q}, round(ms / 1e3, 5)) for q, ms in rows]


def _series(name: str, kind: str, text: str, rows: Iterable[tuple[Mapping[str, str], float]]) -> list[str]:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in rows:
        inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inner}}} {value}" if inner else f"{name} {value}")
    return lines


def _escaped(text: str) -> str:
    # What the format's version 0.0.4 escapes in label values.
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
