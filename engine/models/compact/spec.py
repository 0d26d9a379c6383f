"""Inputs and outputs of the compact networks. Importing this needs no PyTorch.

Shapes have a batch of one. K control points, S side of the picture; maps at S/2, S/4, S/8, S/16.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from mimicam.engine.checked_files import integer
from mimicam.engine.network_spec import NetworkSpec, TensorSpec, named

_FIXED = ("points", "expression", "pose", "openings")
"""Sizes of what `engine.models.compact.conditioning` computes."""


@dataclass(frozen=True, kw_only=True)
class CompactConfig:
    """Widths of the networks. The defaults are those of the bundled weights."""

    size: int = 256
    """Side of the picture, pixels; the network is convolutional and takes any multiple of 16."""
    points: int = 176
    """Control points."""
    expression: int = 52
    pose: int = 12
    latent: int = 192
    widths: tuple[int, int, int, int] = (32, 64, 128, 192)
    """Channels at S/2, S/4, S/8, S/16."""
    embed: int = 10
    """Learned values per control point, splatted onto the target."""
    openings: int = 6
    """Maps of openings: lips and lids of target and portrait, then the target's upper and lower
    teeth."""

    def __post_init__(self) -> None:
        integer(self.size, 16, 1024)
        for field in fields(self):
            if field.name in _FIXED and getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name} must be {field.default}")
        if self.size % 16 or len(self.widths) != 4:
            raise ValueError("size must be a multiple of 16, and widths four numbers")
        for width in (self.latent, self.embed, *self.widths):
            integer(width, 1, 1024)

    def to_json(self) -> dict[str, object]:
        """Return the fields as plain values."""
        return asdict(self)


def encoder_spec(config: CompactConfig) -> NetworkSpec:
    """Return the spec of the portrait encoder: a picture in -1..1 to latent and feature maps."""
    maps = {
        f"map{2**level}": (1, width, config.size >> level, config.size >> level)
        for level, width in enumerate(config.widths, start=1)
    }
    return NetworkSpec(
        name="encoder",
        inputs=named({"image": (1, 3, config.size, config.size)}),
        outputs=named({"latent": (1, config.latent), **maps}),
    )


def generator_spec(config: CompactConfig) -> NetworkSpec:
    """Return the spec of the generator: features and one frame's conditioning to warp fields.

    Inputs:
        source_points, target_points: control points, crop space.
        affine: source_from_target, of the rigid head.
        head: centre x, y and scale of the target's head.
        expression, pose: the portrait's own values, then the target's.
        opening_masks: see `CompactConfig.openings`.
        source_shows_teeth: which teeth are shown where both mouths are open, from 1, the portrait's
            own, to -1, the painted ones.

    Outputs:
        inpaint: inpainted picture, -1..1.
        visibility: opacity of the warped portrait over it, 0..1 (an occlusion mask).
        flow: source position minus target position, crop units.
    """
    c, half = config, config.size // 2
    conditioning = {
        "source_points": (1, c.points, 3),
        "target_points": (1, c.points, 3),
        "affine": (1, 2, 3),
        "head": (1, 3),
        "expression": (1, 2, c.expression),
        "pose": (1, 2, c.pose),
        "opening_masks": (1, c.openings, half, half),
        "source_shows_teeth": (1, 1),
    }
    return NetworkSpec(
        name="generator",
        inputs=encoder_spec(config).outputs + named(conditioning),
        outputs=named(
            {
                "inpaint": (1, 3, c.size, c.size),
                "visibility": (1, 1, c.size, c.size),
                "flow": (1, 2, half, half),
            }
        ),
    )


def pixel_generator_spec(config: CompactConfig) -> NetworkSpec:
    """Return the spec of the generator with outputs laid out as in `engine.types.WarpFields`."""
    side, half = config.size, config.size // 2
    return NetworkSpec(
        name="generator",
        inputs=generator_spec(config).inputs,
        outputs=(
            TensorSpec(name="inpaint", shape=(1, side, side, 3), dtype="uint8"),
            TensorSpec(name="visibility", shape=(1, 1, side, side)),
            TensorSpec(name="flow", shape=(1, half, half, 2)),
        ),
    )


FEATURES = encoder_spec(CompactConfig()).output_names
"""Outputs of the encoder, cached per portrait."""
CONDITIONING = tuple(name for name in generator_spec(CompactConfig()).input_names if name not in FEATURES)
"""Inputs of the generator that change from frame to frame."""
