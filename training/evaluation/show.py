"""Print figures as tables, and draw results as a grid of pictures."""

from __future__ import annotations

import itertools

import numpy as np
from rich.console import Console
from rich.table import Table

from mimicam.engine.types import Image, Mode
from mimicam.training.evaluation.clips import Clip, calmest, cross_pairs
from mimicam.training.evaluation.methods import Method


def show(figures: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print one table per setting, with a column per method; a dash where a method lacks the
    figure."""
    settings = dict.fromkeys(itertools.chain.from_iterable(figures.values()))
    for setting in settings:
        table = Table("figure", *figures, title=setting)
        names = sorted({name for column in figures.values() for name in column.get(setting, {})})
        for name in names:
            found = (column.get(setting, {}).get(name) for column in figures.values())
            table.add_row(name, *("-" if value is None else f"{value:.3f}" for value in found))
        Console().print(table)


def draw_grid(clips: list[Clip], methods: list[Method], columns: int = 6, rows: int = 4) -> Image:
    """Draw, per pair of people, the driver, then a row for each method and mode, the portrait
    first."""
    lines = []
    pairs = cross_pairs(clips, len(clips) * 3)
    for portrait, driver in pairs[min(2, len(pairs) - 1) :: max(len(clips) // 2, 1)][:rows]:
        at = calmest(portrait)
        picks = np.linspace(0, len(driver.images) - 1, columns).astype(int)
        blank = np.full_like(portrait.images[at], 40)
        lines.append(np.concatenate([blank, *(driver.images[i] for i in picks)], axis=1))
        for method in methods:
            for mode in method.modes:
                line = _line(portrait, at, driver, picks, method, mode)
                lines.append(np.concatenate([portrait.images[at], *line], axis=1))
    return np.concatenate(lines, axis=0)


def _line(
    portrait: Clip, at: int, driver: Clip, picks: np.ndarray, method: Method, mode: Mode
) -> list[Image]:
    picture, own = portrait.images[at], portrait.motions[at]
    return [method.generate(picture, own, driver.images[i], driver.motions[i], mode) for i in picks]
