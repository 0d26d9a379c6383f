"""Time of a frame in one's own picture, beside that of a portrait, frame by frame on the same clip.

    python -m mimicam.benchmarks.own_face --frames 60 --out benchmarks/results/own_face.json

The paths take turns with each frame, so that other work on the machine slows all of them alike: the
ratios hold on a busy machine, the milliseconds only on a quiet one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tyro

from mimicam.benchmarks.machine import describe_machine, finish_report
from mimicam.engine.assets_manifest import bundled_portraits, demo_clip
from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.concurrency.timings import Timings
from mimicam.engine.editing.face_generator import FaceGenerator, ReadAppearance
from mimicam.engine.models.base import Model
from mimicam.engine.models.load import load_model
from mimicam.engine.own_face import OwnFacePath, fit
from mimicam.engine.pipeline import Pipeline
from mimicam.engine.portrait import load_portrait
from mimicam.engine.presets.bundled import BUNDLED
from mimicam.engine.presets.mix import PresetMixer
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import Covered, EditSettings, Float, Frame, Image

_SETTLED = 10
"""Frames before which presets ease in, which are left out."""


@dataclass(frozen=True, kw_only=True)
class OwnFaceBench:
    """Measure a portrait, one's own face with a smile, and with eye contact alone."""

    source: Path | None = None
    """A clip of a person; by default the bundled one."""
    frames: int = 60
    """Number of its frames."""
    size: tuple[int, int] = (640, 480)
    model: str = "compact"
    out: Path | None = None
    """JSON file for the result; printed in any case."""


class _Path(Protocol):
    timings: Timings

    def step(self, frame: Frame) -> Frame: ...


def main(options: OwnFaceBench) -> dict[str, Any]:
    """Run, print and save."""
    report: dict[str, Any] = {"machine": describe_machine(), "frames": options.frames, "size": options.size}
    model = load_model(options.model)
    paths = _paths(model, options.size)
    spent: dict[str, list[float]] = {name: [] for name in paths}
    quality = _Quality()
    with _counted(model) as encoded:
        for frame in _frames(options):
            shown = {}
            for name, path in paths.items():
                # Each path sees each frame before the next, so a slow second hits them alike.
                before, start_s = encoded[0], time.perf_counter()
                shown[name] = path.step(frame).image
                spent[name].append(1000 * (time.perf_counter() - start_s))
                if name == "smile":
                    report["encoded"] = report.get("encoded", 0) + encoded[0] - before
            if frame.seq >= _SETTLED:
                quality.add(frame.image, shown["smile"], shown["smile, encoded each frame"])
    report["paths"] = {
        name: {**_summary(spent[name], spent["portrait"]), "stages_ms_p50": _stages(path)}
        for name, path in paths.items()
    }
    # In the bundled clip a hand covers the mouth from frame 78 to 157.
    report["with_covers_of_without_p50"] = _ratio(spent["smile"], spent["smile, covers ignored"])
    report["quality"] = quality.summary()
    finish_report(report, options.out)
    return report


def _paths(model: Model, size: tuple[int, int]) -> dict[str, _Path]:
    portrait = load_portrait(bundled_portraits()[0], model=model)
    each_frame = _own(model, size, "smile")
    # Past the cache of features: what it saves, and what it costs in quality, is the difference.
    each_frame._generate = FaceGenerator(model, ReadAppearance(model))
    return {
        "portrait": Pipeline(model=model, portrait=portrait, edit=EditSettings(), size=size),
        "smile": _own(model, size, "smile"),
        "smile, covers ignored": _own(model, size, "smile", Covered.IGNORE),
        "smile, encoded each frame": each_frame,
        "eye contact": _own(model, size, "eye-contact"),
    }


def _own(model: Model, size: tuple[int, int], preset: str, covered: Covered = Covered.KEEP) -> OwnFacePath:
    path = OwnFacePath(model=model, size=size, edit=EditSettings(covered=covered))
    mixer = PresetMixer([BUNDLED[preset]])
    mixer.set(preset, 1.0)
    path.use_presets(mixer)
    return path


def _frames(options: OwnFaceBench) -> Iterator[Frame]:
    pool = BufferPool((options.size[1], options.size[0], 3), np.uint8)
    video = VideoFile(options.source or demo_clip())
    for seq, timed in enumerate(islice(video, options.frames)):
        yield Frame(image=fit(timed.image, pool), seq=seq, captured_ns=1 + round(timed.time_s * 1e9))


@contextmanager
def _counted(model: Model) -> Iterator[list[int]]:
    """Count the encoder's runs."""
    count, encode = [0], model.encode

    def counting(crop: Image) -> Any:
        count[0] += 1
        return encode(crop)

    model.encode = counting  # type: ignore[method-assign]
    try:
        yield count
    finally:
        model.encode = encode  # type: ignore[method-assign]


class _Quality:
    """Cost of using features again: in the edited pixels, and from frame to frame."""

    def __init__(self) -> None:
        self._errors: list[float] = []
        self._changes: list[list[float]] = []
        self._last: list[Float] | None = None

    def add(self, source: Image, again: Image, each: Image) -> None:
        """Compare a frame in which features were used again with one in which they were not."""
        # The rest of the picture is the camera's in both, and would raise any PSNR.
        edited = (each != source).any(axis=2)
        if not edited.any():
            return
        now = [picture.astype(np.float32) for picture in (source, again, each)]
        self._errors.append(float(np.square(now[1] - now[2])[edited].mean()))
        if self._last is not None:
            pairs = zip(now, self._last, strict=True)
            self._changes.append([float(np.abs(a - b)[edited].mean()) for a, b in pairs])
        self._last = now

    def summary(self) -> dict[str, float]:
        """Return PSNR in dB, and changes from frame to frame in grey levels."""
        source, again, each = np.mean(self._changes, axis=0)
        return {
            "psnr_mean_db": _psnr(float(np.mean(self._errors))),
            "psnr_worst_db": _psnr(max(self._errors)),
            "change_source": round(float(source), 3),
            "change_used_again": round(float(again), 3),
            "change_each_frame": round(float(each), 3),
        }


def _psnr(error: float) -> float:
    return round(10 * float(np.log10(255**2 / max(error, 1e-9))), 1)


def _summary(spent: list[float], portrait: list[float]) -> dict[str, float]:
    p50, p90 = np.percentile(spent, (50, 90))
    return {
        "p50_ms": round(float(p50), 1),
        "p90_ms": round(float(p90), 1),
        # The time nearest to a quiet machine's.
        "min_ms": round(min(spent), 1),
        "of_portrait_p50": _ratio(spent, portrait),
    }


def _ratio(spent: list[float], of: list[float]) -> float:
    """Return the median ratio of the times of the same frames."""
    # Frame by frame, then the median: load that changes during the run cancels out.
    ratios = np.array(spent[_SETTLED:]) / np.array(of[_SETTLED:])
    return round(float(np.median(ratios)), 3)


def _stages(path: _Path) -> dict[str, float]:
    return {name: round(times.p50, 2) for name, times in path.timings.summary().items()}


if __name__ == "__main__":
    main(tyro.cli(OwnFaceBench))
