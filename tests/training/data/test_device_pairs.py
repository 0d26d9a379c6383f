"""Batches made on the device hold what the CPU's sampler makes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from mimicam.engine.face.geometry import place
from mimicam.engine.models.compact.conditioning import build_conditioning
from mimicam.engine.types import HeadPose, MotionCode
from mimicam.training.data import pairs
from mimicam.training.data.device_batches import BatchDrawer, device_stream, pictures
from mimicam.training.data.device_motions import Motions
from mimicam.training.data.device_pairs import DevicePack, DeviceSampler, Pairs
from mimicam.training.data.openings import OpeningsPainter
from mimicam.training.data.pairs import (
    CROSS,
    TRAINED,
    FramePack,
    PairSampler,
    _by_expression,
    cross_identity_drives,
)
from tests.training.packs import write_pack


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> FramePack:
    return FramePack(write_pack(tmp_path_factory.mktemp("pack")), validation=False)


def _device(pack: FramePack) -> DevicePack:
    rows = pack.indices
    return DevicePack(
        np.ascontiguousarray(pack.frames[rows]),
        pack.landmarks[rows],
        pack.blendshapes[rows],
        pack.segment[rows],
        pack.pose_row[rows],
        pack.is_synthetic[rows],
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("by_expression", [False, True])
def test_the_same_pair_gives_the_same_arrays_as_on_the_cpu(
    pack: FramePack, mirror: bool, by_expression: bool
) -> None:
    matrix = np.array([[0.95, -0.2, 0.1], [0.2, 0.95, -0.07]], np.float32)
    cpu = PairSampler(pack, size=48, batch=1)
    rows = pack.indices[[1, 4]]
    (image_s, source), (image_t, target) = (cpu._frame(int(i), matrix, mirror) for i in rows)
    drawn = _by_expression(source, target) if by_expression else target
    wanted = build_conditioning(source, drawn, map_px=24)
    device = _device(pack)
    chosen = _pairs(device, [[1, 4]], matrix, mirror=mirror, by_expression=by_expression)
    got = BatchDrawer([DeviceSampler(device, size=48, batch=1)]).drives(chosen)
    for name in TRAINED:
        array = wanted.tensors()[name]
        # A contour that rounds to the next sixteenth of a pixel may change a fine pixel, a quarter of one on the map.
        limit = 0.26 if name == "opening_masks" else 2e-4
        np.testing.assert_allclose(got[name][0].numpy(), array, atol=limit, err_msg=name)
    assert np.abs(got["opening_masks"][0].numpy() - wanted.opening_masks).mean() < 1e-3
    truth = place(target.shape, target.pose)
    np.testing.assert_allclose(got["target_landmarks"][0].numpy(), truth, atol=2e-4)
    drawn = pictures(chosen, 48)[0].permute(0, 2, 3, 1).numpy()
    for image, picture in ((image_s, drawn[0]), (image_t, drawn[1])):
        inner = (slice(8, -8), slice(8, -8))  # the edges are reflected about other lines
        assert np.abs(picture[inner] - image[inner]).max() < 4, "OpenCV interpolates in steps of 1/32 pixel"


@pytest.mark.parametrize("still", [False, True])
def test_cross_identity_equals_that_of_the_cpus_sampler(
    pack: FramePack, still: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = np.array([[0.95, -0.2, 0.1], [0.2, 0.95, -0.07]], np.float32)
    cpu = PairSampler(pack, size=48, batch=1)
    rows = pack.indices[[[1, 4], [7, 9]]]
    motions = [tuple(cpu._frame(int(i), matrix, False)[1] for i in pair) for pair in rows]
    monkeypatch.setattr(pairs, "EXPRESSION_ONLY_PROBABILITY", float(still))
    wanted = cross_identity_drives(motions, 2, np.random.default_rng(0), map_px=24)
    device = _device(pack)
    drawer = BatchDrawer([DeviceSampler(device, size=48, batch=2, cross_identity=2)])
    drives = drawer.drives(_pairs(device, [[1, 4], [7, 9]], matrix, still=[still, still]))
    got = {name: value for name, value in drives.items() if name.startswith(CROSS)}
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        limit = 0.26 if name.endswith("opening_masks") else 5e-4
        np.testing.assert_allclose(got[name].numpy(), value.numpy(), atol=limit, err_msg=name)


def test_cross_identity_adds_only_its_own_arrays(pack: FramePack) -> None:
    device = _device(pack)
    plain, batch = (
        BatchDrawer([DeviceSampler(device, size=32, batch=4, seed=3, cross_identity=count)]).batch(2)
        for count in (0, 2)
    )
    assert all(torch.equal(batch[name], value) for name, value in plain.items())
    more = {name.removeprefix("cross_"): v for name, v in batch.items() if name not in plain}
    assert set(more) == {*TRAINED, "landmarks"}
    assert torch.equal(more["source_points"], batch["source_points"][:2])
    assert not torch.equal(more["target_points"], batch["target_points"][:2])


def _codes(motions: Motions) -> list[MotionCode]:
    poses = zip(motions.rotation.numpy(), motions.translation.numpy(), motions.scale.tolist(), strict=True)
    faces = zip(poses, motions.shape.numpy(), motions.expression.numpy(), strict=True)
    return [
        MotionCode(
            expression=expression, shape=shape, pose=HeadPose(rotation=turn, translation=shift, scale=scale)
        )
        for (turn, shift, scale), shape, expression in faces
    ]


@pytest.mark.parametrize("place", ["inside", "at the border", "far outside"])
def test_openings_are_those_of_the_live_path_bit_by_bit(pack: FramePack, place: str) -> None:
    scale, shift = {"inside": (1.0, 0.0), "at the border": (2.2, 0.7), "far outside": (1.0, 9.0)}[place]
    faces = Motions.unpacked(_device(pack).motions(torch.arange(12), torch.arange(12) % 2))
    faces.expression[:3] = 0.0  # at rest, so that lips are shut
    turns = torch.linspace(-1, 1, 12)
    rows = [
        [turns.cos(), -turns.sin(), shift * turns.sign()],
        [turns.sin(), turns.cos(), 0.3 * shift * turns],
    ]
    faces = faces.moved(scale * torch.stack([torch.stack(row, 1) for row in rows], 1))
    source, target = faces.part(slice(0, 6)), faces.part(slice(6, 12))
    painter = OpeningsPainter(6, 24, torch.device("cpu"))
    for one, other in ((source, target), (target, source), (source, target)):  # memory is used again
        maps = painter(one, other)
        drives = zip(_codes(one), _codes(other), strict=True)
        wanted = np.stack([build_conditioning(*drive, map_px=24).opening_masks for drive in drives])
        np.testing.assert_array_equal(maps.numpy(), wanted)
    assert wanted.any() == (place != "far outside")
    later = painter(target, source)
    np.testing.assert_array_equal(maps.numpy(), wanted, "a batch keeps its own maps")
    assert torch.equal(later, maps) == (place == "far outside")


def test_a_step_is_always_the_same_and_steps_differ(pack: FramePack) -> None:
    device = _device(pack)
    drawer = BatchDrawer([DeviceSampler(device, size=32, batch=4, seed=3)])
    stream = device_stream([DeviceSampler(device, size=32, batch=4, seed=3)], 5)
    for step in (5, 6):
        one, other = drawer.batch(step), next(stream)
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(drawer.batch(5)["source"], drawer.batch(6)["source"])


def test_batches_have_the_recipes_names_types_and_sizes(pack: FramePack) -> None:
    cpu = PairSampler(pack, size=32, batch=3).batch(0)
    device = BatchDrawer([DeviceSampler(_device(pack), size=32, batch=3)]).batch(0)
    assert {k: (v.shape, v.dtype) for k, v in cpu.items()} == {
        k: (v.shape, v.dtype) for k, v in device.items()
    }


def test_pairs_are_of_one_segment_and_mostly_differ(pack: FramePack) -> None:
    device = _device(pack)
    pairs = DeviceSampler(device, size=16, batch=200)._far_pairs(torch.Generator().manual_seed(0))
    segment = torch.repeat_interleave(torch.arange(len(device.lengths)), device.lengths)
    assert torch.equal(segment[pairs[:, 0]], segment[pairs[:, 1]])
    assert (pairs[:, 0] != pairs[:, 1]).float().mean() > 0.85, (
        "chance alone would give 0.83; still pairs are avoided"
    )


@pytest.mark.parametrize("cross_identity", [0, 2, 3])
def test_several_packs_fill_one_batch_as_each_alone_would(pack: FramePack, cross_identity: int) -> None:
    device = _device(pack)
    samplers = [
        DeviceSampler(device, size=32, batch=3, seed=3, cross_identity=cross_identity),
        DeviceSampler(device, size=32, batch=2, seed=2),
        DeviceSampler(device, size=32, batch=4, seed=4),
    ]
    alone = [BatchDrawer([sampler]).batch(9) for sampler in samplers]
    batch = BatchDrawer(samplers).batch(9)
    assert batch.keys() == alone[0].keys()
    for name, value in batch.items():
        assert torch.equal(value, torch.cat([one[name] for one in alone if name in one])), name


def test_samplers_that_do_not_fit_together_are_refused(pack: FramePack) -> None:
    device = _device(pack)
    first = DeviceSampler(device, size=32, batch=3)
    with pytest.raises(ValueError, match="one size"):
        BatchDrawer([first, DeviceSampler(device, size=16, batch=3)])
    with pytest.raises(ValueError, match="cross_identity"):
        BatchDrawer([first, DeviceSampler(device, size=32, batch=3, cross_identity=1)])


def _pairs(
    device: DevicePack,
    rows: list[list[int]],
    matrix: np.ndarray,
    *,
    mirror: bool = False,
    by_expression: bool = False,
    still: Sequence[bool] = (),
) -> Pairs:
    """Pairs of these frames, all augmented alike; colours stay."""
    pair, count = torch.tensor(rows), len(rows)
    flipped = torch.full((count,), int(mirror))
    return Pairs(
        frames=device.frames[pair],
        motions=device.motions(pair, flipped[:, None]),
        matrix=torch.from_numpy(matrix).expand(count, 2, 3),
        mirror=flipped,
        by_expression=torch.full((count,), by_expression),
        gain=torch.ones(count, 3),
        gamma=torch.ones(count, 1),
        still=torch.tensor(still, dtype=torch.bool),
    )
