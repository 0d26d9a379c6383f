"""The list of fuzz targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import marks, network, pictures, videos


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is fuzzed, with which examples, and what must hold."""

    examples: Callable[[], st.SearchStrategy[Any]]
    check: Callable[[Path, Any], None]
    """Takes an empty folder and an example. Raises AssertionError or what escaped."""


TARGETS = {
    "video": Target(examples=videos.changed_videos, check=videos.check_video),
    "sound": Target(examples=videos.changed_sounds, check=videos.check_sound),
    "portraits": Target(examples=pictures.changed_portraits, check=pictures.check_portrait),
    "marks": Target(examples=marks.changed_results, check=marks.check_marks),
    "offers": Target(examples=network.changed_offers, check=network.check_offer),
    "rtp": Target(examples=network.packets, check=network.check_packets),
    "messages": Target(examples=network.changed_messages, check=network.check_message),
}
