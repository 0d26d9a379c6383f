"""Clips to packs: what is kept, where it is split, what is refused."""

from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.stages.crop import cut, portrait_box
from mimicam.engine.types import Image
from mimicam.training.data.pack import Packer, Segment, read_clip_index, read_frames
from mimicam.training.data.pairs import FramePack
from tests.stages.material import driver_clip, first_face
from tests.videos import grey, write_video


def _faces(count: int, size: int = 160) -> list[Image]:
    box = portrait_box(first_face())
    return [cut(image, box, size) for image in driver_clip()[:count]]


def _segment(**more: object) -> Segment:
    return Segment(**({"file": "a.mp4", "identity": "a", "validation": False} | more))  # type: ignore[arg-type]


def test_a_clip_is_split_at_its_jump_cuts(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", _faces(8), fps=10)
    packer = Packer(tmp_path / "pack", size=96, every=1)
    assert packer.add(path, _segment(cuts_s=(0.3, 0.6))) == 8
    packer.close()
    pack = FramePack(tmp_path / "pack", validation=False)
    assert pack.segment.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert [s["part"] for s in pack.segments] == [0, 1, 2]
    assert pack.starts.tolist() == [0, 3, 6, 8]


def test_every_nth_frame_is_read_with_its_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [grey(v) for v in (20, 60, 100, 140, 180)], fps=10)
    read = list(read_frames(path, 2))
    assert [t for t, _ in read] == pytest.approx([0.0, 0.2, 0.4], abs=0.01)
    assert [round(float(i.mean()), -1) for _, i in read] == [20, 100, 180]


def test_frames_without_a_face_are_left_out(tmp_path: Path) -> None:
    packer = Packer(tmp_path / "pack", size=96)
    packer.begin(_segment())
    black = np.zeros((160, 160, 3), np.uint8)
    assert [packer.keep(image) for image in (_faces(1)[0], black, _faces(2)[1])] == [True, False, True]
    packer.close()
    assert len(FramePack(tmp_path / "pack", validation=False).frames) == 2


def test_landmarks_lie_on_the_stored_picture(tmp_path: Path) -> None:
    packer = Packer(tmp_path / "pack", size=96)
    packer.begin(_segment())
    packer.keep(_faces(1)[0])
    packer.close()
    pack = FramePack(tmp_path / "pack", validation=False)
    landmarks = pack.landmarks[0]
    assert np.abs(landmarks[:, :2]).max() < 1
    left, top = ((landmarks[:, :2].min(axis=0) + 1) * 48).astype(int)
    right, bottom = ((landmarks[:, :2].max(axis=0) + 1) * 48).astype(int)
    assert right - left > 25
    assert bottom - top > 30
    want = cut(driver_clip()[0], portrait_box(first_face()), 96)
    assert np.abs(pack.frames[0].astype(int) - want).mean() < 6
    assert pack.frames.shape == (1, 96, 96, 3)


def test_a_picture_that_is_not_square_keeps_its_shape(tmp_path: Path) -> None:
    packer = Packer(tmp_path / "pack", size=96)
    packer.begin(_segment())
    assert packer.keep(np.ascontiguousarray(_faces(1)[0][:140]))
    packer.close()
    frame = FramePack(tmp_path / "pack", validation=False).frames[0]
    assert (frame[86:] == frame[86]).all(), "below, the edge runs on"


def test_clips_without_any_face_are_refused_and_leave_no_pack(tmp_path: Path) -> None:
    packer = Packer(tmp_path / "pack", size=64)
    assert packer.add(write_video(tmp_path / "a.mp4", [grey(90, (96, 96))] * 3), _segment()) == 0
    with pytest.raises(EngineError, match="no frame shows a face"):
        packer.close()
    assert list((tmp_path / "pack").iterdir()) == []


def test_an_index_names_files_people_and_cuts(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    index = tmp_path / "index.csv"
    index.write_text("file,identity,jump_cuts_s\na.mp4,P1,7.04 28.08\nb.mp4,P2,\n")
    first, second = read_clip_index(tmp_path, index, frozenset({"P2"}))
    assert (first.identity, first.validation, first.cuts_s) == ("P1", False, (7.04, 28.08))
    assert (second.identity, second.validation, second.cuts_s) == ("P2", True, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs the columns"), ("file,name\na.mp4,P1\n", "needs the columns"),
        ("file,identity\nb.mp4,P1\n", "names b.mp4, which is not"),
        ("file,identity,jump_cuts_s\na.mp4,P1,at noon\n", "jump_cuts_s"),
    ],
)  # fmt: skip
def test_an_index_that_cannot_be_used_gives_one_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "index.csv").write_text(text)
    with pytest.raises(EngineError, match=words):
        read_clip_index(tmp_path, tmp_path / "index.csv", frozenset())


def test_an_index_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"index\.csv"):
        read_clip_index(tmp_path, tmp_path / "index.csv", frozenset())
