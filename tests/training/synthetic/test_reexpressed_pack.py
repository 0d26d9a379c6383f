"""Which portraits are taken, what is kept of them, and that the command goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mimicam.engine.commands import main
from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.types import BLENDSHAPES
from mimicam.training.data.pairs import FramePack
from mimicam.training.data.split import VALIDATION
from mimicam.training.synthetic.fit import Camera, Fit
from mimicam.training.synthetic.portrait_pairs import PortraitSet, Variant
from mimicam.training.synthetic.reexpressed import (
    ITSELF,
    ReexpressionJob,
    SourcePicture,
    choose,
    make_parts,
    sets_of,
    write_pack,
)

ASSETS = Path(__file__).parents[3] / "engine" / "assets" / "portraits"
SIZE = 256
KEPT_OUT = min(VALIDATION)


def _pack(folder: Path, people: dict[str, int], **peaks: tuple[int, float]) -> Path:
    """``people``: name and number of frames, one segment each. ``peaks``: a blendshape's frame and value."""
    folder.mkdir()
    count = sum(people.values())
    shapes = np.full((count, BLENDSHAPES), 0.1, np.float32)
    for name, (frame, value) in peaks.items():
        shapes[frame, BLENDSHAPE_NAMES.index(name)] = value
    faces = {p.stem: cv2.imread(str(p))[..., ::-1] for p in sorted(ASSETS.glob("*.jpg"))}
    shown = [cv2.resize(f, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for f in faces.values()]
    np.save(folder / "frames.npy", np.stack([shown[i % len(shown)] for i in range(count)]))
    np.savez(
        folder / "track.npz",
        landmarks=np.tile(0.4 * face_geometry().mean, (count, 1, 1)).astype(np.float32),
        blendshapes=shapes,
        segment=np.repeat(np.arange(len(people)), list(people.values())).astype(np.int32),
    )
    about = [{"file": f"{p}.mp4", "identity": p, "validation": p == "kept"} for p in people]
    (folder / "segments.json").write_text(json.dumps(about))
    return folder


class _Studio:
    """Lightens the picture; refuses dark ones. Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, portrait, rng, count):
        self.calls += 1
        if portrait.mean() < 5:
            raise EngineError("no face is seen: 12 of them")
        lighter = np.clip(portrait.astype(int) + rng.integers(5, 20), 0, 255).astype(np.uint8)
        made = Variant(image=lighter, expression=np.zeros(57), miss=0.002, painted=0.01)
        return PortraitSet(portrait=portrait, fit=_fit(), variants=(made,) * (count - 1), refused=1)


def _fit() -> Fit:
    camera = Camera(rotation=np.eye(3), shift_cm=np.zeros(2), focal=5.0, size_px=SIZE)
    zero = np.zeros((468, 2), np.float32)
    return Fit(
        camera=camera,
        identity=np.zeros(60),
        neutral=np.zeros((4, 3)),
        expression=np.zeros(57),
        strays_px=zero,
    )


def _job(pack: Path, out: Path, seed: int = 1) -> ReexpressionJob:
    return ReexpressionJob(portraits=tuple(choose(pack, 2)), variants=3, seed=seed, out=out)


def test_validation_people_are_not_taken(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "clips", {"ann": 3, "kept": 3, KEPT_OUT: 3, "bob": 3})
    assert {p.identity for p in choose(pack, 2)} == {"ann", "bob"}


def test_expressive_frames_are_chosen_apart(tmp_path: Path) -> None:
    peaks = {
        "jawOpen": (30, 0.9),
        "mouthSmileLeft": (50, 0.9),
        "eyeBlinkLeft": (70, 0.8),
        "eyeBlinkRight": (70, 0.8),
    }
    pack = _pack(tmp_path / "clips", {"ann": 90}, **peaks)
    rows = [p.row for p in choose(pack, 5)]
    assert len(rows) == 5
    assert {30, 50, 70} <= set(rows)
    assert np.diff(sorted(rows)).min() >= 6


def test_a_short_clip_gives_what_it_has(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "clips", {"ann": 1, "bob": 8})
    chosen = choose(pack, 3)
    assert [p.row for p in chosen if p.identity == "ann"] == [0]
    assert len([p for p in chosen if p.identity == "bob"]) == 2, "eight frames have two that are six apart"


def test_only_the_named_files_are_taken(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "photos", {"ann": 1, "bob": 1})
    assert [p.identity for p in choose(pack, 3, frozenset({"bob.mp4"}))] == ["bob"]


def _always(done: int) -> bool:
    return done > 0


def test_a_stopped_run_goes_on_and_another_job_is_refused(tmp_path: Path) -> None:
    job, studio = _job(_pack(tmp_path / "clips", {"ann": 1, "bob": 1, "cyd": 1}), tmp_path / "out"), _Studio()
    assert make_parts(job, lambda: studio, lambda done: done < 2) == 2
    assert write_pack(job).portraits == 2, "what is finished makes a pack"
    assert make_parts(job, lambda: studio, _always) == 1
    assert studio.calls == 3
    assert write_pack(job).portraits == 3
    with pytest.raises(EngineError, match="another seed"):
        make_parts(_job(tmp_path / "clips", tmp_path / "out", seed=2), lambda: studio, _always)


def test_portraits_come_first_and_share_one_pose(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "clips", {"ann": 1, "bob": 1, "dark": 1})
    frames = np.load(pack / "frames.npy")
    frames[2] = 0
    np.save(pack / "frames.npy", frames)
    job, studio = _job(pack, tmp_path / "out"), _Studio()
    make_parts(job, lambda: studio, _always)
    tally = write_pack(job)
    assert (tally.portraits, tally.pictures, tally.followed, tally.missed) == (2, 6, 4, 2)
    assert dict(tally.refused) == {"no face is seen": 1}
    read = FramePack(tmp_path / "out", validation=False)
    assert [s["identity"] for s in read.segments] == ["ann", "bob"]
    assert read.pose_row.tolist() == [0, 0, 0, 3, 3, 3]
    np.testing.assert_array_equal(read.frames[3], frames[1])
    with np.load(tmp_path / "out" / "track.npz") as track:
        assert (track["painted"] == ITSELF).tolist() == [True, False, False] * 2
    assert [len(s) for s in sets_of(tmp_path / "out")] == [3, 3]


def test_the_command_refuses_in_one_line(tmp_path: Path, capsys) -> None:
    words = ["data", "reexpress", "--packs", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert "is not a pack" in capsys.readouterr().err
    assert main([*words, "--frames", "0"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_portrait_keeps_its_place_among_the_parts(tmp_path: Path) -> None:
    portraits = tuple(
        SourcePicture(pack=Path(p), row=r, file="a", identity="a") for p, r in (("x", 1), ("y", 1), ("x", 2))
    )
    job = ReexpressionJob(portraits=portraits, variants=1, seed=1, out=tmp_path)
    assert len({job.part(p) for p in portraits}) == 3
