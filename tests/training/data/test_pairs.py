"""Training pairs: which frames meet, and that pictures and numbers say the same."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from mimicam.engine.errors import EngineError  # noqa: E402
from mimicam.engine.face.tracker import FaceReader, region_of_landmarks  # noqa: E402
from mimicam.training.data.augmentation import Augmentation  # noqa: E402
from mimicam.training.data.geometry import mirrored_blendshapes  # noqa: E402
from mimicam.training.data.pairs import (  # noqa: E402
    CROSS,
    TRAINED,
    FramePack,
    Mixture,
    PairSampler,
    target_rows,
)
from tests.stages.material import NAMES  # noqa: E402
from tests.training.data.material import PEOPLE, write_faces, write_flat  # noqa: E402

PLAIN = Augmentation(roll_deg=0.0, scale=(1.0, 1.0), shift=0.0, colour=0.0, gamma=0.0)
SEGMENTS = [
    ("a", False, 5),
    ("a", False, 2),
    ("b", True, 6),
    ("c", False, 1),
    ("d", False, 9),
    ("e", True, 3),
]


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flat(tmp_path_factory.mktemp("flat"), SEGMENTS)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces") / "pack")


def _sampler(pack: Path, *, validation: bool = False, batch: int = 16, **more: object) -> PairSampler:
    settings = {"size": 32, "augmentation": PLAIN} | more
    return PairSampler(FramePack(pack, validation=validation), batch=batch, **settings)  # type: ignore[arg-type]


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_batch_of_a_step_is_always_the_same(flat: Path) -> None:
    one, two = _sampler(flat, augmentation=None), _sampler(flat, augmentation=None)
    assert _same(one.batch(7), two.batch(7))
    assert _same(one.batch(7), one.batch(7)), "drawing changes nothing"
    assert not _same(one.batch(7), one.batch(8))
    assert not _same(one.batch(7), _sampler(flat, augmentation=None, seed=1).batch(7))


def test_a_stream_goes_on_from_any_step(flat: Path) -> None:
    sampler = _sampler(flat, batch=4)
    for offset, batch in enumerate(islice(sampler.stream(5), 4)):
        assert _same(batch, sampler.batch(5 + offset))


def _levels(sampler: PairSampler, steps: int = 12) -> tuple[np.ndarray, np.ndarray]:
    batches = [sampler.batch(step) for step in range(steps)]
    source, target = (torch.cat([b[k] for b in batches]).numpy() for k in ("source", "target"))
    for image in (*source, *target):
        assert image.min() == image.max(), "a flat picture is moved to a flat picture"
    return source[:, 0, 0, 0], target[:, 0, 0, 0]


def test_a_pair_never_crosses_a_cut_or_a_person(flat: Path) -> None:
    source, target = _levels(_sampler(flat))
    assert (source == target).all()


@pytest.mark.parametrize("validation", [False, True])
def test_training_and_validation_share_no_person(flat: Path, validation: bool) -> None:
    source, _ = _levels(_sampler(flat, validation=validation))
    wanted = {10 * (i + 1) for i, (_, kept, n) in enumerate(SEGMENTS) if kept is validation and n > 1}
    assert set(source.tolist()) == wanted, "all of this split, and nobody else; one frame is no pair"


def test_a_split_without_pairs_is_refused(tmp_path: Path) -> None:
    pack = write_flat(tmp_path / "pack", [("a", False, 4), ("b", True, 1)])
    with pytest.raises(EngineError, match="no person of this split has two frames"):
        _sampler(pack, validation=True)


def test_both_pictures_of_a_pair_get_the_same_colours(flat: Path) -> None:
    batch = _sampler(flat, augmentation=Augmentation(colour=0.4, gamma=0.4)).batch(0)
    assert torch.equal(batch["source"], batch["target"])
    assert len(batch["source"][:, :, 0, 0].unique(dim=0)) > 8, "but every pair its own"


def _in_groups(pack: Path, size: int) -> FramePack:
    """The same pack, every ``size`` frames of which are said to hold the head alike."""
    found = FramePack(pack, validation=False)
    found.pose_row = np.arange(len(found.segment)) // size * size
    return found


def test_frames_of_a_pose_group_share_one_pose(faces: Path) -> None:
    together, apart = _in_groups(faces, 2), FramePack(faces, validation=False)
    draw = {"size": 32, "batch": 24, "augmentation": PLAIN}
    still = PairSampler(together, **draw).batch(0)["affine"] - torch.eye(2, 3)  # type: ignore[arg-type]
    moving = PairSampler(apart, **draw).batch(0)["affine"] - torch.eye(2, 3)  # type: ignore[arg-type]
    rest = still.abs().amax(dim=(1, 2)) < 1e-4
    assert 4 < rest.sum() < 24, "about half of the pairs show two expressions of one pose"
    assert (moving.abs().amax(dim=(1, 2)) < 1e-4).sum() <= 4, "a frame drawn twice"


def test_a_synthetic_picture_is_never_a_target(faces: Path) -> None:
    pack = _in_groups(faces, 1000)
    made = np.arange(len(pack.segment)) % 4 > 0
    pack.target_row = target_rows(np.zeros_like(pack.segment), made)
    sampler = PairSampler(pack, size=16, batch=1)
    rng = np.random.default_rng(0)
    pairs = np.array([sampler._far_pair(rng, 0, len(pack.segment)) for _ in range(200)])
    assert not made[pairs[:, 1]].any()
    assert made[pairs[:, 0]].mean() > 0.6
    assert (pairs[:, 0] == pairs[:, 1]).mean() < 0.1, "a frame drawn twice, before as now"


def test_the_row_to_draw_is_the_segments_first_real_one() -> None:
    segment = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    made = np.array([1, 0, 1, 0, 0, 1, 1, 0], bool)
    assert target_rows(segment, made).tolist() == [1, 1, 1, 3, 4, 5, 6, 7]
    assert target_rows(segment, np.zeros(8, bool)).tolist() == list(range(8))
    assert target_rows(segment, np.ones(8, bool)).tolist() == list(range(8)), "nothing better is known"


def test_a_batch_has_the_shapes_that_the_recipe_reads(faces: Path) -> None:
    batch = _sampler(faces, size=64, batch=3, augmentation=None).batch(0)
    assert {k: tuple(v.shape) for k, v in batch.items()} == {
        "source": (3, 3, 64, 64), "target": (3, 3, 64, 64), "target_landmarks": (3, 478, 3),
        "source_points": (3, 176, 3), "target_points": (3, 176, 3), "affine": (3, 2, 3), "head": (3, 3),
        "expression": (3, 2, 52), "pose": (3, 2, 12), "opening_masks": (3, 6, 32, 32),
    }  # fmt: skip
    assert batch["source"].dtype == torch.uint8
    assert {v.dtype for k, v in batch.items() if k not in ("source", "target")} == {torch.float32}


@pytest.mark.parametrize("augmentation", [PLAIN, Augmentation()], ids=["mirror only", "all"])
def test_a_drawn_picture_shows_the_face_where_its_numbers_say(
    faces: Path, augmentation: Augmentation
) -> None:
    """The tracker reads the augmented picture and finds the augmented landmarks, mirrored ones too."""
    read = FaceReader()
    batch = _sampler(faces, size=192, batch=10, augmentation=augmentation).batch(3)
    for image, truth in zip(batch["target"], batch["target_landmarks"], strict=True):
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        there = truth.numpy().copy()
        there[:, :2] = (there[:, :2] + 1) * 96
        face = read(pixels, region_of_landmarks(there))
        assert face.presence > 0.5
        error = np.linalg.norm(face.landmarks[:, :2] - there[:, :2], axis=1).mean()
        assert error < 0.05 * np.linalg.norm(there[33, :2] - there[263, :2])
        assert there[33, 0] < there[263, 0], "her right eye is on the left, in a mirror too"


def test_a_mirrored_face_has_its_blendshapes_on_the_other_side() -> None:
    other = mirrored_blendshapes()
    assert NAMES[other[NAMES.index("eyeBlinkLeft")]] == "eyeBlinkRight"
    assert NAMES[other[NAMES.index("jawLeft")]] == "jawRight"
    assert other[NAMES.index("jawOpen")] == NAMES.index("jawOpen")
    assert (other[other] == np.arange(52)).all()


def test_mirrored_and_straight_pairs_are_both_drawn(faces: Path) -> None:
    pack = FramePack(faces, validation=False)
    sampler = PairSampler(pack, size=192, batch=12, augmentation=PLAIN)
    straight = 0
    for image in sampler.batch(0)["source"]:
        frame = image.permute(1, 2, 0).numpy().astype(int)
        differences = np.abs(pack.frames[pack.indices].astype(int) - frame).mean(axis=(1, 2, 3))
        mirrored = np.abs(pack.frames[pack.indices][:, :, ::-1].astype(int) - frame).mean(axis=(1, 2, 3))
        assert min(differences.min(), mirrored.min()) < 1.0, "without augmentation a frame stays itself"
        straight += int(differences.min() < mirrored.min())
    assert 0 < straight < 12


def test_a_mixture_puts_its_samplers_pairs_together(flat: Path, faces: Path) -> None:
    first, second = _sampler(flat, batch=3), _sampler(faces, batch=2)
    batch = Mixture([first, second]).batch(4)
    assert torch.equal(batch["source"][:3], first.batch(4)["source"])
    assert torch.equal(batch["source"][3:], second.batch(4)["source"])


def test_the_pack_of_faces_holds_everybody(faces: Path) -> None:
    people = {s["identity"]: s["validation"] for s in FramePack(faces, validation=True).segments}
    assert people == PEOPLE


def _cross_identity(faces: Path, count: int, step: int = 0) -> dict[str, torch.Tensor]:
    return _sampler(faces, batch=6, size=64, cross_identity=count).batch(step)


def test_cross_identity_drives_the_first_portraits(faces: Path) -> None:
    batch = _cross_identity(faces, 4)
    assert {name.removeprefix(CROSS) for name in batch if name.startswith(CROSS)} == {
        *TRAINED,
        "landmarks",
    }
    points = f"{CROSS}source_points"
    assert torch.equal(batch[points], batch["source_points"][:4]), "of the same portraits"
    own, other = batch[f"{CROSS}expression"][:, 0], batch[f"{CROSS}expression"][:, 1]
    assert torch.equal(own, batch["expression"][:4, 0])
    assert torch.equal(other, batch["expression"][[1, 2, 3, 4], 1]), "driven by the pair after each"


def test_cross_identity_may_leave_the_pose_alone(faces: Path) -> None:
    rests, turns = 0, 0
    for step in range(8):
        affine = _cross_identity(faces, 4, step)[f"{CROSS}affine"]
        still = (affine - torch.eye(2, 3)).abs().amax(dim=(1, 2)) < 1e-4
        rests, turns = rests + int(still.sum()), turns + int((~still).sum())
    assert rests > turns > 4


def test_cross_identity_landmarks_follow_the_motion(faces: Path) -> None:
    from mimicam.engine.models.compact.conditioning import CONTROL

    batch = _cross_identity(faces, 4)
    assert torch.equal(batch[f"{CROSS}landmarks"][:, CONTROL], batch[f"{CROSS}target_points"])


def test_cross_identity_changes_no_pair(faces: Path) -> None:
    with_them, without = _cross_identity(faces, 4), _cross_identity(faces, 0)
    assert not any(name.startswith(CROSS) for name in without)
    assert all(torch.equal(with_them[name], value) for name, value in without.items())


def test_cross_identity_of_a_mixture_is_the_first_samplers(faces: Path) -> None:
    first, second = (
        _sampler(faces, batch=3, size=64, cross_identity=2),
        _sampler(faces, batch=2, size=64, seed=1),
    )
    batch = Mixture([first, second]).batch(0)
    assert len(batch["source"]) == 5
    assert len(batch[f"{CROSS}landmarks"]) == 2
    assert torch.equal(batch[f"{CROSS}source_points"], batch["source_points"][:2])
