"""DAE-GAN's networks against the paper's equations 1 and 2, and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.engine.models.daegan.config import DAEGAN, DAEGAN_DEBUG, DaeGanConfig
from mimicam.engine.models.daegan.layers import AdaptiveNorm, SelfAttention, affine_field, sample
from mimicam.engine.models.daegan.network import DaeGan, PoseEmbedding, reconstruct
from mimicam.engine.silent_imports import ov
from tests.models.golden.pseudo_weights import picture

S = DAEGAN_DEBUG.size


@pytest.fixture(scope="module")
def model() -> DaeGan:
    torch.manual_seed(0)
    return DaeGan(DAEGAN_DEBUG).eval()


@pytest.fixture(scope="module")
def frames() -> Tensor:
    """Two videos of three frames, ``[2, 3, 3, S, S]``."""
    images = [picture(f"{video}{k}", S) for video in "ab" for k in range(3)]
    return torch.from_numpy(np.concatenate(images)).reshape(2, 3, 3, S, S)


def test_no_displacement_gives_the_picture_itself(frames: Tensor) -> None:
    image = frames[:, 0]
    torch.testing.assert_close(sample(image, torch.zeros(2, 2, S, S)), image, atol=1e-5, rtol=0)


def test_a_displacement_reads_from_where_it_points(frames: Tensor) -> None:
    image, field = frames[:, 0], torch.zeros(2, 2, S, S)
    field[:, 0] = 2 * 3 / S  # three pixels to the right
    field[:, 1] = -2 * 1 / S  # one up
    got = sample(image, field)
    torch.testing.assert_close(got[:, :, 1:, :-3], image[:, :, :-1, 3:], atol=1e-5, rtol=0)


def _bilinear(image: Tensor, x: float, y: float) -> Tensor:
    """One sample at pixel ``(x, y)``, edges repeat: the definition, without a library."""
    last = image.shape[-1] - 1
    x, y = min(max(x, 0.0), last), min(max(y, 0.0), last)
    left, top = min(int(x), last - 1), min(int(y), last - 1)
    a, b = x - left, y - top
    rows = [(1 - a) * image[:, top + k, left] + a * image[:, top + k, left + 1] for k in (0, 1)]
    return (1 - b) * rows[0] + b * rows[1]


def test_sampling_is_bilinear_by_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 6, 6, generator=generator)
    # In units of half a side: some positions lie outside of the picture.
    field = torch.randn(1, 2, 6, 6, generator=generator) * 0.5
    got = sample(image, field)[0]
    for y in range(6):
        for x in range(6):
            u, v = (3 * field[0, axis, y, x].item() for axis in (0, 1))
            torch.testing.assert_close(got[:, y, x], _bilinear(image[0], x + u, y + v), atol=1e-5, rtol=0)


def test_self_attention_is_that_of_sagan_by_a_plain_loop() -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention(16), torch.randn(1, 16, 2, 3)
    layer.strength.data.fill_(0.7)
    with torch.no_grad():
        query, key, value = (net(x).flatten(2)[0] for net in (layer.query, layer.key, layer.value))
        got = layer(x).flatten(2)[0]
    for j in range(6):
        scores = torch.tensor([sum(query[c, j] * key[c, i] for c in range(2)) for i in range(6)])
        weights = scores.exp() / scores.exp().sum()
        want = x.flatten(2)[0, :, j] + 0.7 * sum(weights[i] * value[:, i] for i in range(6))
        torch.testing.assert_close(got[:, j], want, atol=1e-5, rtol=1e-4)


def test_an_affine_field_is_linear_in_the_position_by_a_plain_loop() -> None:
    terms = torch.tensor([[0.1, 0.2, 0.3, -0.4, 0.5, -0.6]])
    got = affine_field(terms, 4)[0]
    for row in range(4):
        for column in range(4):
            x, y = ((2 * k + 1) / 4 - 1 for k in (column, row))
            want = torch.tensor([0.1 * x + 0.2 * y + 0.3, -0.4 * x + 0.5 * y - 0.6])
            torch.testing.assert_close(got[:, row, column], want)


def test_equation_1_sums_warped_frames_by_normalised_attention(model: DaeGan, frames: Tensor) -> None:
    with torch.no_grad():
        got = model.embed(frames)
    torch.testing.assert_close(got.attention.sum(1), torch.ones(2, 1, S, S))
    want = sum(got.attention[:, k] * sample(frames[:, k], got.displacement[:, k]) for k in range(3))
    torch.testing.assert_close(got.face, want)


def test_frame_order_is_irrelevant_but_every_frame_counts(model: DaeGan, frames: Tensor) -> None:
    with torch.no_grad():
        face = model.embed(frames).face
        torch.testing.assert_close(model.embed(frames.flip(1)).face, face, atol=1e-5, rtol=1e-5)
        assert (model.embed(frames[:, :2]).face - face).abs().max() > 0.01


def test_equation_2_adds_residuals_on_the_way_up(frames: Tensor) -> None:
    torch.manual_seed(0)
    embedding = PoseEmbedding(
        torch.zeros(2, 1),
        0.1 * torch.randn(2, 2, S // 4, S // 4),
        torch.randn(2, 3, S // 2, S // 2),
        torch.randn(2, 3, S, S),
    )
    up = torch.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    warped = sample(F.avg_pool2d(frames[:, 0], 4), embedding.displacement)
    want = embedding.residual_high + up(embedding.residual_low + up(warped))
    torch.testing.assert_close(reconstruct(frames[:, 0], embedding), want)


def test_the_outputs_depend_on_the_pose_code_alone(model: DaeGan, frames: Tensor) -> None:
    with torch.no_grad():
        embedding = model.pose_embedder(frames[:, 0])
        assert torch.equal(embedding.code, model.pose_embedder.encode(frames[:, 0]))
        full = model.pose_embedder.decoder(embedding.code)[-1]
        assert torch.equal(embedding.residual_high, model.pose_embedder.residual_high(full))
    assert [v.shape[-1] for v in embedding[1:]] == [S // 4, S // 2, S]


def test_adaptive_norm_sets_mean_and_deviation_from_the_code() -> None:
    torch.manual_seed(0)
    layer, code = AdaptiveNorm(3, 5), torch.randn(2, 5)
    out = layer(torch.randn(2, 3, 16, 16) * 7 + 4, code)
    hidden = F.relu(layer.shared(code))
    torch.testing.assert_close(out.mean((2, 3)), layer.mean(hidden), atol=1e-4, rtol=0)
    got = out.std((2, 3), correction=0)
    torch.testing.assert_close(got, (1 + layer.deviation(hidden)).abs(), atol=1e-3, rtol=0)


def test_self_attention_starts_as_identity_and_then_mixes() -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention(16), torch.randn(1, 16, 4, 4)
    assert torch.equal(layer(x), x)
    layer.strength.data.fill_(1.0)
    far = x.clone()
    far[..., -1, -1] += 5
    assert (layer(far) - layer(x))[..., 0, 0].abs().max() > 1e-4


def test_the_driver_changes_the_picture(model: DaeGan, frames: Tensor) -> None:
    with torch.no_grad():
        face = model.embed(frames).face
        first, second = model.reenact(face, frames[:, 0]), model.reenact(face, frames[:, 1])
    assert first.shape == (2, 3, S, S)
    assert first.abs().max() <= 1
    assert (first - second).abs().max() > 1e-3


def test_every_weight_gets_a_gradient(frames: Tensor) -> None:
    torch.manual_seed(0)
    model = DaeGan(DAEGAN_DEBUG)
    model.generator.attention.strength.data.fill_(0.5)
    face = model.embed(frames).face
    embedding = model.pose_embedder(frames[:, 0])
    (reconstruct(face, embedding) + model.reenact(face, frames[:, 1])).square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The key's bias shifts all of a row's scores alike, and softmax does not change by that.
    assert [name for name in without if name != "generator.attention.key.bias"] == []


def test_the_full_size_is_what_the_paper_draws() -> None:
    with torch.device("meta"):
        model = DaeGan(DAEGAN)
        face, code = torch.zeros(1, 3, 256, 256), torch.zeros(1, DAEGAN.code)
        assert model.generator(face, code).shape == (1, 3, 256, 256)
        embedding = model.pose_embedder(face)
    assert [tuple(v.shape[1:]) for v in embedding[1:]] == [(2, 64, 64), (3, 128, 128), (3, 256, 256)]


@pytest.mark.parametrize("change", [{"size": 48}, {"width": 6}, {"reduction": 3}, {"reduction": 16}])
def test_an_impossible_size_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        DaeGanConfig(**({"size": 32, "reduction": 4} | change))


def test_the_live_networks_run_in_openvino(model: DaeGan, frames: Tensor, tmp_path: Path) -> None:
    face, driving = frames[:1, 0], frames[:1, 1]
    torch.onnx.export(
        _Live(model), (face, driving), str(tmp_path / "live.onnx"), opset_version=17, dynamo=False
    )
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = ov.Core().compile_model(str(tmp_path / "live.onnx"), "CPU", options)
    got = compiled([face.numpy(), driving.numpy()])[0]
    with torch.no_grad():
        want = model.reenact(face, driving).numpy()
    assert np.abs(got - want).max() <= 1e-3


class _Live(torch.nn.Module):
    def __init__(self, model: DaeGan) -> None:
        super().__init__()
        self.model = model

    def forward(self, face: Tensor, driving: Tensor) -> Tensor:
        return self.model.reenact(face, driving)
