"""A bundle's header that somebody else made: one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.models.compact.bundle_info import COMPACT_DIR, read_info
from mimicam.engine.models.compact.spec import CompactConfig

GOOD = json.loads((COMPACT_DIR / "model.json").read_text())


def test_the_bundled_header_is_read() -> None:
    info = read_info(COMPACT_DIR)
    assert (info.name, info.size) == ("compact", 256)
    assert info.config.to_json() == CompactConfig().to_json() | {"widths": GOOD["config"]["widths"]}


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", '{"a":' * 50_000, "\x00", "x" * 2_000_000,
        *(
            json.dumps(GOOD | change)
            for change in (
                {"size": 0}, {"size": 10**6}, {"size": -256}, {"size": "256"}, {"name": "a\nb"}, {"name": 3},
                {"sha256": None}, {"config": 3}, {"config": {"sizes": 256}},
            )
        ),
        *(
            json.dumps(GOOD | {"size": config.get("size", 256), "config": GOOD["config"] | config})
            for config in (
                {"size": 0}, {"size": -16}, {"size": 10**6}, {"size": 250}, {"size": 256.0}, {"latent": 10**9},
                {"widths": [1, 2]}, {"widths": [10**9] * 4}, {"widths": 3}, {"points": 10**6}, {"expression": 51},
                {"openings": 7}, {"embed": -1},
            )
        ),
    ],
)  # fmt: skip
def test_a_hostile_header_gives_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(
        EngineError, match=r"model.json is damaged: reinstall mimicam, or make the bundle again"
    ):
        read_info(tmp_path)


def test_sizes_in_a_config_are_numbers() -> None:
    wrong: Any = True
    with pytest.raises(ValueError, match="must lie in"):
        CompactConfig(embed=wrong)
