"""People are kept out of training by a list, or by a hash of their name."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from mimicam.engine.errors import EngineError
from mimicam.training.data.split import VALIDATION, identity_of, read_people, validation_people

UNLISTED = {f"id{n:05d}" for n in range(2000)}


def test_voxceleb_folders_and_hdtf_names_give_the_identity() -> None:
    assert identity_of(PurePath("id00012/abc/00001.mp4")) == "id00012"
    assert identity_of(PurePath("RD_Radio1_000.mp4")) == "RD_Radio1_000"


def test_the_hash_keeps_the_given_share_and_is_stable() -> None:
    kept = validation_people(UNLISTED, None, 5)
    assert 60 < len(kept) < 140
    some = set(sorted(UNLISTED)[:500])
    assert validation_people(some, None, 5) == kept & some, "a person stays on one side when data is added"


def test_the_projects_list_decides_where_it_names_anyone() -> None:
    assert validation_people({"P001", "P002", *UNLISTED}, None, 50) == {"P001"}
    assert "P186" in VALIDATION, "the demo's driver must never be trained on"


def test_a_list_decides_alone_and_must_name_someone(tmp_path: Path) -> None:
    path = tmp_path / "people.txt"
    path.write_text("# kept out\nid00003\n\nid00004  # by request\n")
    assert validation_people(UNLISTED, read_people(path), 50) == {"id00003", "id00004"}
    with pytest.raises(EngineError, match="none of the people"):
        validation_people({"x"}, read_people(path), 50)
    path.write_text("# nobody\n")
    with pytest.raises(EngineError, match="names nobody"):
        read_people(path)
