"""Flow from the tracker's landmarks, and warping of pictures and maps along a flow.

Shape letters: N batch, P pixels, K control points, D features, h w map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LandmarkFlow(nn.Module):
    """Turns landmark motion into a dense backward flow and features of each pixel.

    Each target pixel moves as the control points around it do (softmax over learned Gaussians).
    Hair and neck have no landmarks: they follow the head's affine motion, which fades to rest away
    from the head.
    """

    def __init__(self, points: int, embed: int) -> None:
        """Create the parameters of ``points`` control points.

        ``embed``: learned values per point, splatted onto the target.
        """
        super().__init__()
        self.log_sharpness = nn.Parameter(torch.full((points,), 5.5))
        self.bias = nn.Parameter(torch.zeros(points))
        self.rest = nn.Parameter(torch.tensor(-6.0))
        self.head_radius = nn.Parameter(torch.tensor(2.2))
        self.head_softness = nn.Parameter(torch.tensor(3.0))
        self.embedding = nn.Parameter(0.5 * torch.randn(points, embed))

    def forward(
        self, source_NK3: Tensor, target_NK3: Tensor, affine_N23: Tensor, head_N3: Tensor, size: int
    ) -> tuple[Tensor, Tensor]:
        """Return flow ``[N, 2, size, size]`` and features ``[N, D, size, size]``.

        The flow is in crop units, source minus target. The first feature is the share of each
        pixel's motion that the control points decide (0..1).

        Args:
            source_NK3, target_NK3: control points in crop space.
            affine_N23: source_from_target, the best affine map of the points.
            head_N3: target head centre x, y and scale, crop units.
        """
        grid_P2 = pixel_grid(size, source_NK3)
        # Products select the columns: OpenVINO rounds slices to bf16, which moves positions by a
        # quarter of a pixel.
        plane_32, depth_31 = _columns(source_NK3)
        target_NK2, turn_N22, shift_N12 = (
            target_NK3 @ plane_32,
            affine_N23 @ plane_32,
            (affine_N23 @ depth_31).transpose(-1, -2),
        )
        # Only the points' displacement beyond the head's affine motion is splatted.
        local_NK2 = source_NK3 @ plane_32 - (target_NK2 @ turn_N22.transpose(-1, -2) + shift_N12)
        depth_NK1 = (target_NK3 - source_NK3) @ depth_31
        embedding_NKE = self.embedding.expand(source_NK3.shape[0], -1, -1)
        one_NK1 = torch.ones_like(depth_NK1)
        values_NKD = torch.cat([local_NK2, one_NK1, depth_NK1, target_NK3 @ depth_31, embedding_NKE], dim=-1)
        weight_NPK = self._weights(grid_P2, target_NK2)
        splat_NPD = weight_NPK @ values_NKD / (weight_NPK.sum(-1, keepdim=True) + self._rest_weight())
        rigid_NP2 = grid_P2 @ turn_N22.transpose(-1, -2) + shift_N12 - grid_P2
        centre_N12, scale_N11 = (head_N3[:, None] @ part for part in (plane_32, depth_31))
        # The affine motion fades out with the distance from the head's centre, in head sizes.
        distance_NP1 = (grid_P2[None] - centre_N12).norm(dim=-1, keepdim=True) / scale_N11
        head_NP1 = torch.sigmoid(self.head_softness * (self.head_radius - distance_NP1))
        flow_NP2 = rigid_NP2 * head_NP1 + splat_NPD[..., :2]
        flow = flow_NP2.transpose(-1, -2).reshape(-1, 2, size, size)
        features_NPD = torch.cat([splat_NPD[..., 2:], head_NP1, flow_NP2], dim=-1)
        features = features_NPD.transpose(-1, -2).reshape(-1, features_NPD.shape[-1], size, size)
        return flow, features

    def _weights(self, grid_P2: Tensor, target_NK2: Tensor) -> Tensor:
        """Return ``exp(bias - sharp |g - p|^2)``, ``[N, P, K]``, divided so that all stay below 1.

        The exponent is linear in ``(g, |g|^2, 1)``, so one matrix product covers all pixels and
        points. It is bounded, so a softmax's search for the maximum is not needed. OpenVINO would
        also run a softmax between two products as attention in bf16, where the product's large
        terms do not cancel.
        """
        sharp_NK1 = self.log_sharpness.exp()[:, None].expand(target_NK2.shape[0], -1, -1)
        square_NK1 = (target_NK2**2).sum(-1, keepdim=True)
        constant_NK1 = (self.bias - self.bias.amax())[:, None] - sharp_NK1 * square_NK1
        points_NK4 = torch.cat([2 * sharp_NK1 * target_NK2, -sharp_NK1, constant_NK1], dim=-1)
        pixels_P4 = torch.cat(
            [grid_P2, (grid_P2**2).sum(-1, keepdim=True), torch.ones_like(grid_P2[:, :1])], dim=-1
        )
        return (pixels_P4 @ points_NK4.transpose(-1, -2)).exp()

    def _rest_weight(self) -> Tensor:
        return (self.rest - self.bias.amax()).exp()


def pixel_grid(size: int, like: Tensor) -> Tensor:
    """Return pixel centres of a square map in crop space, ``[size * size, 2]``, row by row."""
    axis = (torch.arange(size, device=like.device, dtype=torch.float32) + 0.5) * (2.0 / size) - 1.0
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1)


def warp(map_NCHW: Tensor, flow_N2hw: Tensor) -> Tensor:
    """Sample the map at each pixel's position plus its flow (crop units); edges repeat.

    Always in fp32: a bf16 grid is off by whole pixels (measured: errors up to 0.3 of the range).
    """
    with torch.autocast(map_NCHW.device.type, enabled=False):
        size = flow_N2hw.shape[-1]
        grid = pixel_grid(size, flow_N2hw).view(1, size, size, 2) + flow_N2hw.float().permute(0, 2, 3, 1)
        out = F.grid_sample(
            map_NCHW.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
    return out.to(map_NCHW.dtype)


def _columns(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrices that select columns (x, y) and column z, ``[3, 2]`` and ``[3, 1]``."""
    unit = torch.eye(3, device=like.device, dtype=like.dtype)
    return unit[:, :2], unit[:, 2:]
