"""Several people with a driver each, and results that keep every sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mimicam.engine.commands import main
from mimicam.engine.concurrency.steps import Work
from mimicam.engine.editing import drawing
from mimicam.engine.editing import video as video_module
from mimicam.engine.editing.channels import Changes
from mimicam.engine.editing.native import NativeFrames
from mimicam.engine.editing.plan import Plan
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.editing.video import edit_video
from mimicam.engine.errors import EngineError
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.files import sha256_of
from mimicam.engine.sinks.video_writer import LOSSLESS
from mimicam.engine.types import EyeShift
from mimicam.engine.verify import read_marks
from tests.editing.material import face, track
from tests.pipeline.fake_model import FakeModel
from tests.videos import write_video

FRAMES, SIZE = 6, (320, 640)
LEFT, RIGHT = (160, 160), (480, 160)
SMILE = Plan(changes=Changes(presets={"smile": 1.0}))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(4)
    ramp = np.linspace(60, 200, SIZE[1]).astype(np.uint8)
    images = [
        np.repeat(np.tile(ramp, (SIZE[0], 1))[..., None], 3, axis=2) // 2
        + rng.integers(0, 40, (*SIZE, 3), np.uint8)
        for _ in range(FRAMES)
    ]
    return write_video(tmp_path_factory.mktemp("several") / "two.mp4", images)


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people in ``two.mp4``; in other videos one who does what the name says."""

    def find(path: Path) -> list[FaceTrack]:
        if path.name == "two.mp4":
            return [track([face(*place, scale_px=45.0)] * FRAMES) for place in (LEFT, RIGHT)]
        # At rest half of the time, so that the rest is learned.
        return [track([face(300, 200), face(300, 200, **{path.stem: 0.8})] * FRAMES, fps=1.0)]

    def follow(path: Path, _step: str = "") -> Work[list[FaceTrack]]:
        yield from ()
        return find(path)

    def still(path: Path, _people: object, **options: Any) -> Any:
        driver = video_module.Driver(find(path)[0], length=options["length"], duration_s=0.0)
        driver._place = lambda _: (1.0, 0.0)  # type: ignore[method-assign]
        return driver

    monkeypatch.setattr(video_module, "track_people", follow)
    monkeypatch.setattr(video_module, "open_driver", still)


def planes(path: Path) -> list[list[np.ndarray]]:
    with av.open(str(path)) as container:
        return [
            [np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width].copy() for p in frame.planes]
            for frame in container.decode(video=0)
        ]


def amount(conditioning: dict[str, np.ndarray], name: str) -> float:
    return float(conditioning["expression"][1, BLENDSHAPE_NAMES.index(name)])


@pytest.mark.usefixtures("people")
def test_each_person_follows_their_own_driver(source: Path, tmp_path: Path) -> None:
    model, out = FakeModel(), tmp_path / "out.mp4"
    drivers = {2: tmp_path / "mouthPucker.mp4", 1: tmp_path / "jawOpen.mp4"}
    for path in drivers.values():
        path.write_text(path.name)  # only hashed
    done = edit_video(source, out, model=model, drivers=drivers)
    assert (done.frames, done.changed, done.without_face) == (FRAMES, FRAMES, 0)
    first, second = model.conditionings[-2:]
    assert amount(first, "mouthPucker") > 0.5 > amount(first, "jawOpen")
    assert amount(second, "jawOpen") > 0.5 > amount(second, "mouthPucker")
    marks = read_marks(out)
    assert marks is not None
    assert marks.drivers == tuple(map(sha256_of, drivers.values()))


@pytest.mark.usefixtures("people")
def test_pixels_outside_the_faces_are_identical_in_a_lossless_result(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    edit_video(source, out, model=FakeModel(), plan=SMILE, face="1", lossless=True)
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.name == "ffv1"
    for before, after in zip(planes(source), planes(out), strict=True):
        rows, columns = np.nonzero(before[0] != after[0])
        assert len(rows) > 100
        assert 40 < columns.min() < columns.max() < 290, "only the face of person 1"
        assert 40 < rows.min() < rows.max() < 290
        for plane, kept in zip(after[1:], before[1:], strict=True):
            np.testing.assert_array_equal(plane[:, 150:], kept[:, 150:])


@pytest.mark.usefixtures("people")
def test_an_edit_of_nothing_is_lossless_everywhere(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    done = edit_video(source, out, model=FakeModel(), face="2", lossless=True)
    assert done.changed == 0
    for before, after in zip(planes(source), planes(out), strict=True):
        for plane, kept in zip(after, before, strict=True):
            np.testing.assert_array_equal(plane, kept)


@pytest.mark.usefixtures("people")
def test_eye_contact_changes_the_eyes_alone_and_needs_the_full_frame(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eye = EyeShift(
        x=-0.2, y=-0.2, axis_x=0.15, axis_y=0.0, iris=0.0, shift=0.4, radius=0.4,
        upper=-0.4, upper_skew=0.0, lower=0.3, lower_skew=0.0, rise=-0.1,
    )  # fmt: skip
    asked: list[float] = []

    class Contact:
        def __call__(self, _motion: object, _time_ns: int, amount: float, _seen: object) -> tuple[EyeShift]:
            asked.append(amount)
            return (eye,)

    monkeypatch.setattr(drawing, "EyeContact", Contact)
    plan, model = Plan(changes=Changes(presets={"eye-contact": 0.5})), FakeModel()
    out = tmp_path / "out.mkv"
    done = edit_video(source, out, model=model, plan=plan, face="1", lossless=True)
    assert done.changed == FRAMES
    assert asked[-1] == pytest.approx(0.5)
    assert model.encoded == 0, "no face is generated for the eyes"
    for before, after in zip(planes(source), planes(out), strict=True):
        rows, columns = np.nonzero(before[0] != after[0])
        assert len(rows) > 20
        assert max(np.ptp(rows), np.ptp(columns)) < 60
    with pytest.raises(EngineError, match="eye contact turns the eyes of the full frame: leave out --crop"):
        edit_video(source, out, model=model, plan=plan, crop_px=128)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuvj444p", "yuv422p", "yuv420p10le"])
def test_lossless_keeps_the_samples_of_every_planar_format(pix_fmt: str) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (64, 96, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=pix_fmt)
    frames = NativeFrames(frame, LOSSLESS)
    assert frames.keeps(frame)
    result = frames.start(frame).finish()
    assert result.format.name == pix_fmt.replace("yuvj", "yuv")
    assert int(result.color_range) == (2 if "yuvj" in pix_fmt else int(frame.color_range))
    for got, wanted in zip(result.planes, frame.planes, strict=True):
        kind = np.uint16 if "10" in pix_fmt else np.uint8
        rows = [np.frombuffer(p, kind).reshape(p.height, -1)[:, : p.width] for p in (got, wanted)]
        np.testing.assert_array_equal(*rows)


def test_lossless_refuses_what_it_cannot_keep() -> None:
    frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")
    assert not NativeFrames(frame, LOSSLESS).keeps(frame)


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drivers": {3: Path("a.mp4")}}, "--driver-for 3 names nobody in two.mp4"),
        ({"drivers": {1: Path("a.mp4")}, "face": "1"}, "leave out --driver and --face"),
        ({"drivers": {1: Path("a.mp4"), 2: Path("b.mp4")}, "crop_px": 128}, "--crop shows one face"),
        ({"lossless": True, "face": "1"}, r"--lossless needs a Matroska file: name it .*out\.mkv"),
        ({"lossless": True, "crop_px": 128}, "leave out --lossless, or --crop"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    source: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        edit_video(source, tmp_path / "out.mp4", model=FakeModel(), **options)
    assert not (tmp_path / "out.mp4").exists()


@pytest.fixture
def driver(tmp_path: Path) -> Callable[[str], str]:
    def make(name: str) -> str:
        return str(write_video(tmp_path / name, [np.zeros((32, 32, 3), np.uint8)] * 2))

    return make


def test_a_dry_run_lists_the_driver_of_each_person(
    source: Path, tmp_path: Path, driver: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = driver("a.mp4"), driver("b.mp4")
    words = [
        "edit",
        str(source),
        "-o",
        str(tmp_path / "out.mp4"),
        "--driver-for",
        f"1={a}",
        f"2={b}",
        "--dry-run",
    ]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert f"driver of person 1: {a}, then hold" in shown
    assert f"driver of person 2: {b}, then hold" in shown


@pytest.mark.parametrize("words", [["1"], ["x=a.mp4"], ["1="], ["1=a.mp4", "1=b.mp4"]])
def test_drivers_are_named_once_by_number(
    source: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["edit", str(source), "--driver-for", *words]) == 1
    assert "--driver-for must name each person once" in capsys.readouterr().err
