"""Compact generator: what stays at rest, and what may be inpainted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need torch")

from mimicam.engine.face.motion import shape_change  # noqa: E402
from mimicam.engine.models.compact.conditioning import Conditioning, build_conditioning  # noqa: E402
from mimicam.engine.models.compact.network import Compact  # noqa: E402
from mimicam.engine.models.compact.spec import CompactConfig  # noqa: E402
from mimicam.engine.types import MotionCode  # noqa: E402
from tests.stages.material import motion, pose, shapes  # noqa: E402

SIZE = 64


@pytest.fixture(scope="module")
def restless() -> Compact:
    """Return a network with large corrections and inpainting everywhere."""
    torch.manual_seed(0)
    net = Compact(CompactConfig(size=SIZE)).eval().requires_grad_(False)
    for layer in (net.generator.to_flow4, net.generator.to_flow2):
        torch.nn.init.normal_(layer.weight, std=0.3)
    net.generator.to_picture.bias[12:] = 0.0
    net.generator.flow.log_sharpness.fill_(5.0)
    return net


def _run(net: Compact, source: MotionCode, target: MotionCode) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    conditioning = build_conditioning(source, target, map_px=SIZE // 2)
    return image, net(image, **_tensors(conditioning))["image"]


def _tensors(conditioning: Conditioning) -> dict[str, torch.Tensor]:
    named = conditioning.tensors().items()
    return {name: torch.from_numpy(np.ascontiguousarray(array, np.float32))[None] for name, array in named}


def _mask(net: Compact) -> torch.Tensor:
    image = torch.zeros(1, 3, SIZE, SIZE)
    conditioning = build_conditioning(
        motion(pose(scale=0.3)), motion(pose(scale=0.3, yaw=15)), map_px=SIZE // 2
    )
    tensors = _tensors(conditioning)
    tensors.pop("source_shows_teeth")
    latent, maps = net.encoder(image)
    latent = net.codes(latent, tensors.pop("expression"), tensors.pop("pose"))
    mask: torch.Tensor = net.generator.layers(latent, maps, **tensors)["visibility"]
    return mask


def _border(difference: torch.Tensor) -> torch.Tensor:
    return torch.cat([difference[..., :6].flatten(), difference[..., -6:].flatten()])


def test_an_expression_leaves_pixels_beyond_landmarks_unchanged(restless: Compact) -> None:
    own = motion(pose(scale=0.3))
    change = shape_change(shapes(jawOpen=0.8))
    image, result = _run(restless, own, replace(own, shape=own.shape + change))
    difference = (result - image).abs()
    assert _border(difference).max() < 5e-3
    assert difference[..., 24:44, 24:40].max() > 0.2, "the face is drawn"


def test_inference_decides_where_training_hedges(restless: Compact) -> None:
    shown = _mask(restless)
    hedged = _mask(restless.train())
    restless.eval()
    assert ((shown > 0.5) == (hedged > 0.5))[hedged > 0.5].all(), (
        "what was warped rather than painted still is"
    )
    for sure in (hedged > 0.6, hedged < 0.1):
        assert sure.any()
        assert ((shown - 0.5).abs() > (hedged - 0.5).abs())[sure].all()
    assert shown.mean() > hedged.mean(), "in doubt it is warped: that is sharp"


def test_a_turning_head_may_move_everything(restless: Compact) -> None:
    image, result = _run(restless, motion(pose(scale=0.3)), motion(pose(scale=0.3, yaw=15)))
    assert _border((result - image).abs()).mean() > 0.05


def test_a_head_that_moves_by_its_noise_fades_between_the_two(restless: Compact) -> None:
    own = motion(pose(scale=0.3, at=(0.0, 0.0)))
    moved = []
    for x in (0.0, 0.0005, 0.02):
        image, result = _run(restless, own, motion(pose(scale=0.3, at=(x, 0.0))))
        moved.append(float(_border((result - image).abs()).mean()))
    assert moved[0] < 1e-3 < moved[1] < 0.5 * moved[2]
