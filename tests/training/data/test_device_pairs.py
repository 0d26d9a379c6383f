"""Batches made on the device hold what the CPU's sampler makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mimicam.engine.face.geometry import place
from mimicam.engine.models.compact.conditioning import build_conditioning
from mimicam.training.data import pairs
from mimicam.training.data.device_pairs import DevicePack, DeviceSampler, device_stream
from mimicam.training.data.openings import OpeningsPainter
from mimicam.training.data.pairs import TRAINED, FramePack, PairSampler, _by_expression, cross_identity_drives
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
    sampler = DeviceSampler(_device(pack), size=48, batch=1)
    pair, turn = torch.tensor([[1, 4]]), torch.from_numpy(matrix)[None]
    flipped, guessed = torch.tensor([int(mirror)]), torch.tensor([by_expression])
    got = sampler.drive(pair, turn, flipped, guessed)
    for name in TRAINED:
        array = wanted.tensors()[name]
        # A contour that rounds to the next sixteenth of a pixel may change a fine pixel, a quarter of one on the map.
        limit = 0.26 if name == "openings" else 2e-4
        np.testing.assert_allclose(got[name][0].numpy(), array, atol=limit, err_msg=name)
    assert np.abs(got["openings"][0].numpy() - wanted.openings).mean() < 1e-3
    truth = place(target.shape, target.pose)
    np.testing.assert_allclose(got["target_landmarks"][0].numpy(), truth, atol=2e-4)
    pictures = sampler.pictures(pair, turn, flipped)[0].permute(0, 2, 3, 1).numpy()
    for image, picture in ((image_s, pictures[0]), (image_t, pictures[1])):
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
    sampler = DeviceSampler(_device(pack), size=48, batch=2, cross_identity=2)
    turn = torch.from_numpy(matrix).expand(2, 2, 3)
    own = sampler._motions(torch.tensor([[1, 4], [7, 9]]), turn, torch.tensor([0, 0]))
    got = sampler.cross_identity_drives(*own, torch.tensor([still, still]))
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        limit = 0.26 if name.endswith("openings") else 5e-4
        np.testing.assert_allclose(got[name].numpy(), value.numpy(), atol=limit, err_msg=name)


def test_cross_identity_adds_only_its_own_arrays(pack: FramePack) -> None:
    plain = DeviceSampler(_device(pack), size=32, batch=4, seed=3).batch(2)
    batch = DeviceSampler(_device(pack), size=32, batch=4, seed=3, cross_identity=2).batch(2)
    assert all(torch.equal(batch[name], value) for name, value in plain.items())
    more = {name.removeprefix("cross_"): v for name, v in batch.items() if name not in plain}
    assert set(more) == {*TRAINED, "landmarks"}
    assert torch.equal(more["source_points"], batch["source_points"][:2])
    assert not torch.equal(more["target_points"], batch["target_points"][:2])


def test_openings_are_those_of_a_whole_drive_bit_by_bit(pack: FramePack) -> None:
    cpu = PairSampler(pack, size=48, batch=1)
    matrix = np.eye(2, 3, dtype=np.float32)
    motions = [cpu._frame(int(i), matrix, False)[1] for i in pack.indices[:6]]
    painter = OpeningsPainter(3, 24, torch.device("cpu"))
    for _ in range(2):  # memory is used again
        maps = painter(motions[:3], motions[3:])
        for got, source, target in zip(maps, motions[:3], motions[3:], strict=True):
            np.testing.assert_array_equal(got.numpy(), build_conditioning(source, target, map_px=24).openings)
    later = painter(motions[3:], motions[:3])
    assert not torch.equal(maps, later), "a batch keeps its own maps"


def test_a_step_is_always_the_same_and_steps_differ(pack: FramePack) -> None:
    sampler = DeviceSampler(_device(pack), size=32, batch=4, seed=3)
    again = DeviceSampler(_device(pack), size=32, batch=4, seed=3)
    stream = device_stream([again], 5)
    for step in (5, 6):
        one, other = sampler.batch(step), next(stream)
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(sampler.batch(5)["source"], sampler.batch(6)["source"])


def test_batches_have_the_recipes_names_types_and_sizes(pack: FramePack) -> None:
    cpu = PairSampler(pack, size=32, batch=3).batch(0)
    device = DeviceSampler(_device(pack), size=32, batch=3).batch(0)
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


def test_several_samplers_fill_one_batch_in_order(pack: FramePack) -> None:
    device = _device(pack)
    first, second = (DeviceSampler(device, size=16, batch=n, seed=n) for n in (3, 2))
    batch = next(device_stream([first, second], 9))
    assert torch.equal(batch["target"][:3], first.batch(9)["target"])
    assert torch.equal(batch["target"][3:], second.batch(9)["target"])
