"""The corpus of each fuzz target, and a few changed examples."""

from __future__ import annotations

import pytest

pytest.importorskip("aiortc", reason="the webrtc extra is not installed")

from tests.fuzz import videos
from tests.fuzz.mutate import CORPUS, seeds
from tests.fuzz.pictures import check_portrait
from tests.fuzz.run import run_batch
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_changed_examples_are_read_or_refused(name: str) -> None:
    assert run_batch(name, 1, 3) >= 3  # discarded ones count too


@pytest.mark.parametrize("path", seeds("video"), ids=lambda path: path.name)
def test_the_videos_of_the_corpus_are_good(path, tmp_path) -> None:  # type: ignore[no-untyped-def]
    videos.check_video(tmp_path, (path.suffix, path.read_bytes()))
    assert (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("path", [*seeds("portraits"), *seeds("enrolled")], ids=lambda path: path.name)
def test_the_portraits_of_the_corpus_are_read(path, tmp_path) -> None:  # type: ignore[no-untyped-def]
    check_portrait(tmp_path, (path.name, path.read_bytes()))


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 150_000
