"""The compact preset: its equations, what it costs, its specs, and that it grows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.face.landmarks import EYE_CORNERS
from mimicam.engine.models.daegan.agreement import SHARPNESS
from mimicam.engine.models.daegan.compact import CompactDaeGan, Prepared, gaze_field
from mimicam.engine.models.daegan.compact_config import (
    DAEGAN_COMPACT,
    DAEGAN_COMPACT_64,
    DAEGAN_COMPACT_128,
    FIELD,
    CompactDaeGanConfig,
)
from mimicam.engine.models.daegan.face_trunk import FEATURES, PLACE
from mimicam.engine.models.daegan.inference import DaeGanParts
from mimicam.engine.models.daegan.layers import BatchRenorm, resized, sample
from mimicam.engine.models.daegan.network import reconstruct
from mimicam.engine.models.daegan.trunk_weights import read_trunk
from mimicam.engine.models.daegan.weights import load_daegan, save_daegan
from mimicam.engine.stages.crop import HEAD_SCALE, HEAD_Y

S, T = DAEGAN_COMPACT_64.size, DAEGAN_COMPACT_64.face_size


@pytest.fixture(scope="module")
def model() -> CompactDaeGan:
    """Networks with visible effects: fresh ones do not warp, draw nothing and move no iris."""
    torch.manual_seed(0)
    model = CompactDaeGan(DAEGAN_COMPACT_64).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 4 and weight.std() < 2e-3:
                torch.nn.init.normal_(weight, std=0.05)
            if "gaze" in name:
                torch.nn.init.normal_(weight, std=0.05)
            if name.endswith("strength"):
                weight.fill_(0.5)
    return model


@pytest.fixture(scope="module")
def frames() -> Tensor:
    """Two videos of three frames, ``[2, 3, 3, S, S]``, soft."""
    small = torch.rand(6, 3, 5, 5, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return F.interpolate(small, size=(S, S), mode="bilinear").reshape(2, 3, 3, S, S)


def test_equation_1_by_a_plain_loop(model: CompactDaeGan, frames: Tensor) -> None:
    with torch.no_grad():
        got = model.embed(frames)
        parts = [model.face_embedder.frame(frames[:, k]) for k in range(3)]
        warped = [
            sample(frames[:, k], part.displacement, between="bicubic").clamp(-1, 1)
            for k, part in enumerate(parts)
        ]
        mean = sum(part.weight * one for part, one in zip(parts, warped, strict=True))
        mean = mean / sum(part.weight for part in parts)
        # Mean difference of cells of four pixels, smoothed by two boxes of seven cells, bilinear.
        coarse = [F.avg_pool2d(one - mean, T // FIELD).abs().mean(1, keepdim=True) for one in warped]
        differs = [resized(box(box(one)), T) for one in coarse]
    # A factor that all share changes nothing; without it, exponents reach -1,000.
    least = torch.stack(differs).amin(0)
    agrees = [
        part.weight * (SHARPNESS * (least - one)).exp() for part, one in zip(parts, differs, strict=True)
    ]
    want = sum(weight * one for weight, one in zip(agrees, warped, strict=True)) / sum(agrees)
    # The exponent multiplies rounding by 2,000.
    torch.testing.assert_close(got.face, want, atol=5e-3, rtol=0)
    torch.testing.assert_close(got.attention.sum(1), torch.ones(2, 1, T, T))
    assert got.displacement.abs().max() > 0.01
    assert (want - mean).abs().max() > 0.1


def box(x_N1GG: Tensor) -> Tensor:
    """Average seven cells a side, those beyond the edge left out."""
    return F.avg_pool2d(x_N1GG, 7, 1, 3, count_include_pad=False)


def test_a_face_of_equal_frames_is_that_of_one(model: CompactDaeGan, frames: Tensor) -> None:
    with torch.no_grad():
        one, three = (model.embed(frames[:, :1].expand(-1, n, -1, -1, -1)).face for n in (1, 3))
    torch.testing.assert_close(three, one)


@pytest.mark.parametrize("config", [DAEGAN_COMPACT_64, DAEGAN_COMPACT_128, DAEGAN_COMPACT])
def test_equation_2_warps_at_a_quarter_but_at_32_pixels_at_least(config: CompactDaeGanConfig) -> None:
    torch.manual_seed(0)
    model = CompactDaeGan(config).eval()
    face = torch.rand(1, 3, config.size, config.size)
    with torch.no_grad():
        embedding = model.pose_embedder(face)
        got = reconstruct(face, embedding)
    side = max(config.size // 4, FIELD)
    assert embedding.displacement.shape[-1] == side
    assert embedding.residual_low.shape[-1] == config.size // 2
    want = sample(F.avg_pool2d(face, config.size // side), embedding.displacement)
    if side < config.size // 2:
        want = F.interpolate(want, scale_factor=2.0, mode="bilinear", align_corners=False)
    want = F.interpolate(
        want + embedding.residual_low, scale_factor=2.0, mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(got, want + embedding.residual_high)


def test_a_fresh_generator_shows_the_warped_face(frames: Tensor) -> None:
    torch.manual_seed(0)
    model = CompactDaeGan(DAEGAN_COMPACT_64).eval()
    face = resized(frames[:, 0], T)
    with torch.no_grad():
        code = model.pose_embedder.encode(frames[:, 1])
        got = model.picture(face, code)
        full = F.interpolate(model.pose_embedder.field(code), size=(S, S), mode="bilinear")
    assert (got - sample(face, full)).abs().mean() < 0.2 * face.abs().mean()


def test_an_embedded_face_keeps_more_detail_than_one_of_the_pictures_size(frames: Tensor) -> None:
    torch.manual_seed(0)
    model = CompactDaeGan(DAEGAN_COMPACT_64).eval()
    noise = torch.rand(1, 3, S, S, generator=torch.Generator().manual_seed(1)) * 2 - 1
    # Half a pixel aside, where a bilinear sample is a mean of neighbours.
    aside = torch.full((1, 2, FIELD, FIELD), 1.0 / S)
    with torch.no_grad():
        model.face_embedder.affine.weight.zero_()
        model.face_embedder.affine.bias.copy_(torch.tensor([0, 0, 1 / S, 0, 0, 1 / S]))
        face = model.embed(noise[:, None]).face
        code = model.pose_embedder.encode(frames[:1, 0])
        posed = model.pose_embedder.posed(code)._replace(displacement=aside)
        portrait = Prepared(*model.prepare(face))._replace(own_gaze=posed.gaze)
        shown = model.generator.draw(code, posed, portrait).warped
    plain = sample(sample(noise, aside.mean() * torch.ones(1, 2, S, S)), resized(aside, S))
    assert face.shape[-1] == T
    assert shown.std() > 1.3 * plain.std()
    # Both arrive one pixel aside.
    away = (shown[..., :-1, :-1] - noise[..., 1:, 1:]).abs().mean()
    assert away < 0.75 * (shown - noise).abs().mean()


def test_a_frame_of_the_faces_size_gives_more_detail() -> None:
    torch.manual_seed(0)
    embedder = CompactDaeGan(DAEGAN_COMPACT_64).eval().face_embedder
    fine = torch.rand(1, 3, T, T, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        one, other = embedder.frame(fine).warped, embedder.frame(F.avg_pool2d(fine, 2)).warped
    assert one.shape == other.shape == (1, 3, T, T)
    assert one.std() > 1.5 * other.std()


def test_layers_blend_to_the_picture(model: CompactDaeGan, frames: Tensor) -> None:
    with torch.no_grad():
        face, code = model.embed(frames).face, model.pose_embedder.encode(frames[:, 0])
        layers = model.layers(face, code)
        torch.testing.assert_close(layers.picture(), model.picture(face, code))
    assert layers.share.min() < 0.8 < layers.share.max() <= 1
    assert 0 <= layers.unseen.min() <= layers.unseen.max() <= 1


def test_the_warped_face_is_kept_out_of_open_mouths_and_shut_eyes() -> None:
    torch.manual_seed(0)
    model = CompactDaeGan(DAEGAN_COMPACT_64).eval()
    face, code = torch.full((1, 3, T, T), 0.5), torch.zeros(1, 64)

    def shown(mouth: Tensor, eyes: Tensor) -> Tensor:
        """Share of the warped face in each pixel: a fresh generator draws grey, which is 0."""
        nothing = torch.full_like(mouth, -8.0)
        layout = torch.stack([mouth, nothing, eyes, nothing])[None]
        posed = model.pose_embedder.posed(code)._replace(
            displacement=torch.zeros(1, 2, FIELD, FIELD), layout=layout
        )
        with torch.no_grad():
            layers = model.generator.draw(code, posed, Prepared(*model.prepare(face)))
            return layers.picture()[0, 0] / 0.5

    away, everywhere = torch.full((64, 64), -8.0), torch.full((64, 64), 8.0)
    before = shown(away, everywhere)
    assert before.min() > 0.8, "all is the warped face"
    mouth = away.clone()
    mouth[40:46, 28:36] = 8.0
    opened = shown(mouth, everywhere)
    assert opened[40:46, 28:36].max() < 0.05
    torch.testing.assert_close(opened[:38], before[:38], atol=1e-3, rtol=0)
    shut = shown(away, away)
    rows, columns = (shut < 0.05).nonzero(as_tuple=True)
    # Two eyes above the middle, one on each side; the mouth and all else as before.
    assert (rows < 34).all()
    assert columns.min() < 28 < 36 < columns.max()
    assert (shut < 0.05).float().mean() < 0.1
    torch.testing.assert_close(shut[38:], before[38:], atol=1e-3, rtol=0)


def test_a_gaze_moves_the_irises_within_the_eyes() -> None:
    still = torch.zeros(1, 2, FIELD, FIELD)
    assert gaze_field(still, torch.zeros(1, 2)).abs().max() == 0
    right, side = gaze_field(still, torch.tensor([[0.24, 0.08]]))[0], 2 * FIELD
    points = (face_geometry().mean[:, :2] * HEAD_SCALE + (0.0, HEAD_Y) + 1) * (side / 2)

    def at(landmark: int) -> Tensor:
        column, row = points[landmark].astype(int)
        return right[:, row, column]

    for iris, (left_corner, right_corner) in ((468, EYE_CORNERS[0]), (473, EYE_CORNERS[1])):
        half = (points[right_corner, 0] - points[left_corner, 0]) / side
        # Irises to the right: what is seen there lies on the left. By more than the change, since
        # codes and lids tell less of it.
        assert 0.24 * half < -at(iris)[0] < 0.48 * half
        assert at(iris)[0].item() == pytest.approx(3 * at(iris)[1].item(), rel=1e-3)
        for corner in (left_corner, right_corner):
            assert at(corner).norm() < 0.5 * at(iris).norm()
    elsewhere = right.clone()
    # Up to the brows, and as far below.
    top, bottom = int(points[[52, 282], 1].max()), int(points[145, 1]) + 7
    elsewhere[:, top:bottom] = 0
    assert elsewhere.abs().max() == 0
    largest = gaze_field(still, torch.tensor([[5.0, 0.0]]))[0, 0]
    steps = (largest[:, 1:] - largest[:, :-1]) * FIELD
    assert -1 < steps.min() < -0.5, "nothing folds"


def test_a_gaze_is_relative_to_the_portraits_own(model: CompactDaeGan, frames: Tensor) -> None:
    with torch.no_grad():
        face, code = model.embed(frames).face, model.pose_embedder.encode(frames[:, 0])
        portrait, posed = Prepared(*model.prepare(face)), model.pose_embedder.posed(code)
        alike = portrait._replace(own_gaze=posed.gaze)
        plain = sample(face, resized(posed.displacement, S))
        torch.testing.assert_close(model.generator.draw(code, posed, alike).warped, plain)
        other = portrait._replace(own_gaze=posed.gaze + 0.3)
        assert (model.generator.draw(code, posed, other).warped - plain).abs().max() > 1e-2


def test_reading_a_portraits_gaze_teaches_nothing(frames: Tensor) -> None:
    torch.manual_seed(0)
    embedder = CompactDaeGan(DAEGAN_COMPACT_64).pose_embedder
    before = {name: value.clone() for name, value in embedder.state_dict().items()}
    gaze = embedder.own_gaze(frames[:, 0])
    assert gaze.shape == (2, 2)
    assert not gaze.requires_grad or not embedder.encoder.aside(frames[:, 0]).requires_grad
    assert all(torch.equal(before[name], value) for name, value in embedder.state_dict().items())
    assert embedder.encoder.normalise.training


def test_a_picture_follows_code_and_face(model: CompactDaeGan, frames: Tensor) -> None:
    with torch.no_grad():
        codes = model.pose_embedder.encode(frames[:1, :2].flatten(0, 1))
        pictures = [
            model.picture(resized(frames[k, None, 2], T), code[None]) for k in (0, 1) for code in codes
        ]
    for a, b in ((0, 1), (2, 3), (0, 2), (1, 3)):
        assert (pictures[a] - pictures[b]).abs().mean() > 1e-3


def test_every_weight_gets_a_gradient(model: CompactDaeGan, frames: Tensor) -> None:
    trained = CompactDaeGan(DAEGAN_COMPACT_64)
    trained.load_state_dict(model.state_dict())
    face = trained.embed(frames).face
    embedding = trained.pose_embedder(frames[:, 0])
    (reconstruct(face, embedding) + trained.reenact(face, frames[:, 1])).square().mean().backward()
    without = {name for name, p in trained.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # A bias before a normalisation, or of the attention's key, changes nothing.
    no_effect = ("attention.key.bias", "conv_1.bias", "encoder.code.bias")
    without_reason = {n for n in without if not n.endswith(no_effect) and not frozen(n)}
    in_closed_form = {"pose_embedder.retrieval.weight", "pose_embedder.retrieval.bias"}
    # Gazes count relative to the portrait's own, in which the bias is too; landmarks teach it.
    assert without_reason == {*in_closed_form, "pose_embedder.gaze.bias"}
    assert set(filter(frozen, dict(trained.named_parameters()))) <= without, "what finds and reads faces"


def frozen(name: str) -> bool:
    return ".trunk." in name or ".finder." in name


def test_a_frame_costs_less_than_half_of_the_compact_dpes(model: CompactDaeGan) -> None:
    assert model.config.size == S
    with torch.device("meta"):
        parts = DaeGanParts(CompactDaeGan(DAEGAN_COMPACT))
        inputs = {spec.name: [torch.zeros(t.shape) for t in spec.inputs] for spec in parts.specs.values()}
        with FlopCounterMode(display=False) as count:
            for name in ("pose_encoder", "generator"):
                parts.get_submodule(name)(*inputs[name])
    # Multiplications and additions; the compact DPE's generator has 5.3e9.
    assert count.get_total_flops() < 2e9
    assert 2 * sum(p.numel() for p in parts.parameters()) < 15e6, "bytes in half precision"


@pytest.mark.parametrize("config", [DAEGAN_COMPACT_64, DAEGAN_COMPACT])
def test_networks_have_the_shapes_of_their_specs(config: CompactDaeGanConfig) -> None:
    parts = DaeGanParts(CompactDaeGan(config))
    side = (1, 3, config.size, config.size)
    examples = parts.examples(torch.rand(side), torch.rand(side))
    for name, spec in parts.specs.items():
        outputs = parts.reference(name, examples[name])
        assert {n: tuple(v.shape) for n, v in examples[name].items()} == {
            t.name: t.shape for t in spec.inputs
        }
        assert {n: tuple(v.shape) for n, v in outputs.items()} == {t.name: t.shape for t in spec.outputs}


def test_the_portraits_tensors_are_named_as_the_generator_reads_them(model: CompactDaeGan) -> None:
    assert DaeGanParts(model).specs["front"].output_names == Prepared._fields


def test_a_file_comes_back_as_a_compact_model(model: CompactDaeGan, frames: Tensor, tmp_path: Path) -> None:
    save_daegan(model, tmp_path / "m.safetensors")
    loaded = load_daegan(tmp_path / "m.safetensors")
    assert loaded.config == DAEGAN_COMPACT_64
    with torch.no_grad():
        assert torch.equal(loaded(frames, frames[:, 0]), model(frames, frames[:, 0]))


def test_codes_are_normalised_over_the_training_batches(frames: Tensor) -> None:
    torch.manual_seed(0)
    embedder = CompactDaeGan(DAEGAN_COMPACT_64).pose_embedder
    embedder.encoder.trunk.load_state_dict(read_trunk())
    with torch.no_grad():
        embedder.encoder.code.bias += 5.0
        embedder.encoder.normalise.momentum = 1.0
        embedder.encode(frames.flatten(0, 1))
        codes = embedder.encode(frames.flatten(0, 1))
    torch.testing.assert_close(codes.mean(0), torch.zeros(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(codes.std(0, correction=0), torch.ones(64), atol=0.15, rtol=0)


def test_one_batch_of_eight_hardly_changes_what_a_picture_is_read_as() -> None:
    torch.manual_seed(0)
    encoder = CompactDaeGan(DAEGAN_COMPACT_64).pose_embedder.encoder
    features = torch.randn(200, FEATURES + PLACE)
    with torch.no_grad():
        for _ in range(400):
            encoder.of_read(features)
        before = encoder.eval().of_read(features)
        encoder.train().of_read(features[:8])
        after = encoder.eval().of_read(features)
    assert (after - before).abs().mean() < 0.01 * before.std(), "displacements follow codes exactly"


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size must be one of 64, 128, 256, got 96"):
        CompactDaeGanConfig(size=96)


def test_in_training_codes_are_normalised_by_the_running_statistics() -> None:
    torch.manual_seed(0)
    norm, plain = BatchRenorm(5, affine=False), nn.BatchNorm1d(5, affine=False)
    for layer in (norm, plain):
        layer.running_mean.fill_(0.5)
        layer.running_var.fill_(4.0)
    codes = 2 * torch.randn(8, 5) + 0.5
    want = (codes - 0.5) / (4 + norm.eps) ** 0.5
    torch.testing.assert_close(norm(codes), want)
    plain(codes)
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    torch.testing.assert_close(norm.eval()(codes), plain.eval()(codes))
    given = codes.clone().requires_grad_()
    norm.train()(given).sum().backward()
    assert given.grad.abs().max() < 1e-4, "a shift of the whole batch does not change the loss"
