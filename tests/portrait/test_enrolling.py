"""Enrolling and enrolled folders, with a fake model and the real tracker."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import mimicam.engine.portrait
from mimicam.engine.assets_manifest import portrait_path
from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import head_pose
from mimicam.engine.face.tracker import FaceReader, FaceTracker, region_of_landmarks
from mimicam.engine.files import sha256_of
from mimicam.engine.portrait import Portrait, enroll, load_portrait, save_portrait
from mimicam.engine.stages.crop import HEAD_SCALE, HEAD_Y
from mimicam.engine.types import Image
from tests.pipeline.fake_model import FakeModel
from tests.stages.material import bundled

SOURCE = "5" * 64


@pytest.fixture(scope="module")
def enrolled() -> Portrait:
    return replace(enroll(bundled("rosa.jpg"), model=FakeModel(), name="rosa"), source_sha256=SOURCE)


@pytest.fixture
def folder(enrolled: Portrait, tmp_path: Path) -> Path:
    save_portrait(enrolled, tmp_path / "rosa")
    return tmp_path / "rosa"


def _face_on(canvas: tuple[int, int], *places: tuple[int, int, int]) -> Image:
    """Return a picture with the astronaut's face at ``(left, top, side)`` on grey."""
    out = np.full((*canvas, 3), 128, np.uint8)
    for left, top, side in places:
        face = cv2.resize(
            bundled("astronaut.jpg")[20:300, 90:370], (side, side), interpolation=cv2.INTER_AREA
        )
        out[top : top + side, left : left + side] = face
    return out


def test_the_crop_has_the_head_where_training_has_it(enrolled: Portrait) -> None:
    assert enrolled.motion.pose.scale == pytest.approx(HEAD_SCALE, rel=1e-3)
    assert enrolled.motion.pose.translation == pytest.approx([0, HEAD_Y], abs=1e-3)
    assert enrolled.crop.shape == (64, 64, 3)
    assert enrolled.name == "rosa"


@pytest.mark.parametrize("name", ["astronaut.jpg", "samir.jpg", "rosa.jpg", "anna.jpg"])
def test_a_portrait_is_read_as_tracking_would_read_it(name: str) -> None:
    """The detector's coarse square gave blendshapes that were off by up to 0.26."""
    image = bundled(name)
    portrait = enroll(image, model=FakeModel())
    scale = portrait.box.size_px / 2
    at = np.array([portrait.box.x_px + scale, portrait.box.y_px + scale])
    pose = portrait.motion.pose
    points = portrait.motion.shape @ (pose.rotation.T * pose.scale) * scale
    points[:, :2] += pose.translation * scale + at
    settled = FaceReader()(image, region_of_landmarks(points.astype(np.float32)))
    assert np.abs(settled.blendshapes - portrait.motion.expression).max() < 0.12  # measured 0.09, 2026-11


def test_an_aligned_picture_is_taken_whole() -> None:
    image = bundled("samir.jpg")
    portrait = enroll(image, model=FakeModel(), aligned=True)
    assert (portrait.box.x_px, portrait.box.y_px, portrait.box.size_px) == (0, 0, image.shape[0])
    assert (
        np.abs(portrait.crop.astype(int) - cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)).mean()
        < 4
    )
    found = FaceTracker()(image)
    assert found is not None
    assert portrait.motion.pose.scale == pytest.approx(
        head_pose(found.landmarks).scale / (image.shape[0] / 2), rel=0.02
    )


def test_a_small_face_in_a_large_picture_is_found() -> None:
    portrait = enroll(_face_on((900, 1200), (800, 500, 160)), model=FakeModel())
    middle = np.array([portrait.box.x_px, portrait.box.y_px]) + portrait.box.size_px / 2
    assert np.abs(middle - [878, 575]).max() < 40


def test_two_small_faces_in_a_large_picture_ask_for_one() -> None:
    with pytest.raises(EngineError, match="shows 2 faces: crop it"):
        enroll(_face_on((900, 1200), (150, 150, 160), (900, 600, 160)), model=FakeModel())


def test_a_much_larger_face_is_chosen() -> None:
    portrait = enroll(_face_on((600, 800), (50, 100, 400), (600, 300, 120)), model=FakeModel())
    assert portrait.box.x_px + portrait.box.size_px / 2 < 400


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("name", ["astronaut.jpg", "lily.jpg", "mona.jpg", "elijah.jpg", "zola.jpg"])
def test_a_picture_that_does_not_stand_upright_is_turned_with_a_note(name: str, turns: int) -> None:
    upright = bundled(name)
    portrait = enroll(np.ascontiguousarray(np.rot90(upright, turns)), model=FakeModel(), name="me")
    assert (portrait.picture == upright).all()
    assert abs(np.rad2deg(portrait.motion.pose.angles_rad()[2])) < 10
    degrees = "180" if turns == 2 else "90"
    assert len([note for note in portrait.notes if f"turned by {degrees} degrees" in note]) == 1


def test_a_small_face_is_found_in_a_picture_that_stands_on_its_head() -> None:
    picture = _face_on((900, 1200), (800, 500, 160))
    portrait = enroll(np.ascontiguousarray(picture[::-1, ::-1]), model=FakeModel())
    assert (portrait.picture == picture).all()


@pytest.mark.parametrize("name", ["astronaut.jpg", "mona.jpg", "clara.jpg", "greta.jpg"])
def test_a_usual_portrait_has_no_notes(name: str) -> None:
    assert enroll(bundled(name), model=FakeModel()).notes == ()


@pytest.mark.parametrize("degrees", [-40, 40])
def test_a_leaning_head_is_not_turned(degrees: int) -> None:
    around = cv2.getRotationMatrix2D((220, 130), degrees, 1.0)
    leaning = cv2.warpAffine(bundled("astronaut.jpg"), around, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    portrait = enroll(leaning, model=FakeModel())
    assert (portrait.picture == leaning).all()
    assert not any("turned by" in note for note in portrait.notes)


def test_what_only_resembles_a_face_is_not_counted() -> None:
    """The detector scores this patch of the space suit 0.6, the landmark network 0.00."""
    turned = cv2.getRotationMatrix2D((256, 256), 45, 1)
    turned[:, 2] += 107
    suit = cv2.warpAffine(bundled("astronaut.jpg"), turned, (726, 726), borderValue=(120, 120, 120))
    picture = _face_on((520, 900), (40, 120, 280))
    picture[130:430, 500:800] = suit[272:572, 420:720]
    portrait = enroll(picture, model=FakeModel())
    assert portrait.box.x_px + portrait.box.size_px / 2 < 350
    with pytest.raises(EngineError, match="shows no face"):
        enroll(np.ascontiguousarray(picture[:, 450:]), model=FakeModel())


@pytest.mark.parametrize(
    ("side", "cut"),
    [
        ("left", np.s_[:, 170:]),
        ("top", np.s_[60:, :]),
        ("right", np.s_[:, :290]),
        ("bottom", np.s_[:162, :]),
    ],
)
def test_a_tight_crop_is_noted_in_one_line(side: str, cut: tuple[slice, slice]) -> None:
    portrait = enroll(np.ascontiguousarray(bundled("astronaut.jpg")[cut]), model=FakeModel(), name="me")
    (note,) = portrait.notes
    assert note.startswith("me is cropped tightly (")
    assert side in note
    assert "\n" not in note


def test_a_loaded_folder_warns_as_enrolling_did(tmp_path: Path) -> None:
    picture = np.ascontiguousarray(bundled("astronaut.jpg")[:, 170:])
    model = FakeModel()
    portrait = enroll(picture, model=model, name="me")
    save_portrait(portrait, tmp_path / "me")
    assert load_portrait(tmp_path / "me", model=model).notes == portrait.notes


def test_a_saved_folder_loads_bit_for_bit(folder: Path, enrolled: Portrait) -> None:
    model = FakeModel()
    again = load_portrait(folder, model=model)
    assert model.encoded == 0
    assert again.name == enrolled.name
    assert again.box == enrolled.box
    assert (again.picture == enrolled.picture).all()
    assert (again.crop == enrolled.crop).all()
    assert again.motion.pose.scale == enrolled.motion.pose.scale
    for name in ("expression", "shape"):
        assert (getattr(again.motion, name) == getattr(enrolled.motion, name)).all()
    for name in ("rotation", "translation"):
        assert (getattr(again.motion.pose, name) == getattr(enrolled.motion.pose, name)).all()
    assert again.features.model == enrolled.features.model
    assert again.features.arrays.keys() == enrolled.features.arrays.keys()
    for name, array in enrolled.features.arrays.items():
        assert again.features.arrays[name].dtype == array.dtype
        assert (again.features.arrays[name] == array).all()


def test_another_models_folder_is_enrolled_again(folder: Path, enrolled: Portrait) -> None:
    other = FakeModel(sha256="f" * 64)
    again = load_portrait(folder, model=other)
    assert other.encoded == 1
    assert again.features.model == other.sha256
    assert again.source_sha256 == SOURCE
    assert again.name == enrolled.name
    assert (again.motion.expression == enrolled.motion.expression).all()


def test_the_hash_of_the_source_is_kept(folder: Path) -> None:
    picture = portrait_path(Path("rosa"))
    assert enroll(picture, model=FakeModel()).source_sha256 == sha256_of(picture)
    assert load_portrait(folder, model=FakeModel()).source_sha256 == SOURCE


@pytest.mark.parametrize("stated", [None, "", "no hash", "<b>"])
def test_a_folder_without_a_usable_hash_states_none(folder: Path, stated: str | None) -> None:
    facts = json.loads((folder / "portrait.json").read_text())
    facts.pop("source_sha256")
    (folder / "portrait.json").write_text(
        json.dumps(facts if stated is None else {**facts, "source_sha256": stated})
    )
    assert load_portrait(folder, model=FakeModel()).source_sha256 == ""


def test_enrolling_into_the_same_folder_again_replaces_it(folder: Path) -> None:
    model = FakeModel()
    save_portrait(enroll(bundled("samir.jpg"), model=model, name="samir"), folder)
    assert load_portrait(folder, model=model).name == "samir"
    assert sorted(p.name for p in folder.iterdir()) == ["picture.png", "portrait.json", "portrait.npz"]


@pytest.mark.parametrize("renames", [0, 1])
def test_a_failure_while_replacing_never_mixes_two_portraits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """The first rename moves the old folder away, the second brings the new one."""
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    new = enroll(bundled("samir.jpg"), model=FakeModel(), name="samir")
    done: list[Path] = []
    original = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if len(done) == renames:
            done.append(self)
            raise OSError(errno.EIO, "Input/output error")
        done.append(self)
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(EngineError, match="cannot be written"):
        save_portrait(new, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_folder_that_also_holds_something_else_is_left_alone(folder: Path, enrolled: Portrait) -> None:
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(EngineError, match="holds other files beside the portrait"):
        save_portrait(enrolled, folder)
    assert (folder / "notes.txt").read_text() == "mine"


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _list(path: Path) -> None:
    path.write_text("[1, 2]")


def _no_name(path: Path) -> None:
    facts = json.loads(path.read_text())
    del facts["name"]
    path.write_text(json.dumps(facts | {"model": "f" * 64}))


def _bad_box(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"box": [1, 2]}))


def _no_numbers(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"scale": [1]}))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("portrait.npz", _truncate), ("portrait.npz", Path.unlink), ("portrait.json", _truncate),
        ("portrait.json", _list), ("portrait.json", _no_name), ("portrait.json", _bad_box),
        ("portrait.json", _no_numbers), ("picture.png", _truncate), ("picture.png", Path.unlink),
    ],
)  # fmt: skip
def test_a_damaged_folder_gives_one_line(folder: Path, file: str, damage: object) -> None:
    damage(folder / file)  # type: ignore[operator]
    with pytest.raises(EngineError) as caught:
        load_portrait(folder, model=FakeModel())
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_pickles_in_a_folder_are_not_run(folder: Path) -> None:
    with np.load(folder / "portrait.npz") as data:
        arrays = dict(data)
    np.savez(folder / "portrait.npz", **arrays | {"expression": np.array([print], dtype=object)})
    with pytest.raises(EngineError, match="is damaged"):
        load_portrait(folder, model=FakeModel())


@pytest.mark.parametrize("after_bytes", [0, 40_000])
def test_a_full_disk_leaves_nothing_behind(
    enrolled: Portrait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_bytes: int
) -> None:
    def full(portrait: Portrait, part: Path) -> None:  # noqa: ARG001
        (part / "picture.png").write_bytes(b"x" * after_bytes)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mimicam.engine.portrait, "_write", full)
    with pytest.raises(EngineError, match=r"cannot be written \(No space left on device\): free space"):
        save_portrait(enrolled, tmp_path / "me")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_folder_that_was_there(
    folder: Path, enrolled: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(EngineError, match="cannot be written"):
        save_portrait(enrolled, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_place_that_cannot_be_written_gives_one_line(enrolled: Portrait, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(EngineError, match="cannot be written"):
        save_portrait(enrolled, tmp_path / "file" / "me")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
