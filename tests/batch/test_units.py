"""What a batch keeps between its steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimicam.engine.batch.units import read_people, track_path
from mimicam.engine.errors import EngineError


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"no archive"])
def test_damaged_tracks_are_one_line_with_a_remedy(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(b"a video")
    track_path(source, tmp_path).write_bytes(content)
    with pytest.raises(EngineError, match=r"is damaged .*remove it and run the batch again"):
        read_people(source, tmp_path)
