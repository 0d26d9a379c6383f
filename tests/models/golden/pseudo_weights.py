"""Deterministic pseudo-random DPE weights and input pictures.

The published DPE checkpoint is not available in every test environment. These functions fill its
state dict with reproducible values instead. The published networks' outputs for the same values are
in dpe_golden_A.npz beside this file, so that an implementation can be compared number by number.
"""

import zlib

import numpy as np

_MASK = np.uint64(0xFFFFFFFFFFFFFFFF)


def _uniform(tag: str, n: int) -> np.ndarray:
    """Return n float64 values in [0, 1), a pure function of tag (splitmix64 of a counter)."""
    with np.errstate(over="ignore"):
        seed = np.uint64(zlib.crc32(tag.encode())) << np.uint64(32)
        z = seed + np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) & _MASK
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB) & _MASK
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def fill(name: str, shape: tuple[int, ...], seed: str = "A") -> np.ndarray | None:
    """Return the checkpoint entry `name`, float32, or None to keep the built-in one.

    Weights are uniform with unit variance, as StyleGAN2's equalized learning
    rate expects; biases are small, those of a modulation are near 1. Flow weights
    are small: with large random flows rounding alone changes pictures by 5 %. Blur and
    resampling kernels (entries that end in '.kernel') keep their own value.
    """
    if name.endswith(".kernel"):
        return None
    n = int(np.prod(shape))
    u = (_uniform(f"{seed}:{name}", n) * 2 - 1) * np.sqrt(3.0)
    if name.endswith("modulation.bias"):
        u = 1 + 0.1 * u
    elif name.endswith(("bias", "noise.weight")):
        u = 0.1 * u
    elif ".to_flows." in name and name.endswith("conv.weight"):
        u = 0.05 * u
    return u.reshape(shape).astype(np.float32)


def picture(tag: str, size: int = 256) -> np.ndarray:
    """Return a smooth colour picture, float32 (1, 3, size, size) in [-1, 1], by tag."""
    y, x = np.mgrid[0:size, 0:size] / size
    p = _uniform("picture:" + tag, 3 * 8 * 4).reshape(3, 8, 4)
    out = np.zeros((3, size, size))
    for c in range(3):
        for fx, fy, phase, amp in p[c]:
            out[c] += amp * np.sin(2 * np.pi * (6 * fx * x + 6 * fy * y + phase))
    return np.tanh(out)[None].astype(np.float32)
