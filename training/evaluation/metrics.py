"""Measures of motion and pictures, each with its unit and source."""

from __future__ import annotations

import cv2
import numpy as np

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.types import Float, Image

_NAMES = list(BLENDSHAPE_NAMES)
GROUPS = {
    "jaw": ("jawOpen",),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "blink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "brow": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
}
_MIN_SPREAD = {
    "jaw": 0.02,
    "smile": 0.04,
    "blink": 0.04,
    "brow": 0.04,
    "yaw": 0.02,
    "pitch": 0.02,
    "roll": 0.02,
    "pucker": 0.04,
    "gaze_x": 0.01,
    "gaze_y": 0.01,
    "dlib_lips": 0.02,
    "dlib_lids": 0.02,
}
"""Smallest standard deviation of a driver's curve that is measured; angles in radians, gaze in eye
widths."""
_LIVE_SPREAD = 0.03
"""Smallest standard deviation of a blendshape that counts as live."""
_GAZE = [_NAMES.index(n) for n in _NAMES if n.startswith("eyeLook")]
_EYES = ((33, 133, 468), (362, 263, 473))
"""Corners from left to right in the picture, and the iris."""
_LIPS = ((13, 14), (81, 178), (311, 402))
_LIDS = ((159, 145), (386, 374))
_SHUT = 0.02
"""Distance over that of the eyes' corners below which lips and lids count as shut."""


def expression_groups(blendshapes: Float) -> dict[str, Float]:
    """Reduce blendshapes ``[T, 52]`` to one curve ``[T]`` per group."""
    return {
        name: blendshapes[:, [_NAMES.index(n) for n in members]].mean(axis=1)
        for name, members in GROUPS.items()
    }


def expression_curves(driver: Float, result: Float) -> dict[str, tuple[Float, Float]]:
    """Reduce driver's and result's blendshapes ``[T, 52]`` to a pair of curves ``[T]`` per group,
    pucker included."""
    groups = GROUPS | {"pucker": ("mouthPucker",)}
    return {name: (_mean_of(driver, members), _mean_of(result, members)) for name, members in groups.items()}


def _mean_of(blendshapes: Float, members: tuple[str, ...]) -> Float:
    mean: Float = blendshapes[:, [_NAMES.index(n) for n in members]].mean(axis=1)
    return mean


def gaze_curves(driver: Float, result: Float) -> dict[str, tuple[Float, Float]]:
    """Compute the irises' position between the eyes' corners, x and y, in eye widths, for landmarks
    ``[T, 478, 3]`` of both."""
    theirs, ours = _gaze(driver), _gaze(result)
    return {"gaze_x": (theirs[:, 0], ours[:, 0]), "gaze_y": (theirs[:, 1], ours[:, 1])}


def _gaze(landmarks: Float) -> Float:
    eyes = []
    for left, right, iris in _EYES:
        along = landmarks[:, right, :2] - landmarks[:, left, :2]
        width = np.linalg.norm(along, axis=1, keepdims=True)
        along = along / np.maximum(width, 1e-6)
        down = np.stack([-along[:, 1], along[:, 0]], axis=1)
        # In the eye's own axes, so that a rolled or turned head does not count as a look.
        from_middle = landmarks[:, iris, :2] - (landmarks[:, left, :2] + landmarks[:, right, :2]) / 2
        eyes.append(np.stack([(from_middle * axis).sum(axis=1) for axis in (along, down)], axis=1) / width)
    mean: Float = np.mean(eyes, axis=0)
    return mean


def shut_parts(driver: Float, result: Float) -> dict[str, float]:
    """Return how far lips and lids stay open while the driver's are shut: the mean of a result's
    distance over that of the eyes' outer corners. Parts that the driver never shuts are missing.

    Correlation and gain do not tell: a mouth that never shuts can follow perfectly.

    ``driver``, ``result``: landmarks ``[T, 478, 3]``.
    """
    found = {}
    for name, pairs in (("lips", _LIPS), ("lids", _LIDS)):
        theirs, ours = _opening(driver, pairs), _opening(result, pairs)
        shut = theirs < _SHUT
        if shut.any():
            found[name] = float(ours[shut].mean())
    return found


def _opening(landmarks: Float, pairs: tuple[tuple[int, int], ...]) -> Float:
    """Return the largest distance of pairs of landmarks over that of the eyes' corners, ``[T]``."""
    points = landmarks[..., :2]
    eyes = np.linalg.norm(points[:, 33] - points[:, 263], axis=1)
    apart = [np.linalg.norm(points[:, a] - points[:, b], axis=1) for a, b in pairs]
    opening: Float = np.max(apart, axis=0) / np.maximum(eyes, 1e-6)
    return opening


def follow_all(driver: Float, result: Float) -> tuple[float, float, float]:
    """Correlation and gain of all live blendshapes but gaze, weighted by the driver's spread, and
    the weight.

    ``driver``, ``result``: ``[T, 52]``.
    """
    spread = driver.std(axis=0)
    live = np.flatnonzero(spread > _LIVE_SPREAD)
    live = live[~np.isin(live, _GAZE)]
    if not live.size:
        return 0.0, 0.0, 0.0
    centred, ours = driver - driver.mean(axis=0), result - result.mean(axis=0)
    covariance = (centred * ours).mean(axis=0)[live]
    # By the driver's spread: blendshapes that hardly move would add their noise in full.
    weight = spread[live]
    correlation = covariance / (weight * np.maximum(result.std(axis=0)[live], 1e-6))
    gain = covariance / weight**2
    total = float(weight.sum())
    return float((correlation * weight).sum()) / total, float((gain * weight).sum()) / total, total


def blendshape_distance(result: Float, driver: Float) -> float:
    """Sum of absolute differences of two faces' blendshapes ``[T, 52]``, mean over frames."""
    return float(np.abs(result - driver).sum(axis=1).mean())


def jitter(landmarks: Float) -> float:
    """Mean second difference of landmarks ``[T, 478, 3]`` in x and y, over the eyes' distance."""
    eyes = np.linalg.norm(landmarks[:, 33, :2] - landmarks[:, 263, :2], axis=1).mean()
    return float(np.abs(np.diff(landmarks[..., :2], n=2, axis=0)).mean() / max(float(eyes), 1e-6))


def follow(name: str, driver: Float, result: Float) -> tuple[float, float] | None:
    """Pearson correlation and gain (regression slope of result on driver); None for a driver that
    is still."""
    spread = float(driver.std())
    if spread < _MIN_SPREAD[name]:
        return None
    covariance = float(((driver - driver.mean()) * (result - result.mean())).mean())
    return covariance / (spread * max(float(result.std()), 1e-6)), covariance / spread**2


def cosine(a: Float, b: Float) -> float:
    """Cosine of two vectors. CSIM is the cosine of two faces' embeddings."""
    return float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)


def frechet(a: Float, b: Float) -> float:
    """Frechet distance of the Gaussians of two sets of features ``[N, D]`` (Heusel et al., NeurIPS
    2017, section 3)."""
    means, spreads = [x.mean(axis=0) for x in (a, b)], [np.cov(x.astype(np.float64).T) for x in (a, b)]
    # trace of sqrt(A B): its eigenvalues are those of the symmetric sqrt(A) B sqrt(A)
    values, vectors = np.linalg.eigh(spreads[0])
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    common = np.sqrt(np.linalg.eigvalsh(root @ spreads[1] @ root).clip(0)).sum()
    apart = float(((means[0] - means[1]) ** 2).sum())
    return apart + float(np.trace(spreads[0]) + np.trace(spreads[1]) - 2 * common)


def psnr(image: Image, target: Image) -> float:
    """Peak signal-to-noise ratio, dB."""
    error = float(((image.astype(np.float32) - target.astype(np.float32)) ** 2).mean())
    return 10 * float(np.log10(255**2 / max(error, 1e-6)))


def ssim(image: Image, target: Image) -> float:
    """Structural similarity of luminance, Gaussian window of 1.5 px (Wang et al., TIP 2004)."""
    a, b = (cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).astype(np.float32) for x in (image, target))

    def blur(x: Float) -> Float:
        return cv2.GaussianBlur(x, (11, 11), 1.5)

    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    # Constants of the paper for a range of 255; they keep flat windows defined.
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return float(value.mean())


def sharpness(image: Image, landmarks: Float) -> float:
    """Mean absolute Laplacian of luminance inside the face's box (landmarks in pixels)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    low = np.clip(landmarks[:, :2].min(axis=0), 0, None).astype(int)
    high = landmarks[:, :2].max(axis=0).astype(int)
    # Only the face: a composite keeps the portrait's sharp background.
    face = grey[low[1] : high[1], low[0] : high[0]]
    return float(np.abs(cv2.Laplacian(face, cv2.CV_32F)).mean()) if face.size > 64 else float("nan")


def landmark_error(result: Float, target: Float) -> float:
    """Mean distance of landmarks ``[478, 3]`` in pixels, x and y, over the distance between the
    outer eye corners."""
    eyes = float(np.linalg.norm(target[33, :2] - target[263, :2]))
    return float(np.linalg.norm(result[:, :2] - target[:, :2], axis=1).mean()) / max(eyes, 1e-3)
