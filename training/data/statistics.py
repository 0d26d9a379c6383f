"""``python -m mimicam.training.data.statistics``: compute ``face_geometry.npz``, the face
statistics that the engine ships."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from mimicam.training.data.expression_filter import (
    Maps,
    TrackedFrames,
    displacements,
    explained_share,
    fit_maps,
    read_pack,
    view_bias_of_shapes,
)
from mimicam.training.data.geometry import canonical_shapes, mean_face, mirror_map, regress_shape, symmetrise
from mimicam.training.data.pack_folder import check_pack
from mimicam.training.data.resting import resting_statistics
from mimicam.training.data.typical import typical_expressions

_PARTS = {"lips": [13, 14, 61, 291, 78, 308, 81, 178, 311, 402], "lids": [159, 145, 386, 374], "brows": [105, 334],
          "cheeks": [205, 425], "chin": [152]}  # fmt: skip

_DERIVED = ("rest_", "typical_")
"""Prefixes of what is computed with the maps."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Compute the mean face, and the maps from landmarks and blendshapes to expression, from the
    training people of packs."""

    pack: Path
    """Pack of clips of many people, written by 'mimicam data pack'."""
    synthetic: Path | None = None
    """Pack of rendered heads, written by 'mimicam data pack-rendered'."""
    synthetic_share: float = 10.0
    """Weight of a pair of rendered pictures; that of a person is 100."""
    keep: Path | None = None
    """Keep the mean face and the maps of this file, and compute only the resting face and the
    typical expressions. Trained weights depend on the maps."""
    out: Path
    """The file to write."""

    def run(self) -> dict[str, dict[str, float]]:
        """Write the file; return the explained share of the motion within validation people."""
        track, people, kept_out = _frames(self.pack)
        training = {k: v[~kept_out] for k, v in track.items()}, people[~kept_out]
        if self.keep is not None:
            with np.load(self.keep) as data:
                geometry = {name: data[name] for name in data.files if not name.startswith(_DERIVED)}
        else:
            geometry = self._fit(*training)
        maps = Maps(
            modes=geometry["reading_modes"].astype(np.float32),
            view_bias=geometry["reading_view_bias"],
            displacement=geometry["reading_displacement"].astype(np.float32),
        )
        faces = geometry["mean"], geometry["mirror"]
        known = read_pack(*training, *faces)
        resting = resting_statistics(known, maps)
        typical = typical_expressions(known, maps, resting)
        np.savez_compressed(self.out, **geometry, **resting, **typical)  # type: ignore[arg-type]
        # Of people whom the maps have not seen: within training people any map explains more.
        others = read_pack({k: v[kept_out] for k, v in track.items()}, people[kept_out], *faces)
        bias = view_bias_of_shapes(known)
        blendshapes = others.expression @ geometry["shape_from_expression"].astype(np.float32).reshape(52, -1)
        return {
            "blendshapes alone": _explained(others, blendshapes, bias),
            "with landmarks": _explained(others, displacements(others, maps), bias),
        }

    def _fit(self, track: dict[str, np.ndarray], people: np.ndarray) -> dict[str, np.ndarray]:
        """Fit the mean face and the maps; see `engine.face.geometry` and
        `engine.face.expression_filter`."""
        landmarks = track["landmarks"]
        # 4,000 faces spread over all people are enough for a mean.
        mean = mean_face(landmarks[:: max(1, len(landmarks) // 4000)])
        mirror = mirror_map(mean)
        weights = regress_shape(canonical_shapes(landmarks, mean), track["blendshapes"], track["segment"])
        # Rounded to the type that is stored, so that the maps fit what the engine will load.
        weights = symmetrise(weights, mirror).astype(np.float16).astype(np.float32)
        rendered = None
        if self.synthetic is not None:
            heads, names, _ = _frames(self.synthetic)
            rendered = read_pack(heads, names, mean, mirror)
        maps = fit_maps(read_pack(track, people, mean, mirror), weights, rendered, self.synthetic_share)
        return {
            "mean": mean, "mirror": mirror, "shape_from_expression": weights.astype(np.float16),
            "reading_modes": maps.modes.astype(np.float16),
            "reading_view_bias": maps.view_bias.astype(np.float32),
            "reading_displacement": maps.displacement.astype(np.float16),
        }  # fmt: skip


def _frames(pack: Path) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Read a pack's tables; return them with each frame's person and whether it is kept out of
    training."""
    check_pack(pack)
    segments = json.loads((pack / "segments.json").read_text())
    with np.load(pack / "track.npz") as file:
        track = dict(file)
    names = np.array([s["identity"] for s in segments])[track["segment"]]
    return track, names, np.array([bool(s["validation"]) for s in segments])[track["segment"]]


def _explained(frames: TrackedFrames, predicted: np.ndarray, bias: np.ndarray) -> dict[str, float]:
    shares = {name: explained_share(frames, predicted, bias, landmarks) for name, landmarks in _PARTS.items()}
    return {name: round(share, 3) for name, share in shares.items()}


if __name__ == "__main__":
    for name, shares in tyro.cli(Statistics).run().items():
        print(name, shares)
