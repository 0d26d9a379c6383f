"""The evaluation protocols of both papers, as far as their networks are not needed.

Metrics that need a network which no package ships have a substitute with a name of its own; see
`training.evaluation.paper_tables.SUBSTITUTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimicam.engine.errors import EngineError
from mimicam.engine.types import Image, Mode
from mimicam.training.data.pairs import FramePack
from mimicam.training.evaluation.clips import Clip, read_clip
from mimicam.training.evaluation.evaluate import (
    NO_METERS,
    Meters,
    Reenactment,
    Tally,
    reenact,
    tally_pair,
    tally_truth,
)
from mimicam.training.evaluation.methods import Method
from mimicam.training.evaluation.paper_networks import PaperNetworks

Rows = npt.NDArray[np.int_]
Figures = dict[str, dict[str, float]]
"""Values by setting and name of the figure."""

PORTRAIT_FRAMES = (1, 8, 32)
"""Frames of a portrait, as table 1 of DAE-GAN has frames of fine-tuning."""
NO_NETWORKS = PaperNetworks()
Progress = Callable[[str, int, int], None]
"""Receives the setting, the number of videos done, and that of all."""


def _no_progress(_setting: str, _done: int, _of: int) -> None:
    """Drop a report of progress."""


@dataclass(frozen=True, kw_only=True)
class Instruments:
    """Meters and networks that measure results, and where progress is reported."""

    meters: Meters = NO_METERS
    networks: PaperNetworks = NO_NETWORKS
    progress: Progress = _no_progress

    def tally_pair(self, tally: Tally, one: Reenactment) -> None:
        """Add the figures that need no truth."""
        tally_pair(tally, one, self.meters)
        self.networks.tally(tally, one)

    def tally_truth(self, tally: Tally, one: Reenactment) -> None:
        """Add the figures that compare with the driver's frames."""
        tally_truth(tally, one, self.meters)
        self.networks.tally_truth(tally, one)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One portrait and the frames that drive it, rows of a pack."""

    portrait: int
    drivers: Rows
    rest: Rows
    """Other rows of the portrait's video, that row first."""

    def frames(self, count: int) -> Rows:
        """Return at most ``count`` rows of the portrait, spread over its video, that row first."""
        places = np.linspace(0, len(self.rest) - 1, min(count, len(self.rest))).round().astype(int)
        return self.rest[places]


class DpeProtocol:
    """DPE, section 4.1: 15 image-video pairs of different people.

    Same identity: the first frame is driven by the last 400. Cross identity: an image is driven by
    the first 400 frames. Shorter videos give what they have.
    """

    def __init__(self, pack: FramePack, *, pairs: int | None = None, frames: int | None = None) -> None:
        """Args:
        pairs: by default the paper's 15, or as many as there are people.
        frames: by default the paper's 400.
        """
        videos = _longest_videos(pack)[: pairs or 15]
        if len(videos) < 2:
            raise EngineError(
                "the protocol of DPE needs videos of two validation people: pack more, or split them otherwise"
            )
        count = frames or 400
        self._pack = pack
        self._same = [Task(portrait=v[0], drivers=v[1:][-count:], rest=v[:1]) for v in videos]
        # Shifted by one: every person is portrait and driver once, never both in one pair.
        others = [videos[-1], *videos[:-1]]
        self._cross = [
            Task(portrait=o[0], drivers=v[:count], rest=o[:1]) for o, v in zip(others, videos, strict=True)
        ]

    def facts(self) -> dict[str, int]:
        """Count what is measured."""
        return {
            "pairs": len(self._same),
            "frames_same": sum(len(task.drivers) for task in self._same),
            "frames_cross": sum(len(task.drivers) for task in self._cross),
        }

    def measure(self, method: Method, by: Instruments) -> Figures:
        """Measure a method in each of its modes (tables 1 to 3)."""
        figures: Figures = {}
        for mode in method.modes:
            for name, tasks in (("same", self._same), ("cross", self._cross)):
                tally = Tally()
                for done, (portrait, driver) in enumerate(_clips(self._pack, tasks)):
                    by.progress(f"{mode.value} {name}", done, len(tasks))
                    one = reenact(portrait, 0, driver, method.generate, mode)
                    by.tally_pair(tally, one)
                    if name == "same":
                        by.tally_truth(tally, one)
                figures[f"{mode.value} {name}"] = tally.means()
        return figures


class DaeGanProtocol:
    """DAE-GAN, "Performance metrics": 50 random videos with 32 held-out frames each.

    These drive a portrait from the rest of their video, and are the truth. The portrait is one
    frame, or several for methods that take several.
    """

    def __init__(self, pack: FramePack, *, pairs: int | None = None, frames: int | None = None) -> None:
        """Args:
        pairs: number of videos, by default the paper's 50.
        frames: held-out frames of each, by default the paper's 32.
        """
        # A constant seed: every model is measured on the same videos and frames.
        rng = np.random.default_rng(0)
        videos = [rows for rows in _videos(pack) if len(rows) > 1]
        if not videos:
            raise EngineError("no validation video has two frames: pack more, or split them otherwise")
        chosen = rng.permutation(len(videos))[: pairs or 50]
        self._pack = pack
        self._tasks = [_held_out(videos[k], frames or 32, rng) for k in sorted(chosen)]

    def facts(self) -> dict[str, int]:
        """Count what is measured."""
        return {"videos": len(self._tasks), "frames": sum(len(task.drivers) for task in self._tasks)}

    def measure(self, method: Method, by: Instruments) -> Figures:
        """Measure a method in mode ``both``; nothing if it lacks this mode."""
        if Mode.BOTH not in method.modes:
            return {}
        counts = PORTRAIT_FRAMES if method.with_frames is not None else PORTRAIT_FRAMES[:1]
        return {held_out(count): self._measure(method, count, by) for count in counts}

    def _measure(self, method: Method, count: int, by: Instruments) -> dict[str, float]:
        tally, fakes, reals = Tally(), list[Image](), list[Image]()
        for done, task in enumerate(self._tasks):
            by.progress(held_out(count), done, len(self._tasks))
            portrait, driver = read_clip(self._pack, task.frames(count)), read_clip(self._pack, task.drivers)
            # One frame takes the plain path, as every other method does.
            several = count > 1 and method.with_frames is not None
            generate = method.with_frames(portrait) if several else method.generate  # type: ignore[misc]
            one = reenact(portrait, 0, driver, generate, Mode.BOTH)
            by.tally_pair(tally, one)
            by.tally_truth(tally, one)
            fakes += one.results
            reals += driver.images
        by.networks.tally_sets(tally, fakes, reals)
        if by.meters.pictures is not None:
            # Of all frames: with a third of them, 60 pictures, chance is larger than what differs.
            tally.add("mobilenet_frechet", by.meters.pictures.frechet(fakes, reals))
        return tally.means()


def held_out(count: int) -> str:
    """Name the setting in which ``count`` frames are the portrait."""
    return "both held-out" if count == 1 else f"both held-out, {count} frames"


PROTOCOLS: dict[str, type[DpeProtocol | DaeGanProtocol]] = {"dpe": DpeProtocol, "daegan": DaeGanProtocol}


def _held_out(rows: Rows, count: int, rng: np.random.Generator) -> Task:
    """Hold out frames; the first of the others is the portrait."""
    # Sorted, so that tracking sees them in the video's order.
    held = np.sort(rng.permutation(len(rows))[: min(count, len(rows) - 1)])
    rest = np.delete(rows, held)
    return Task(portrait=rest[0], drivers=rows[held], rest=rest)


def _clips(pack: FramePack, tasks: list[Task]) -> Iterator[tuple[Clip, Clip]]:
    """Read portraits and drivers one after another: all together may exceed the memory."""
    for task in tasks:
        yield read_clip(pack, np.array([task.portrait])), read_clip(pack, task.drivers)


def _videos(pack: FramePack) -> list[Rows]:
    """Return the rows of each validation video."""
    present = np.unique(pack.segment[pack.indices])
    return [np.arange(pack.starts[k], pack.starts[k + 1]) for k in present]


def _longest_videos(pack: FramePack) -> list[Rows]:
    """Return the longest video of each validation person, the longest first."""
    best: dict[str, Rows] = {}
    for rows in _videos(pack):
        who = pack.segments[pack.segment[rows[0]]]["identity"]
        if len(rows) > len(best.get(who, rows[:1])):
            best[who] = rows
    return sorted(best.values(), key=len, reverse=True)
