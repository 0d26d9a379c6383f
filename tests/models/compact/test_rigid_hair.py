"""Hair moves with the skull: where it follows, what stays, and that nothing of it is left behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.face.geometry import place
from mimicam.engine.models.compact.conditioning import ConditioningBuilder
from mimicam.engine.models.compact.rigid_hair import CELLS, HairMotion, HairWarp, RigidHair, skull_motion
from mimicam.engine.stages.surroundings import PortraitTexture
from mimicam.engine.stages.warp_composite import WarpComposite
from mimicam.engine.types import Float, HeadPose, MotionCode, WarpFields
from tests.stages.material import motion, pose

SIDE = 64
PORTRAIT = motion(pose(at=(0.0, -0.1), scale=0.25))
MOVED = pose(at=(0.3, -0.1), scale=0.25)
SKULL = np.array([0.0, 0.3, 1.1], np.float32)


def hair_of(target: HeadPose, portrait: MotionCode = PORTRAIT) -> HairMotion:
    moved = replace(portrait, pose=target)
    return RigidHair(portrait)(moved, place(moved.shape, target), np.full((CELLS, CELLS), np.nan, np.float32))


def weight_at(hair: HairMotion, x: float, y: float) -> float:
    column, row = (round((v + 1) * CELLS / 2 - 0.5) for v in (x, y))
    return float(hair.weight[row, column])


def fields(flow: tuple[float, float] = (0.0, 0.0)) -> WarpFields:
    return WarpFields(
        inpaint=np.full((SIDE, SIDE, 3), 77, np.uint8),
        visibility=np.full((SIDE, SIDE), 0.25, np.float32),
        flow=np.tile(np.array(flow, np.float32), (SIDE // 2, SIDE // 2, 1)),
    )


def test_a_head_that_keeps_its_pose_changes_no_flow() -> None:
    talking = replace(motion(jawOpen=0.8), pose=PORTRAIT.pose)
    hair = RigidHair(PORTRAIT)(
        talking, place(talking.shape, talking.pose), np.empty((CELLS, CELLS), np.float32)
    )
    assert not hair.weight.any()
    given = fields()
    assert HairWarp(SIDE)(given, hair) is given


@pytest.mark.parametrize("change", [{"at": (0.2, 0.1)}, {"roll": 20.0}, {"scale": 0.35}])
def test_the_skull_moves_as_the_head_does_in_the_picture_plane(change: dict[str, object]) -> None:
    base: dict[str, object] = {"at": (0.0, -0.1), "scale": 0.25}
    target = pose(**(base | change))  # type: ignore[arg-type]
    beside = SKULL + np.array([[0, -1.2, 0], [0.8, 0.5, 0], [0, 0, 0]], np.float32)
    source_xy, target_xy = (place(beside, each)[:, :2] for each in (PORTRAIT.pose, target))
    matrix = skull_motion(PORTRAIT.pose, target)
    assert target_xy @ matrix[:, :2].T + matrix[:, 2] == pytest.approx(source_xy, abs=1e-5)


def test_hair_follows_and_face_and_shoulders_do_not() -> None:
    hair = hair_of(MOVED)
    face = place(PORTRAIT.shape, MOVED)
    assert weight_at(hair, face[1, 0], face[1, 1]) == 0, "the nose"
    assert weight_at(hair, face[10, 0], face[10, 1] - 0.3) == 1, "above the forehead"
    assert weight_at(hair, 0.3, face[152, 1] + 0.1) == 0, "below the chin"


def test_weights_follow_the_head_without_steps() -> None:
    """A mask drawn in whole cells would make hair flicker: a cell is 0.03 crop units."""
    places = np.linspace(0.1, 0.16, 21)
    weights = np.stack([hair_of(pose(at=(x, -0.1), yaw=40 * x, scale=0.25)).weight for x in places])
    assert np.abs(np.diff(weights, axis=0)).max() < 0.05
    assert np.abs(weights[-1] - weights[0]).max() > 0.2, "and they do follow"


def test_the_warp_takes_the_skulls_motion_where_hair_is() -> None:
    hair = hair_of(MOVED)
    got = HairWarp(SIDE)(fields(), hair)
    assert got.flow[1, SIDE // 4] == pytest.approx([-0.3, 0.0], abs=1e-4), "from where the hair was"
    assert got.visibility[2, SIDE // 2] == pytest.approx(1.0), "nothing has to be inpainted there"
    assert got.flow[-2, SIDE // 4] == pytest.approx([0.0, 0.0]), "shoulders follow the generator"
    assert got.visibility[-3, SIDE // 2] == pytest.approx(0.25)


def test_shoulders_stay_where_a_head_comes_down_to_them() -> None:
    """There the skull's motion would show the background that was beside the face."""
    down = hair_of(pose(at=(0.0, 0.3), scale=0.25))
    row = round((float(down.lowest[0]) + 0.1 + 1) * SIDE / 4)
    assert weight_at(down, -0.9, (row + 0.5) * 4 / SIDE - 1) > 0.5, "by the target alone, it is hair"
    got = HairWarp(SIDE)(fields(), down)
    assert got.flow[row, 1] == pytest.approx([0.0, 0.0], abs=1e-6)


def test_no_hair_stays_where_the_head_was() -> None:
    """A generator that leaves the surroundings at rest, as it was trained to."""
    margin, side = 32, SIDE
    texture = np.zeros((side + 2 * margin,) * 2 + (4,), np.uint8)
    texture[margin : margin + 24, margin + 16 : margin + 48] = 255  # hair, at the top
    canvas = texture[margin:-margin, margin:-margin, :3].copy()
    scene = PortraitTexture(
        texture=texture, canvas=canvas, background=np.zeros_like(canvas), margin=margin, left=0, top=0, side=side,
        size=(side, side), known=(-1.0, -1.0, 1.0, 1.0),
    )  # fmt: skip
    still = replace(fields(), visibility=np.ones((side, side), np.float32))
    shown = WarpComposite(scene, side)(HairWarp(side)(still, hair_of(MOVED)))
    moved = round(0.3 * side / 2)
    assert not shown[:6, : 16 + moved - 2].any(), "hair was left behind"
    assert (shown[:6, 16 + moved + 2 : 48 + moved - 2] > 250).all(), "hair did not come along"


def test_hair_eases_from_one_target_to_another() -> None:
    build = ConditioningBuilder(PORTRAIT, map_px=32, buffers=4, hair=RigidHair(PORTRAIT))
    still, moved = build(PORTRAIT), build(replace(PORTRAIT, pose=MOVED))
    half = still.towards(moved, 0.5).hair
    assert still.hair is not None
    assert moved.hair is not None
    assert half is not None
    np.testing.assert_allclose(half.weight, (still.hair.weight + moved.hair.weight) / 2, atol=1e-6)
    assert half.source_from_target[0, 2] == pytest.approx(-0.15, abs=1e-5)


def _noise(seed: int) -> WarpFields:
    rng = np.random.default_rng(seed)
    flow: Float = rng.normal(0, 0.05, (SIDE // 2, SIDE // 2, 2)).astype(np.float32)
    return replace(fields(), flow=flow, visibility=rng.uniform(0, 1, (SIDE, SIDE)).astype(np.float32))


def test_a_device_moves_hair_as_the_host_does() -> None:
    torch = pytest.importorskip("torch", reason="the GPU path needs torch")
    from mimicam.benchmarks.host_gpu import HostGpu
    from mimicam.engine.models.compact.device_hair import DeviceHair

    on_device, on_host = DeviceHair(HostGpu(), SIDE), HairWarp(SIDE)
    targets = [MOVED, PORTRAIT.pose, pose(yaw=15, roll=-20, at=(-0.1, 0.2), scale=0.3)]
    for seed, target in enumerate(targets):
        given, hair = _noise(seed), hair_of(target)
        on_device.write(hair.packed())
        flow, mask = (torch.from_numpy(given.flow).permute(2, 0, 1)[None], torch.from_numpy(given.visibility))
        got = on_device.enqueue({"flow": flow, "visibility": mask[None, None]})
        want = on_host(given, hair)
        # OpenCV divides a blend by the sum of its weights and 1e-5.
        np.testing.assert_allclose(got["flow"][0].permute(1, 2, 0).numpy(), want.flow, atol=2e-5)
        np.testing.assert_allclose(got["visibility"][0, 0].numpy(), want.visibility, atol=2e-6)
    on_device.write(None)
    assert torch.equal(on_device.enqueue({"flow": flow, "visibility": mask[None, None]})["flow"], flow)
