"""What goes into the compact preset's networks and what comes out. Importing this needs no PyTorch.

Shapes have a batch of one. K control points, S side of the picture; maps at S/2, S/4, S/8, S/16.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mimicam.engine.network_spec import NetworkSpec, TensorSpec, named


@dataclass(frozen=True, kw_only=True)
class CompactConfig:
    """Widths. The defaults are what the bundled weights have."""

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
    """Maps of what opens: lips and lids, of the target and of the portrait, and the target's upper and lower teeth."""

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def encoder_spec(config: CompactConfig) -> NetworkSpec:
    """The portrait encoder: a picture in -1..1 to its latent and feature maps."""
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
    """The generator: a portrait's features and one frame's conditioning to the layers of a picture.

    ``source_points``, ``target_points``: control points, crop space. ``affine``: source_from_target, of the rigid head.
    ``head``: the target head's centre and scale. ``expression``, ``pose``: the portrait's own values, then the target's.
    ``openings``: see `CompactConfig.openings`. ``own_teeth``: how surely the portrait's open mouth shows teeth, 0..1.
    ``painted``: in -1..1. ``mask``: share of the portrait's own pixels. ``flow``: source less target place, crop units.
    """
    c, half = config, config.size // 2
    conditioning = {
        "source_points": (1, c.points, 3),
        "target_points": (1, c.points, 3),
        "affine": (1, 2, 3),
        "head": (1, 3),
        "expression": (1, 2, c.expression),
        "pose": (1, 2, c.pose),
        "openings": (1, c.openings, half, half),
        "own_teeth": (1, 1),
    }
    return NetworkSpec(
        name="generator",
        inputs=encoder_spec(config).outputs + named(conditioning),
        outputs=named(
            {"painted": (1, 3, c.size, c.size), "mask": (1, 1, c.size, c.size), "flow": (1, 2, half, half)}
        ),
    )


def pixel_generator_spec(config: CompactConfig) -> NetworkSpec:
    """The same generator with its outputs as `engine.types.WarpFields` has them."""
    side, half = config.size, config.size // 2
    return NetworkSpec(
        name="generator",
        inputs=generator_spec(config).inputs,
        outputs=(
            TensorSpec(name="painted", shape=(1, side, side, 3), dtype="uint8"),
            TensorSpec(name="mask", shape=(1, 1, side, side)),
            TensorSpec(name="flow", shape=(1, half, half, 2)),
        ),
    )


FEATURES = encoder_spec(CompactConfig()).output_names
"""What is cached of a portrait."""
CONDITIONING = tuple(name for name in generator_spec(CompactConfig()).input_names if name not in FEATURES)
"""What changes from frame to frame."""
