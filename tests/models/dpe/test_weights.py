"""Import of the published format: what is written, and every file that is refused."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of
from mimicam.engine.models.dpe import untrusted_pickle
from mimicam.engine.models.dpe import weights as checkpoint
from mimicam.engine.models.dpe.config import DEBUG
from mimicam.engine.models.dpe.network import Dpe
from mimicam.engine.models.dpe.published_names import entries, lia_name
from mimicam.engine.models.dpe.weights import import_published, initialise_from_lia, load_dpe, save_dpe
from tests.models.conftest import State, pseudo_state


@pytest.fixture
def state() -> State:
    return pseudo_state(DEBUG)


@pytest.fixture
def file(tmp_path: Path, state: State) -> Path:
    """Return a training checkpoint in the published format, at the debug size."""
    path = tmp_path / "dpe.pt"
    arguments = argparse.Namespace(size=64, face="exp")
    torch.save({"gen": state, "dis": {}, "g_optim": {"state": {}}, "args": arguments}, path)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "dpe.safetensors"


def refused(path: Path, out: Path) -> str:
    """Return the line of a refused import; nothing may have been written."""
    with pytest.raises(EngineError) as raised:
        import_published(path, out, config=DEBUG)
    assert "\n" not in str(raised.value)
    assert str(path.name) in str(raised.value)
    assert list(out.parent.iterdir()) == []
    return str(raised.value)


def test_an_imported_checkpoint_gives_the_same_pictures(
    file: Path, out: Path, debug: Dpe, debug_pictures: Tensor
) -> None:
    import_published(file, out, config=DEBUG)
    source, driving = debug_pictures[:1], debug_pictures[1:2]
    with torch.inference_mode():
        assert torch.equal(load_dpe(out).edit(source, driving, "both"), debug.edit(source, driving, "both"))


def test_the_json_holds_preset_hashes_and_bare_file_name(file: Path, out: Path) -> None:
    report = import_published(file, out, config=DEBUG)
    beside = json.loads(report.sidecar.read_text())
    assert report.sidecar == out.with_suffix(".json")
    assert beside["preset"] == report.preset == "debug"
    assert beside["source"] == "dpe.pt"
    assert beside["sha256"] == report.sha256 == sha256_of(out)
    assert beside["source_sha256"] == sha256_of(file)
    assert beside["mapping_version"] == 1
    assert sorted(p.name for p in out.parent.iterdir()) == ["dpe.json", "dpe.safetensors"]


def test_half_precision_weights_are_taken(tmp_path: Path, state: State, out: Path) -> None:
    torch.save({"gen": {name: value.half() for name, value in state.items()}}, tmp_path / "half.pt")
    import_published(tmp_path / "half.pt", out, config=DEBUG)
    assert all(value.dtype == torch.float32 for value in load_dpe(out).state_dict().values())


def test_a_missing_file_is_refused(tmp_path: Path, out: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.pt", out)


def test_an_empty_file_is_refused(tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty.pt").touch()
    assert "empty" in refused(tmp_path / "empty.pt", out)


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
def test_a_truncated_file_is_refused(file: Path, out: Path, kept: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    assert "cut off" in refused(file, out)


def test_a_file_with_flipped_bytes_is_refused(file: Path, out: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = b"\xff" * 64
    file.write_bytes(data)
    refused(file, out)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(100), b"hello", pickle.dumps({"gen": {}})])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, out: Path, content: bytes) -> None:
    (tmp_path / "other.pt").write_bytes(content)
    assert "not a PyTorch checkpoint" in refused(tmp_path / "other.pt", out)


def test_a_zip_of_something_else_is_refused(tmp_path: Path, out: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "cannot be read" in refused(tmp_path / "other.pt", out)


class Touch:
    """Runs code when it is unpickled, as an attack would."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable, tuple]:
        return os.mkdir, (str(self.path),)


def test_a_foreign_pickle_is_refused_by_name_and_not_run(tmp_path: Path, state: State, out: Path) -> None:
    torch.save({"gen": state, "args": Touch(tmp_path / "owned")}, tmp_path / "evil.pt")
    assert "mkdir" in refused(tmp_path / "evil.pt", out)
    assert not (tmp_path / "owned").exists()


def test_a_pickled_class_beside_namespace_is_refused(tmp_path: Path, state: State, out: Path) -> None:
    torch.save({"gen": state, "args": argparse.ArgumentParser}, tmp_path / "other.pt")
    assert "ArgumentParser" in refused(tmp_path / "other.pt", out)


def test_a_compressed_bomb_is_refused_before_it_unfolds(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("archive/data.pkl", "archive/data/0"):
            archive.writestr(name, bytes(20_000_000))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the bomb was opened"))
    assert "declares 40 MB" in refused(path, out)


def test_a_checkpoint_beyond_the_limit_is_refused(
    file: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrusted_pickle, "LIMIT_BYTES", 1000)
    assert "declares" in refused(file, out)


@pytest.mark.parametrize(
    "content", [{"model": {}}, {"gen": {}}, {"gen": [1, 2]}, {"gen": {"a": 1}}, [1, 2]], ids=str
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, out: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pt")
    assert "not a DPE checkpoint" in refused(tmp_path / "other.pt", out)


NAME = "dec_exp.convs.3.conv.weight"
KERNEL = "enc.net_app.convs.1.skip.0.kernel"
CHANGES: dict[str, tuple[str, Callable[[Tensor], Tensor], str]] = {
    "shape": (NAME, lambda v: v[:, :, 1:], "has shape [1, 16, 15, 3, 3], expected [1, 16, 16, 3, 3]"),
    "integers": (NAME, lambda v: v.int(), "plain floating-point"),
    "sparse": (NAME, lambda v: v.to_sparse(), "plain floating-point"),
    "not finite": (NAME, lambda v: v / 0, "not finite"),
    "kernel": (KERNEL, lambda v: v * 1.01, "blur kernel"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_first_wrong_entry_is_named(tmp_path: Path, state: State, out: Path, change: str) -> None:
    name, alter, words = CHANGES[change]
    state[name] = alter(state[name])
    state["mlp_pose.0.weight"] = state["mlp_pose.0.weight"][1:]  # a later one must not be the one named
    torch.save({"gen": state}, tmp_path / "dpe.pt")
    message = refused(tmp_path / "dpe.pt", out)
    assert f"'{name}'" in message
    assert words in message


def test_a_missing_and_an_extra_entry_are_named(tmp_path: Path, state: State, out: Path) -> None:
    torch.save({"gen": state | {"dec_third.bias": torch.zeros(1)}}, tmp_path / "extra.pt")
    assert "'dec_third.bias'" in refused(tmp_path / "extra.pt", out)
    del state["mlp.2.bias"]
    torch.save({"gen": state}, tmp_path / "missing.pt")
    assert "'mlp.2.bias' is missing" in refused(tmp_path / "missing.pt", out)


def test_a_checkpoint_of_another_size_is_refused(file: Path, out: Path) -> None:
    with pytest.raises(EngineError, match=r"preset 'published'.*enc.net_app.convs.0.0.weight"):
        import_published(file, out)


def test_an_output_that_cannot_be_written_leaves_nothing_behind(
    file: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        next(out.parent.glob("*.part"), out).touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(EngineError, match="No space left"):
        import_published(file, out, config=DEBUG)
    assert [p for p in out.parent.iterdir() if p.suffix == ".part"] == []
    assert not out.exists() or out.stat().st_size == 0


@pytest.mark.parametrize("name", ["dpe.pt", "none/dpe.safetensors"])
def test_an_impossible_output_is_refused(file: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineError):
        import_published(file, tmp_path / name, config=DEBUG)
    assert file.stat().st_size > 1000


def test_a_damaged_or_foreign_model_is_refused_on_load(out: Path, debug: Dpe) -> None:
    with pytest.raises(EngineError, match="does not exist"):
        load_dpe(out)
    save_dpe(debug, out)
    whole = out.read_bytes()
    out.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EngineError, match="damaged"):
        load_dpe(out)
    checkpoint.save_file({"a": torch.zeros(1)}, out)
    with pytest.raises(EngineError, match="not a DPE model"):
        load_dpe(out)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mapping_version": "0"}, "another version"),
        ({"config": "{}"}, "damaged header"),
        ({"config": json.dumps(DEBUG.as_dict() | {"latent": 1 << 40})}, "damaged header"),
        ({"config": json.dumps(DEBUG.as_dict() | {"latent": 60_000})}, "does not fit"),
    ],
)
def test_a_model_with_another_header_is_refused(out: Path, debug: Dpe, change: dict, words: str) -> None:
    header = {"format": "mimicam-dpe", "mapping_version": "1", "config": json.dumps(DEBUG.as_dict())}
    checkpoint.save_file(debug.state_dict(), out, metadata=header | change)
    with pytest.raises(EngineError, match=words):
        load_dpe(out)


def test_lia_starts_encoder_trunk_and_directions_only(tmp_path: Path, state: State) -> None:
    named = {lia_name(entry.name): state[entry.name] for entry in entries(DEBUG) if lia_name(entry.name)}
    assert {"enc.fc.0.weight", "dec.direction.weight", "enc.net_app.convs.0.0.weight"} <= set(named)
    torch.save({"gen": named | {"dec.conv1.noise.weight": torch.zeros(1)}}, tmp_path / "vox.pt")
    torch.manual_seed(0)
    model = Dpe(DEBUG)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count = initialise_from_lia(model, tmp_path / "vox.pt")
    want = checkpoint.build_published(state, DEBUG).state_dict()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert len(changed) == count
    assert {name.split(".")[0] for name in changed} == {"encoder", "motion"}
    assert all(torch.equal(model.state_dict()[name], want[name]) for name in changed)
    assert not any(name.startswith(("motion.expression", "motion.pose")) for name in changed)


def test_a_file_that_is_not_lias_is_refused(file: Path) -> None:
    with pytest.raises(EngineError, match=r"enc\.fc\.0\.weight"):
        initialise_from_lia(Dpe(DEBUG), file)
