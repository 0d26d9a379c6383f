"""The index reads what is new, forgets what is gone, survives interruptions, and searches exactly."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.concurrency.steps import Steps
from mimicam.engine.errors import EngineError
from mimicam.engine.retrieval import index
from mimicam.engine.retrieval.index import code_scores, tracker_scores, update
from mimicam.engine.retrieval.readings import TRACKED, Reading


class Fake:
    """Reads a number from a file and notes each call; ``stop_at`` interrupts like Ctrl-C."""

    def __init__(self, key: str = "weights", stop_at: str = "") -> None:
        self.key, self.stop_at = key, stop_at
        self.read: list[str] = []

    def __call__(self, path: Path) -> Reading:
        if path.name == self.stop_at:
            raise KeyboardInterrupt
        self.read.append(path.name)
        if path.read_text() == "bad":
            raise EngineError(f"{path.name} shows no face")
        return reading(int(path.read_text()), coded=bool(self.key))


def reading(seed: int, *, coded: bool = True) -> Reading:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=TRACKED + 8).astype(np.float32)
    return Reading(tracked=values[:TRACKED], code=values[TRACKED:] if coded else values[:0])


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    folder = tmp_path / "gallery"
    (folder / "sub").mkdir(parents=True)
    for name, content in (("a.jpg", "1"), ("b.png", "2"), ("sub/c.JPG", "3"), ("d.jpg", "bad")):
        (folder / name).write_text(content)
    (folder / "notes.txt").write_text("no picture")
    return folder


def _updated(gallery: Path, read: Fake) -> index.GalleryIndex:
    return Steps(update(gallery, gallery.parent / "i.npz", read)).result()


def test_only_new_and_changed_pictures_are_read_again(gallery: Path) -> None:
    assert len(_updated(gallery, Fake())) == 3
    (gallery / "e.jpg").write_text("5")
    (gallery / "a.jpg").write_text("10")
    (gallery / "b.png").unlink()
    again = Fake()
    assert len(_updated(gallery, again)) == 3
    assert sorted(again.read) == ["a.jpg", "e.jpg"]
    untouched = Fake()
    _updated(gallery, untouched)
    assert untouched.read == []


def test_a_picture_that_vanishes_after_the_listing_is_left_out(
    gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = index.pictures_of(gallery)
    (gallery / "a.jpg").unlink()
    monkeypatch.setattr(index, "pictures_of", lambda _: listed)
    assert len(_updated(gallery, Fake())) == 2


def test_a_new_time_counts_as_a_change(gallery: Path) -> None:
    _updated(gallery, Fake())
    os.utime(gallery / "a.jpg", ns=(1, 1))
    again = Fake()
    _updated(gallery, again)
    assert again.read == ["a.jpg"]


def test_other_weights_read_all_again_and_the_tracker_none(gallery: Path) -> None:
    _updated(gallery, Fake())
    tracker, other = Fake(key=""), Fake(key="others")
    _updated(gallery, tracker)
    assert tracker.read == []
    _updated(gallery, other)
    assert len(other.read) == 4


def test_rows_of_the_tracker_alone_get_codes_once_there_are_weights(gallery: Path) -> None:
    _updated(gallery, Fake(key=""))
    coded = Fake()
    found = _updated(gallery, coded)
    assert sorted(coded.read) == ["a.jpg", "b.png", "c.JPG"], "a picture without a face needs no code"
    assert len(found.search(gallery, reading(1), "pose-code", 9, leave_out=gallery / "a.jpg")) == 2


def test_an_interrupted_update_goes_on_where_it_stopped(gallery: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _updated(gallery, Fake(stop_at="c.JPG"))
    rest = Fake()
    assert len(_updated(gallery, rest)) == 3
    assert rest.read == ["c.JPG"]


def test_pictures_without_a_face_are_told_and_skipped(gallery: Path) -> None:
    told: list[str] = []
    steps = Steps(update(gallery, gallery.parent / "i.npz", Fake(), tell=told.append))
    shown = [(each.done, each.total) for each in steps]
    found = steps.result()
    assert told == found.problems == ["d.jpg shows no face"]
    assert shown == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert _updated(gallery, Fake()).problems == told


def test_scores_are_those_of_a_plain_loop() -> None:
    query, others = reading(0), [reading(k) for k in range(1, 6)]
    codes = code_scores(query.code, np.stack([other.code for other in others]))
    faces = tracker_scores(query.tracked, np.stack([other.tracked for other in others]))
    for other, code, tracked in zip(others, codes, faces, strict=True):
        dot = sum(float(a) * float(b) for a, b in zip(query.code, other.code, strict=True))
        lengths = [math.sqrt(sum(float(a) ** 2 for a in each.code)) for each in (query, other)]
        assert code == pytest.approx(dot / lengths[0] / lengths[1], abs=1e-6)
        square = 0.0
        for place, (a, b) in enumerate(zip(query.tracked, other.tracked, strict=True)):
            square += ((2.0 if place >= 52 else 1.0) * (float(a) - float(b))) ** 2
        assert tracked == pytest.approx(1 / (1 + math.sqrt(square)), abs=1e-6)


@pytest.mark.parametrize("by", ["pose-code", "tracker"])
def test_the_most_similar_come_first_without_the_query(gallery: Path, by: index.By) -> None:
    found = _updated(gallery, Fake())
    own = gallery / "a.jpg"
    assert [m.path for m in found.search(gallery, reading(1), by, 1, leave_out=Path("q.jpg"))] == [own]
    others = found.search(gallery, reading(1), by, 9, leave_out=own)
    assert {m.path.name for m in others} == {"b.png", "c.JPG"}
    assert others[0].score >= others[1].score


def test_a_file_that_is_no_index_is_refused(gallery: Path) -> None:
    file = gallery.parent / "i.npz"
    file.write_bytes(b"something else")
    with pytest.raises(EngineError, match="is no index of pictures, or is damaged"):
        _updated(gallery, Fake())
    assert file.read_bytes() == b"something else"


def test_a_gallery_without_pictures_is_refused(tmp_path: Path) -> None:
    for folder, message in ((tmp_path, "holds no pictures"), (tmp_path / "none", "is no folder")):
        with pytest.raises(EngineError, match=message):
            index.pictures_of(folder)


def test_a_picture_is_found_among_ten_thousand() -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(10_000, 64)).astype(np.float32)
    scores = code_scores(codes[7], codes)
    assert int(np.argmax(scores)) == 7
    assert scores[7] == pytest.approx(1.0, abs=1e-5)
