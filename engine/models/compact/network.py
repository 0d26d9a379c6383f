"""Compact networks: DPE's method sized for two CPU cores, with motion from the face tracker.

As in DPE (section 3.1, equations 3 to 5), a source picture becomes a latent and multi-scale feature
maps. Motion codes are added to the latent. A generator turns the edited latent into flow fields
that warp the cached maps. The differences, and why:

- The motion codes come from the tracker's blendshapes and head pose instead of an image encoder.
  The tracker was trained on far more people than our clips show, and it separates expression from
  pose by construction. ``latent = source + E(target) - E(source's own) + P(target) - P(source's
  own)``.
- The flow starts from the landmarks' displacement (`LandmarkFlow`), and the network adds to it.
- One generator serves both edits, so ``both`` costs one pass.
- The last warp samples the portrait's own pixels, at any resolution and also around the crop. So
  the networks return flow, inpainting and occlusion mask (`Generator.layers`), and
  `engine.stages.warp_composite` composites them. Maps of the openings (lips, lids, teeth) mark what
  the portrait does not show and what has to be inpainted.
- While the head keeps its pose, pixels that no landmark reaches are the portrait's own, unchanged
  (`_at_rest`).

Shape letters: N batch, K control points, C channels, O maps of openings, S side of the picture;
maps at S/2 (h), S/4, S/8, S/16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimicam.engine.models.compact.landmark_flow import LandmarkFlow, warp
from mimicam.engine.models.compact.spec import CompactConfig

SLOPE = 0.1
_NOISE = 0.004
"""Crop units. Noise of the head's affine motion: half a pixel at 256."""
_REACHED = 4.0
"""Inverse of the landmarks' weight (`LandmarkFlow`) at which the generator is free."""
_FIRM = 8.0
"""Logit that keeps the warped picture where nothing moves."""
_OWN_TEETH = 3.0
"""Logit that keeps the portrait's own teeth instead of inpainted ones."""
_DECIDED, _WARPED_FIRST = 3.0, 4.0
"""Factor on the mask's logits, and logit for the warped picture while the head turns. The factor
sharpens masks, since reconstruction losses hedge with half of each, which looks blurred. The logit
applies outside eyes and mouth (see `training/LOG.md`)."""


class ResBlock(nn.Module):
    """Residual block of two 3x3 convolutions.

    The second starts at zero, so that a deep stack starts as the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        _zero(self.second)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW + self.second(_act(self.first(_act(x_NCHW))))


class ModulatedBlock(nn.Module):
    """A residual block whose inner channels are scaled and shifted by the latent.

    The convolutions keep constant weights, so that the block can be quantised and fused. For a
    batch of one, StyleGAN2's modulation is the same except for the demodulation (Karras et al.,
    CVPR 2020).
    """

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.style = nn.Linear(latent, 2 * channels)
        _zero(self.second)
        nn.init.zeros_(self.style.bias)

    def forward(self, x_NCHW: Tensor, latent_NZ: Tensor) -> Tensor:
        scale, shift = self.style(latent_NZ)[:, :, None, None].chunk(2, dim=1)
        inner = self.first(_act(x_NCHW)) * (1 + scale) + shift
        return x_NCHW + self.second(_act(inner))


class SourceEncoder(nn.Module):
    """Encodes a picture into latent and feature maps; runs once per portrait."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        c2, c4, c8, c16 = config.widths
        self.stem = nn.Conv2d(3, c2, 5, stride=2, padding=2)
        self.refine2 = ResBlock(c2)
        self.down4 = nn.Conv2d(c2, c4, 3, stride=2, padding=1)
        self.refine4 = ResBlock(c4)
        self.down8 = nn.Conv2d(c4, c8, 3, stride=2, padding=1)
        self.refine8 = ResBlock(c8)
        self.down16 = nn.Conv2d(c8, c16, 3, stride=2, padding=1)
        self.refine16 = ResBlock(c16)
        self.latent = nn.Linear(c16, config.latent)

    def forward(self, image_N3SS: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return latent ``[N, Z]`` and maps at S/2, S/4, S/8, S/16."""
        map2 = self.refine2(self.stem(image_N3SS))
        map4 = self.refine4(self.down4(_act(map2)))
        map8 = self.refine8(self.down8(_act(map4)))
        map16 = self.refine16(self.down16(_act(map8)))
        return self.latent(_act(map16).mean(dim=(2, 3))), [map2, map4, map8, map16]


class MotionCodes(nn.Module):
    """Adds codes of the tracker's motion to the latent (equation 3 with codes as differences)."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.expression = _mlp(config.expression, config.latent)
        self.pose = _mlp(config.pose, config.latent)

    def forward(self, latent_NZ: Tensor, expression_NTE: Tensor, pose_NTP: Tensor) -> Tensor:
        """Return the edited latent ``[N, Z]``.

        ``expression`` and ``pose`` hold the source's own values at index 0 and the target's at
        index 1.
        """
        code = self.expression(expression_NTE)
        motion = self.pose(pose_NTP)
        return latent_NZ + code[:, 1] - code[:, 0] + motion[:, 1] - motion[:, 0]


class Generator(nn.Module):
    """Turns edited latent, cached maps and landmark flow into a picture (equation 5)."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        c2, c4, c8, c16 = config.widths
        z, splat = config.latent, config.embed + 5 + config.openings
        self.flow = LandmarkFlow(config.points, config.embed)
        self.enter = nn.Conv2d(c4 + splat, c4, 3, padding=1)
        self.down8 = nn.Conv2d(c4, c8, 3, stride=2, padding=1)
        self.block8 = ModulatedBlock(c8, z)
        self.down16 = nn.Conv2d(c8, c16, 3, stride=2, padding=1)
        self.blocks16 = nn.ModuleList([ModulatedBlock(c16, z) for _ in range(2)])
        self.up8 = nn.Conv2d(c16, c8, 1)
        self.block8_up = ModulatedBlock(c8, z)
        self.up4 = nn.Conv2d(c8, c4, 1)
        self.block4 = ModulatedBlock(c4, z)
        self.to_flow4 = nn.Conv2d(c4, 3, 3, padding=1)
        self.merge4 = nn.Conv2d(2 * c4, c4, 3, padding=1)
        self.up2 = nn.Conv2d(c4, c2, 1)
        self.merge2 = nn.Conv2d(2 * c2 + config.openings, c2, 3, padding=1)
        self.block2 = ResBlock(c2)
        self.to_flow2 = nn.Conv2d(c2, 2, 3, padding=1)
        self.to_picture = nn.Conv2d(c2, 16, 3, padding=1)
        self.unseen = nn.Parameter(torch.tensor(6.0))
        """Logit against the warped picture where the portrait shows nothing: lips must not fill a
        mouth."""
        self._phase_kernels: Tensor
        # A buffer, since a constant from the host may not enter a CUDA graph that is being
        # captured.
        self.register_buffer("_phase_kernels", _phase_kernels(), persistent=False)
        for layer in (self.to_flow4, self.to_flow2):
            _zero(layer)
        with torch.no_grad():
            self.to_picture.weight.mul_(0.1)
            # The warped picture is a better start than a blank one, so the mask's channels, the
            # last four, start in its favour.
            self.to_picture.bias.copy_(torch.tensor([0.0] * 12 + [2.0] * 4))  # type: ignore[union-attr]

    def forward(
        self,
        latent_NZ: Tensor,
        image_N3SS: Tensor,
        maps: list[Tensor],
        **conditioning: Tensor,
    ) -> dict[str, Tensor]:
        """Composite `layers` at the network's own size.

        Adds ``image``, in -1..1 but not clamped, and ``warped``.
        """
        out = self.layers(latent_NZ, maps, **conditioning)
        visibility, warped = out["visibility"], warp(image_N3SS, _double(out["flow"]))
        return {**out, "image": visibility * warped + (1 - visibility) * out["inpaint"], "warped": warped}

    def layers(
        self,
        latent_NZ: Tensor,
        maps: list[Tensor],
        *,
        source_points: Tensor,
        target_points: Tensor,
        affine: Tensor,
        head: Tensor,
        opening_masks: Tensor,
        source_shows_teeth: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return warp fields, named and shaped as in `engine.models.compact.spec.generator_spec`.

        ``source_shows_teeth`` is None in training: there the mask alone decides.
        """
        source_NK3, target_NK3, affine_N23, head_N3 = source_points, target_points, affine, head
        openings_NOhh, teeth_N1 = opening_masks, source_shows_teeth
        map2, map4, map8, map16 = maps
        size = map4.shape[-1]
        # Positions need float32; see `warp`.
        with torch.autocast(latent_NZ.device.type, enabled=False):
            flow4, splat = self.flow(
                source_NK3.float(), target_NK3.float(), affine_N23.float(), head_N3.float(), size
            )
        # With the head at rest, the network may not move pixels that no landmark reaches.
        still_N111 = _stillness(affine_N23.float())
        rest4 = _at_rest(still_N111, splat[:, :1])
        splat = torch.cat([splat[:, 1:], F.avg_pool2d(openings_NOhh.float(), 2)], dim=1)
        body4 = self._body(latent_NZ, map4, map8, map16, flow4, splat)
        head4 = self.to_flow4(_act(body4)).float()
        # Refine the landmark flow at S/4, and below at S/2, except at rest.
        flow4 = flow4 + head4[:, :2] * 0.25 * (1 - rest4)
        keep4 = torch.sigmoid(head4[:, 2:])
        x4 = self.merge4(torch.cat([_act(body4), warp(map4, flow4) * keep4], dim=1))
        flow2 = _double(flow4)
        beside2 = [warp(map2, flow2), openings_NOhh.to(map2.dtype)]
        x2 = self.merge2(torch.cat([_double(self.up2(_act(x4))), *beside2], dim=1))
        x2 = _act(self.block2(x2))
        rest2 = _double(rest4)
        flow2 = flow2 + self.to_flow2(x2).float() * 0.05 * (1 - rest2)
        picture = self.to_picture(x2).float()
        # The portrait's openings, warped to the target: what opens beyond them is inpainted.
        own_N2hh = warp(openings_NOhh[:, 2:4].float(), flow2)
        known = _FIRM * rest2 - self.unseen * _newly_open(openings_NOhh, own_N2hh)
        # Keep the portrait's own teeth where both mouths are open.
        if teeth_N1 is not None:
            known = known + _OWN_TEETH * teeth_N1[:, :, None, None] * torch.minimum(
                openings_NOhh[:, :1], own_N2hh[:, :1]
            )
        logits = picture[:, 12:]
        # Inference chooses between warped and inpainted instead of mixing; see `_DECIDED`.
        if not self.training:
            skin = 1 - openings_NOhh[:, :4].float().amax(dim=1, keepdim=True)
            logits, known = _DECIDED * logits, _DECIDED * known + _WARPED_FIRST * skin * (1 - still_N111)
        inpaint = torch.tanh(F.pixel_shuffle(picture[:, :12], 2))
        # The logits' four channels are 2x2 pixels of the mask, so `known` takes that layout.
        logit = F.pixel_shuffle(logits + _phases(known, self._phase_kernels), 2)
        return {"inpaint": inpaint, "visibility": torch.sigmoid(logit), "flow": flow2}

    def _body(
        self, latent_NZ: Tensor, map4: Tensor, map8: Tensor, map16: Tensor, flow4: Tensor, splat: Tensor
    ) -> Tensor:
        x4 = self.enter(torch.cat([warp(map4, flow4), splat.to(map4.dtype)], dim=1))
        flow8, flow16 = F.avg_pool2d(flow4, 2), F.avg_pool2d(flow4, 4)
        x8 = self.block8(self.down8(_act(x4)) + warp(map8, flow8), latent_NZ)
        x16 = self.down16(_act(x8)) + warp(map16, flow16)
        for block in self.blocks16:
            x16 = block(x16, latent_NZ)
        x8 = self.block8_up(x8 + _double(self.up8(_act(x16))), latent_NZ)
        return self.block4(x4 + _double(self.up4(_act(x8))), latent_NZ)


class Compact(nn.Module):
    """Encoder, motion codes and generator of the preset."""

    def __init__(self, config: CompactConfig | None = None) -> None:
        super().__init__()
        self.config = config or CompactConfig()
        self.encoder = SourceEncoder(self.config)
        self.codes = MotionCodes(self.config)
        self.generator = Generator(self.config)

    def forward(
        self, image_N3SS: Tensor, *, expression: Tensor, pose: Tensor, **conditioning: Tensor
    ) -> dict[str, Tensor]:
        """Encode, edit and generate.

        See `Generator.forward` for the result, `engine.models.compact.spec` for names.
        """
        latent, maps = self.encoder(image_N3SS)
        latent = self.codes(latent, expression, pose)
        out: dict[str, Tensor] = self.generator(latent, image_N3SS, maps, **conditioning)
        return out


def _zero(layer: nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 128), nn.LeakyReLU(SLOPE), nn.Linear(128, outputs))


def _phases(x_N1hw: Tensor, kernels_4133: Tensor) -> Tensor:
    """Enlarge as `_double` does, with each 2x2 pixels as four channels ``[N, 4, h, w]``.

    That is the layout of sub-pixel convolution (Shi et al., CVPR 2016). OpenVINO takes 0.9 ms to
    enlarge a single map, and almost no time for this.
    """
    return F.conv2d(F.pad(x_N1hw, (1, 1, 1, 1), mode="replicate"), kernels_4133)


def _phase_kernels() -> Tensor:
    """Return the bilinear weights of the four phases, ``[4, 1, 3, 3]``."""
    before = torch.tensor([0.25, 0.75, 0.0])
    sides = (before, before.flip(0))
    return torch.stack([torch.outer(y, x) for y in sides for x in sides])[:, None]


def _stillness(affine_N23: Tensor) -> Tensor:
    """Return how still the head's pose is, ``[N, 1, 1, 1]`` in 0..1."""
    moved = (affine_N23 - torch.eye(2, 3, device=affine_N23.device)) / _NOISE
    return torch.exp(-(moved**2).sum(dim=(1, 2)))[:, None, None, None]


def _at_rest(still_N111: Tensor, reach_N1hw: Tensor) -> Tensor:
    """Return where nothing moves, ``[N, 1, h, w]`` in 0..1.

    There the head keeps its pose and no landmark reaches.
    """
    return still_N111 * (1 - _REACHED * reach_N1hw).clamp(min=0)


def _newly_open(openings_NOhh: Tensor, own_N2hh: Tensor) -> Tensor:
    """Return where the target is open and the warped portrait is not, ``[N, 1, h, h]`` in 0..1."""
    return (openings_NOhh[:, :2].float() - own_N2hh).clamp(min=0).amax(dim=1, keepdim=True)
