"""Names and shapes of the published checkpoint, in its order, and their targets in ``Dpe``.

The published code swapped the names of its branches: expression transfer runs ``mlp_pose`` and
``dec_pose``, pose transfer runs ``mlp_exp`` and ``dec_exp``. Here they have their true names.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from mimicam.engine.models.dpe.config import DpeConfig

MAPPING_VERSION = 1
"""Written to the file beside a converted checkpoint; raised when names in ``Dpe`` change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tensor of the published state dict."""

    name: str
    shape: tuple[int, ...]
    target: str | None = None
    """Name in ``Dpe``'s state dict, with the same number of values but maybe another shape. None:
    not used."""
    kernel_gain: float | None = None
    """Sum of a blur kernel. Such kernels are fixed by the architecture and only checked."""

    @property
    def count(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)


def entries(config: DpeConfig) -> Iterator[Entry]:
    """Yield every entry of ``gen`` for networks of this size, in the checkpoint's order."""
    yield from _encoder(config)
    yield from _generator("dec_pose", "expression_generator", config)
    yield from _generator("dec_exp", "pose_generator", config)
    yield from _linears("mlp", "motion.trunk", config, 5, config.directions)
    yield Entry(name="dir.weight", shape=(config.latent, config.directions), target="motion.directions")
    yield from _linears("mlp_pose", "motion.expression", config, 3, config.latent)
    yield from _linears("mlp_exp", "motion.pose", config, 3, config.latent)


def lia_name(name: str) -> str | None:
    """Return the name in LIA's ``gen`` of a published entry; None if LIA does not have it.

    LIA's encoder is DPE's, its ``enc.fc`` is ``mlp``, its ``dec.direction`` is ``dir``.
    """
    if name.startswith("enc.net_app."):
        return name
    for ours, theirs in (("mlp.", "enc.fc."), ("dir.", "dec.direction.")):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return None


def _bias(name: str, channels: int, target: str | None) -> Entry:
    return Entry(name=name, shape=(1, channels, 1, 1), target=target)


def _kernel(name: str, gain: float) -> Entry:
    return Entry(name=name, shape=(4, 4), kernel_gain=gain)


def _linears(name: str, target: str, config: DpeConfig, count: int, last: int) -> Iterator[Entry]:
    for k in range(count):
        out = last if k == count - 1 else config.latent
        yield Entry(name=f"{name}.{k}.weight", shape=(out, config.latent), target=f"{target}.{k}.weight")
        yield Entry(name=f"{name}.{k}.bias", shape=(out,), target=f"{target}.{k}.bias")


def _encoder(config: DpeConfig) -> Iterator[Entry]:
    at, widths = "enc.net_app.convs", config.channels[::-1]
    yield Entry(name=f"{at}.0.0.weight", shape=(widths[0], 3, 1, 1), target="encoder.stem.conv.weight")
    yield _bias(f"{at}.0.1.bias", widths[0], "encoder.stem.activation.bias")
    for k, (a, b) in enumerate(itertools.pairwise(widths)):
        yield from _residual_block(f"{at}.{k + 1}", f"encoder.blocks.{k}", a, b)
    yield Entry(
        name=f"{at}.{len(widths)}.weight",
        shape=(config.latent, widths[-1], 4, 4),
        target="encoder.head.weight",
    )


def _residual_block(name: str, to: str, n_in: int, n_out: int) -> Iterator[Entry]:
    yield Entry(name=f"{name}.conv1.0.weight", shape=(n_in, n_in, 3, 3), target=f"{to}.first.conv.weight")
    yield _bias(f"{name}.conv1.1.bias", n_in, f"{to}.first.activation.bias")
    yield _kernel(f"{name}.conv2.0.kernel", 1.0)
    yield Entry(name=f"{name}.conv2.1.weight", shape=(n_out, n_in, 3, 3), target=f"{to}.second.conv.weight")
    yield _bias(f"{name}.conv2.2.bias", n_out, f"{to}.second.activation.bias")
    yield _kernel(f"{name}.skip.0.kernel", 1.0)
    yield Entry(name=f"{name}.skip.1.weight", shape=(n_out, n_in, 1, 1), target=f"{to}.skip.weight")


def _generator(name: str, to: str, config: DpeConfig) -> Iterator[Entry]:
    first, L = config.channels[0], config.latent
    pairs = list(itertools.pairwise(config.channels))
    yield Entry(name=f"{name}.input.input", shape=(1, first, 4, 4), target=f"{to}.constant")
    yield from _styled(f"{name}.conv1", f"{to}.start", first, first, L)
    # Without a target: the published generator never calls this layer.
    yield _bias(f"{name}.to_rgb1.bias", 3, None)
    yield Entry(name=f"{name}.to_rgb1.conv.0.weight", shape=(3, first, 1, 1))
    yield _bias(f"{name}.to_rgb1.conv.1.bias", 3, None)
    for k, (a, b) in enumerate(pairs):
        yield from _styled(f"{name}.convs.{2 * k}", f"{to}.levels.{k}.up", a, b, L, up=True)
        yield from _styled(f"{name}.convs.{2 * k + 1}", f"{to}.levels.{k}.refine", b, b, L)
    for k, (_, b) in enumerate(pairs):
        yield from _picture(f"{name}.to_rgbs.{k}", f"{to}.levels.{k}.picture", b)
    for k, (_, b) in enumerate(pairs):
        yield from _flow(f"{name}.to_flows.{k}", f"{to}.levels.{k}.flow", b, L)


def _styled(name: str, to: str, n_in: int, n_out: int, latent: int, *, up: bool = False) -> Iterator[Entry]:
    yield Entry(name=f"{name}.conv.weight", shape=(1, n_out, n_in, 3, 3), target=f"{to}.conv.weight")
    if up:
        yield _kernel(f"{name}.conv.blur.kernel", 4.0)
    yield from _modulation(name, to, n_in, latent)
    # Without a target: the published code calls these layers without noise.
    yield Entry(name=f"{name}.noise.weight", shape=(1,))
    yield _bias(f"{name}.activate.bias", n_out, f"{to}.activation.bias")


def _modulation(name: str, to: str, n_in: int, latent: int) -> Iterator[Entry]:
    at = "conv.modulation"
    yield Entry(name=f"{name}.{at}.weight", shape=(n_in, latent), target=f"{to}.{at}.weight")
    yield Entry(name=f"{name}.{at}.bias", shape=(n_in,), target=f"{to}.{at}.bias")


def _picture(name: str, to: str, n_in: int) -> Iterator[Entry]:
    yield _bias(f"{name}.bias", 3, f"{to}.bias")
    yield _kernel(f"{name}.upsample.kernel", 4.0)
    yield Entry(name=f"{name}.conv.0.weight", shape=(3, n_in, 1, 1), target=f"{to}.conv.conv.weight")
    yield _bias(f"{name}.conv.1.bias", 3, f"{to}.conv.activation.bias")


def _flow(name: str, to: str, n_in: int, latent: int) -> Iterator[Entry]:
    yield _bias(f"{name}.bias", 3, f"{to}.bias")
    yield _kernel(f"{name}.upsample.kernel", 4.0)
    yield Entry(name=f"{name}.conv.weight", shape=(1, 3, n_in, 1, 1), target=f"{to}.conv.weight")
    yield from _modulation(name, to, n_in, latent)
