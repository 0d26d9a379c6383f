"""What is copied to a remote machine arrives as it was, as far as the bytes allow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mimicam.engine.errors import EngineError
from mimicam.training.compact.recipe import CompactRecipe
from mimicam.training.compact.weights import load_average, save_half
from scripts.remote_training.pack import PackOptions, main, write_folder
from scripts.remote_training.portable import choose_frames, read_packs, write_packs
from tests.training.packs import write_pack


def _write(folder: Path, packs: list[Path], limit: int = 1 << 22) -> list[str]:
    folder.mkdir()
    said: list[str] = []
    write_packs(packs, folder, limit_bytes=limit, quality=90, size_px=64, say=said.append)
    return said


def test_pictures_and_readings_arrive_as_they_were(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "clips", people=3, frames=10)
    _write(tmp_path / "small", [pack])
    (got,) = read_packs(tmp_path / "small")
    with np.load(pack / "track.npz") as track:
        training = track["segment"] != 0
        rows = got.rows(validation=False)
        assert len(rows) == training.sum(), "there was room for all of the training people"
        np.testing.assert_allclose(got.landmarks[rows], track["landmarks"][training], atol=0.6 / 4096)
        np.testing.assert_allclose(got.blendshapes[rows], track["blendshapes"][training], atol=5e-4)
        assert got.segment[rows].tolist() == track["segment"][training].tolist()
    error = np.abs(got.frames[rows].astype(float) - np.load(pack / "frames.npy")[training])
    assert error.mean() < 8, "WebP at 90 on small noise"


def test_people_kept_out_of_training_stay_apart(tmp_path: Path) -> None:
    _write(tmp_path / "small", [write_pack(tmp_path / "clips", people=4, frames=30, validation=(1, 3))])
    (got,) = read_packs(tmp_path / "small")
    assert set(got.segment[got.rows(validation=True)]) == {1, 3}
    assert set(got.segment[got.rows(validation=False)]) == {0, 2}


def test_packs_are_thinned_out_evenly_to_the_limit(tmp_path: Path) -> None:
    main = write_pack(tmp_path / "clips", people=3, frames=60)
    other = write_pack(tmp_path / "heads", people=40, frames=4, validation=())
    limit = 300_000
    said = _write(tmp_path / "small", [main, other], limit)
    total = sum(p.stat().st_size for p in (tmp_path / "small").iterdir())
    assert total < 1.15 * limit, "the table's share is an estimate"
    clips, heads = read_packs(tmp_path / "small")
    assert len(said) == 2
    assert 2 < len(clips.frames) < 180
    counts = np.bincount(heads.segment)
    assert set(counts) <= {0, 4}, "a rendered head travels whole or not at all"
    assert (counts == 4).sum() >= 3


def test_every_long_segment_keeps_a_pair() -> None:
    segment = np.repeat([0, 1], [100, 20])
    rows = choose_frames(segment, np.arange(120), 6)
    assert np.bincount(segment[rows]).min() >= 2
    assert rows[0] == 0
    assert rows.tolist() == sorted(rows.tolist())


def test_the_command_takes_weights_that_a_recipe_starts_from(tmp_path: Path) -> None:
    recipe = CompactRecipe()
    run = tmp_path / "checkpoint.pt"
    torch.save({"recipe": "compact", "modules": {"average": recipe.average.state_dict()}}, run)
    pack = write_pack(tmp_path / "clips")
    out = tmp_path / "small"
    assert main(["--packs", str(pack), "--out", str(out), "--weights", str(run), "--size", "64"]) == 0
    assert (out / "weights.pt").stat().st_size < 16 * 2**20, (
        "one file of the session's must stay under 16 MiB"
    )
    other = CompactRecipe()
    other.start_from(load_average(out / "weights.pt"))
    for name, value in recipe.average.state_dict().items():
        assert torch.allclose(other.model.state_dict()[name], value, atol=1e-3, rtol=1e-3), name


def test_wrong_files_are_refused_with_their_remedy(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"scripts\.remote_training\.pack"):
        read_packs(tmp_path)
    with pytest.raises(EngineError, match="not a pack"):
        write_folder(PackOptions(packs=(tmp_path,), out=tmp_path / "out"))
    with pytest.raises(EngineError, match="does not exist"):
        load_average(tmp_path / "none.pt")
    (tmp_path / "bad.pt").write_bytes(b"bad")
    with pytest.raises(EngineError, match="not a checkpoint"):
        load_average(tmp_path / "bad.pt")
    save_half({"encoder.stem.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(EngineError, match="do not fit"):
        CompactRecipe().start_from(load_average(tmp_path / "other.pt"))
    pack = write_pack(tmp_path / "clips")
    _write(tmp_path / "small", [pack])
    (tmp_path / "small" / "clips.tables.xz").write_bytes(b"short")
    with pytest.raises(EngineError, match="copy it again"):
        read_packs(tmp_path / "small")


def test_checkout_and_default_pack_stay_under_64_mib() -> None:
    """What a remote machine takes in: the tracked files came to 29.0 MiB, 2026-11."""
    assert PackOptions(packs=(Path("a"),), out=Path("b")).limit_mib + 29.0 < 64


def test_shares_of_the_bytes_are_followed(tmp_path: Path) -> None:
    packs = [
        write_pack(tmp_path / name, people=3, frames=60, validation=())
        for name in ("clips", "faces", "heads")
    ]
    out = tmp_path / "small"
    out.mkdir()
    write_packs(
        packs, out, limit_bytes=300_000, quality=90, size_px=64, say=lambda _: None, shares=(0.5, 0.2)
    )
    clips, faces, heads = (len(pack.frames) for pack in read_packs(out))
    assert faces > clips > heads


@pytest.mark.parametrize("shares", [(0.5,), (0.6, 0.4), (-0.1, 0.2)])
def test_shares_that_do_not_fit_are_refused(tmp_path: Path, shares: tuple[float, ...]) -> None:
    folders = [tmp_path / name for name in ("clips", "faces", "heads")]
    with pytest.raises(EngineError, match="--shares needs 2 numbers"):
        write_packs(folders, tmp_path, limit_bytes=1, quality=90, size_px=64, say=print, shares=shares)
