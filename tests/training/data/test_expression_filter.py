"""Made-up people whose expression and identity are known: the maps tell them apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import face_geometry
from mimicam.training.data.expression_filter import displacements, explained_share, fit_maps, read_pack
from mimicam.training.data.statistics import Statistics

LIP = [14]
SPOKEN = 14
"""The landmark that moves with a blendshape and by itself; its neighbour differs between people."""


def _people(count: int, frames: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A lip that half follows a blendshape and half moves by itself, with the chin; long lips go with wide cheeks."""
    rng, mean = np.random.default_rng(seed), face_geometry().mean
    total = count * frames
    landmarks = np.repeat(mean[None], total, axis=0).astype(np.float32)
    blendshapes = np.zeros((total, 52), np.float32)
    blendshapes[:, 1] = rng.uniform(0, 1, total)
    hidden = rng.normal(0, 0.05, total)
    width = np.repeat(rng.normal(0, 0.1, count), frames)
    landmarks[:, 14, 1] += 0.1 * blendshapes[:, 1] + hidden + width
    landmarks[:, 17, 1] += hidden
    landmarks[:, 205, 0] += width
    yaw = rng.uniform(-0.3, 0.3, total)
    cos, sin, zero, one = np.cos(yaw), np.sin(yaw), np.zeros(total), np.ones(total)
    turn = np.stack([cos, zero, -sin, zero, one, zero, sin, zero, cos], axis=1).reshape(-1, 3, 3)
    landmarks = (0.4 * landmarks @ turn.transpose(0, 2, 1)).astype(np.float32)
    segment = np.repeat(np.arange(count, dtype=np.int32), frames)
    return {"landmarks": landmarks, "blendshapes": blendshapes, "segment": segment}, segment


def test_new_people_are_read_and_their_identity_left_out() -> None:
    geometry = face_geometry()
    (track, people), (others, names) = _people(12, 40, 0), _people(6, 40, 1)
    training = read_pack(track, people, geometry.mean, geometry.mirror)
    weights = np.zeros((52, 478, 3), np.float32)
    weights[1, 14, 1] = 0.1
    maps = fit_maps(training, weights, None, 0.0)
    new = read_pack(others, names, geometry.mean, geometry.mirror)
    bias = np.zeros((9, 478 * 3))
    by_blendshapes = new.expression @ weights.reshape(52, -1)
    read = displacements(new, maps)
    assert explained_share(new, by_blendshapes, bias, LIP) < 0.5
    assert explained_share(new, read, bias, LIP) > 0.95
    # Between people: the lips of two who do the same differ by their faces, and that is not read.
    plain = slice(0, len(names))
    lip = read[plain, 14 * 3 + 1] - by_blendshapes[plain, 14 * 3 + 1]
    shape = new.shape[plain, 14 * 3 + 1] - by_blendshapes[plain, 14 * 3 + 1]
    means, wholes = (np.array([v[names == n].mean() for n in range(6)]).std() for v in (lip, shape))
    assert means < 0.4 * wholes


def test_statistics_are_written_and_report_what_they_explain(tmp_path: Path) -> None:
    track, _ = _people(6, 30, 3)
    np.savez(tmp_path / "track.npz", **track)
    rows = [{"file": f"{p}", "identity": f"p{p}", "validation": p == 0} for p in range(6)]
    (tmp_path / "segments.json").write_text(json.dumps(rows))
    out = tmp_path / "faces.npz"
    shares = Statistics(pack=tmp_path, out=out).run()
    assert shares["with landmarks"]["lips"] > shares["blendshapes alone"]["lips"]
    with np.load(out) as written:
        assert written["reading_displacement"].shape == (52 + len(written["reading_modes"]), 1434)
        assert written["mean"].shape == (478, 3)


def test_a_folder_that_is_no_pack_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="mimicam data pack") as refused:
        Statistics(pack=tmp_path, out=tmp_path / "faces.npz").run()
    assert "\n" not in str(refused.value)
