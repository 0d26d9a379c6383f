"""The networks against the published ones' numbers, and each layer against its definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mimicam.engine.models.dpe import stylegan2 as layers
from mimicam.engine.models.dpe.config import DEBUG, PUBLISHED, DpeConfig
from mimicam.engine.models.dpe.network import Dpe, Encoded
from mimicam.engine.models.dpe.published_names import entries
from mimicam.engine.types import Mode
from tests.models.golden.pseudo_weights import picture

GOLDEN = Path(__file__).parents[1] / "golden"
LIMIT = 1e-4
"""Of the largest magnitude. Worst seen 1.3e-5 (image_face_exp), AVX-512 CPU, torch 2.13, 2026-11."""


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "dpe_golden_A.npz") as values:
        return dict(values)


@pytest.fixture(scope="module")
def encoded(published: Dpe) -> dict[str, Encoded]:
    with torch.inference_mode():
        return {tag: published.encode(torch.from_numpy(picture(tag))) for tag in ("source", "driving")}


def error(got: Tensor, want: np.ndarray) -> float:
    return float(np.abs(got.numpy() - want).max() / np.abs(want).max())


def test_names_and_shapes_are_those_of_the_published_file() -> None:
    lines = (GOLDEN / "dpe_checkpoint_keys.tsv").read_text().splitlines()[1:]
    want = [tuple(line.split("\t")) for line in lines]
    assert [(e.name, "x".join(map(str, e.shape))) for e in entries(PUBLISHED)] == want
    assert len(want) == 326


@pytest.mark.parametrize("config", [PUBLISHED, DEBUG], ids=lambda c: c.name)
def test_every_weight_has_exactly_one_published_name(config: DpeConfig) -> None:
    with torch.device("meta"):
        own = {name: value.numel() for name, value in Dpe(config).state_dict().items()}
    targets = [e for e in entries(config) if e.target is not None]
    assert len(targets) == len({e.target for e in targets})
    assert {e.target: e.count for e in targets} == own


@pytest.mark.parametrize("tag", ["source", "driving"])
def test_latents_are_the_published_ones(tag: str, encoded: dict[str, Encoded], golden: dict) -> None:
    assert error(encoded[tag].latent, golden[f"latent_{tag}"]) <= LIMIT


def test_feature_maps_are_the_published_ones(encoded: dict[str, Encoded], golden: dict) -> None:
    for feature in encoded["source"].features:
        want = golden[f"feature_mean_{feature.shape[-1]}"]
        got = torch.stack((feature.mean(), feature.std(correction=0), feature.abs().max()))
        assert error(got, want) <= LIMIT, feature.shape


def test_motion_and_codes_are_the_published_ones_under_their_true_names(
    published: Dpe, encoded: dict[str, Encoded], golden: dict
) -> None:
    latent = encoded["driving"].latent
    with torch.inference_mode():
        codes = published.codes(latent)
        assert error(published.motion.amounts(latent), golden["motion_alpha_driving"]) <= LIMIT
        assert error(published.motion.motion(latent), golden["direction_driving"]) <= LIMIT
    assert error(codes.expression, golden["code_mlp_pose_driving"]) <= LIMIT
    assert error(codes.pose, golden["code_mlp_exp_driving"]) <= LIMIT


@pytest.mark.parametrize("mode", list(Mode), ids=lambda m: m.value)
def test_pictures_are_the_published_ones(
    mode: Mode, published: Dpe, encoded: dict[str, Encoded], golden: dict
) -> None:
    with torch.inference_mode():
        codes = published.codes(encoded["driving"].latent)
        got = published.transfer(encoded["source"], codes, mode)
    assert error(got, golden[f"image_face_{mode.value}"]) <= LIMIT


@pytest.mark.parametrize("mode", ["exp", "pose", "both"])
def test_a_batch_gives_what_its_pictures_give_alone(mode: str, debug: Dpe, debug_pictures: Tensor) -> None:
    source, driving = debug_pictures, debug_pictures.flip(0)
    with torch.inference_mode():
        together = debug.edit(source, driving, mode)
        alone = torch.cat([debug.edit(s[None], d[None], mode) for s, d in zip(source, driving, strict=True)])
    assert (together - alone).abs().max() <= 1e-4 * alone.abs().max()


def test_both_is_pose_applied_to_the_expression_picture(debug: Dpe, debug_pictures: Tensor) -> None:
    source, driving = debug_pictures[:1], debug_pictures[1:2]
    with torch.inference_mode():
        chained = debug.edit(debug.edit(source, driving, "exp"), driving, "pose")
        assert torch.allclose(debug.edit(source, driving, "both"), chained, atol=1e-6)


def test_an_unknown_mode_is_refused(debug: Dpe, debug_pictures: Tensor) -> None:
    with pytest.raises(ValueError, match="smile"):
        debug.edit(debug_pictures[:1], debug_pictures[:1], "smile")


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulated_convolution_equals_weights_made_per_picture(up: bool, demodulate: bool) -> None:
    torch.manual_seed(0)
    conv = layers.ModulatedConv2d(5, 7, 3, 4, demodulate=demodulate, up=up).double()
    x, latent = torch.randn(2, 5, 6, 6).double(), torch.randn(2, 4).double()
    want = []
    for one, style in zip(x, conv.modulation(latent), strict=True):
        weight = conv.weight / (5 * 9) ** 0.5 * style[None, :, None, None]
        if demodulate:
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if conv.blur is None:
            want.append(F.conv2d(one[None], weight, padding=1))
        else:
            want.append(conv.blur(F.conv_transpose2d(one[None], weight.transpose(0, 1), stride=2)))
    torch.testing.assert_close(conv(x, latent), torch.cat(want))


def test_upsampling_equals_zeros_between_pixels_then_a_blur() -> None:
    x = torch.arange(18.0).reshape(1, 2, 3, 3)
    spread = torch.zeros(1, 2, 6, 6)
    spread[:, :, ::2, ::2] = x
    kernel = layers.blur_kernel(4.0).repeat(2, 1, 1, 1)
    want = F.conv2d(F.pad(spread, (2, 1, 2, 1)), kernel, groups=2)
    torch.testing.assert_close(layers.Upsample(2)(x), want)


def test_zero_offsets_do_not_give_the_identity() -> None:
    # The published grid is built for aligned corners and sampled without: reproduced, not repaired.
    x = torch.rand(1, 1, 8, 8)
    moved = layers.warp(x, layers.sampling_grid(8))
    assert (moved - x).abs().max() > 0.01
    assert moved[0, 0, 0, 0] == pytest.approx(0.25 * float(x[0, 0, 0, 0]), abs=1e-6)


def test_every_weight_gets_a_gradient(debug_pictures: Tensor) -> None:
    torch.manual_seed(0)
    model = Dpe(DEBUG)
    model.edit(debug_pictures[:1], debug_pictures[1:2], "both").square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("change", [{"size": 48}, {"channels": (8, 8)}, {"directions": 99}])
def test_an_impossible_preset_is_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        DpeConfig.from_dict(DEBUG.as_dict() | change)
