"""Checkpoints of the DPE networks: reads the published file, writes safetensors and a JSON.

At run time only safetensors is read. ``X.safetensors`` has its preset in its header. ``X.json``
repeats it for people and tools, with the hashes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from mimicam.engine.checked_files import parse_json
from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs, sha256_of, write_atomically
from mimicam.engine.models.dpe.config import PUBLISHED, DpeConfig
from mimicam.engine.models.dpe.network import Dpe
from mimicam.engine.models.dpe.published_names import MAPPING_VERSION, Entry, entries, lia_name
from mimicam.engine.models.dpe.stylegan2 import blur_kernel
from mimicam.engine.models.dpe.untrusted_pickle import generator_state

FORMAT = "mimicam-dpe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """Files and facts of a finished import."""

    out: Path
    """Safetensors file that was written."""
    sidecar: Path
    """JSON beside it."""
    preset: str
    values: int
    """Number of weights written."""
    sha256: str
    """Hash of ``out``."""
    source_sha256: str
    """Hash of the imported file."""


def import_published(path: Path, out: Path, *, config: DpeConfig = PUBLISHED) -> ImportReport:
    """Convert a checkpoint in the published format to ``out`` (safetensors) and a JSON beside it.

    Raises:
        EngineError: the file is missing, damaged, holds foreign pickles, unfolds beyond its size,
            or is no DPE checkpoint of this preset. The message names the first wrong entry. Nothing
            is written.
    """
    _check_out(out)
    state = generator_state(path)
    try:
        model = build_published(state, config)
    except EngineError as error:
        raise EngineError(f"{path} is not a DPE checkpoint of preset '{config.name}': {error}") from None
    return save_dpe(model, out, source=path)


def build_published(state: Mapping[str, Tensor], config: DpeConfig) -> Dpe:
    """Build networks with the weights of a published state dict.

    Raises:
        EngineError: names the first wrong entry.
    """
    expected = list(entries(config))
    for entry in expected:
        _check_entry(entry, state)
    extra = sorted(set(state) - {entry.name for entry in expected})
    if extra:
        raise EngineError(f"entry '{extra[0]}' does not belong there")
    model = Dpe(config)
    own = model.state_dict()
    targets = [(entry, entry.target) for entry in expected if entry.target is not None]
    # Published biases and modulated weights have leading or trailing axes of 1, which ours lack.
    model.load_state_dict({to: state[e.name].float().reshape(own[to].shape) for e, to in targets})
    return model


def save_dpe(model: Dpe, out: Path, *, source: Path | None = None) -> ImportReport:
    """Write networks to ``out`` and the JSON beside it, under temporary names, then rename both.

    Args:
        model: networks to write.
        out: path that ends in ``.safetensors``.
        source: file that they were converted from; its name (not its folder) and hash are recorded.

    Raises:
        EngineError: a file cannot be written. No partial file stays behind.
    """
    _check_out(out)
    sidecar = out.with_suffix(".json")
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    header = {
        "format": FORMAT,
        "mapping_version": str(MAPPING_VERSION),
        "config": json.dumps(model.config.as_dict()),
    }
    refuse_to_overwrite_inputs([out, sidecar], [source] if source else [])
    try:
        # Both or neither: a JSON beside other weights would state a wrong hash.
        with write_atomically(out) as part, write_atomically(sidecar) as sidecar_part:
            save_file(weights, part, metadata=header)
            report = ImportReport(
                out=out,
                sidecar=sidecar,
                preset=model.config.name,
                values=sum(value.numel() for value in weights.values()),
                sha256=sha256_of(part),
                source_sha256=sha256_of(source) if source else "",
            )
            sidecar_part.write_text(_sidecar_text(model.config, report, source))
    except SafetensorError as error:
        raise EngineError(f"{out} cannot be written ({error}): check space and permissions") from None
    return report


def load_dpe(path: Path) -> Dpe:
    """Load networks from a file that ``import_published`` or training wrote, in evaluation mode.

    Raises:
        EngineError: the file is missing, damaged, of another kind or another version.
    """
    if not path.is_file():
        raise EngineError(
            f"{path} does not exist or is no file: give a model written by `mimicam models import`"
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise EngineError(f"{path} is no safetensors file or is damaged ({error}): import it again") from None
    config = _config_of(path, header)
    _check_shapes(path, config, shapes)
    model = Dpe(config)
    model.load_state_dict(load_file(path))
    return model.eval()


def initialise_from_lia(model: Dpe, path: Path) -> int:
    """Start encoder, motion trunk and directions from LIA's ``vox.pt``; return the entries taken.

    The generators and the two heads keep their random start. LIA's weights are for non-commercial
    use.

    Raises:
        EngineError: see ``import_published``.
    """
    state, own, taken = generator_state(path), model.state_dict(), {}
    for entry in entries(model.config):
        theirs = lia_name(entry.name)
        if entry.target is None or theirs is None:
            continue
        try:
            _check_entry(entry, state, name=theirs)
        except EngineError as error:
            raise EngineError(f"{path} is not a LIA checkpoint of this size: {error}") from None
        taken[entry.target] = state[theirs].float().reshape(own[entry.target].shape)
    model.load_state_dict(taken, strict=False)
    return len(taken)


def _check_out(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise EngineError(f"{out} must end in .safetensors: choose another output name")
    if not out.parent.is_dir():
        raise EngineError(f"{out.parent} is not a folder: make it first")


def _check_entry(entry: Entry, state: Mapping[str, Tensor], *, name: str | None = None) -> None:
    name = name or entry.name
    value = state.get(name)
    if value is None:
        raise EngineError(f"entry '{name}' is missing")
    if tuple(value.shape) != entry.shape:
        raise EngineError(f"entry '{name}' has shape {list(value.shape)}, expected {list(entry.shape)}")
    if not value.is_floating_point() or value.layout is not torch.strided or value.is_meta:
        raise EngineError(f"entry '{name}' does not hold plain floating-point values")
    if not torch.isfinite(value).all():
        raise EngineError(f"entry '{name}' holds values that are not finite")
    # Ours are built in. A file with other filters would load, and draw something else.
    if entry.kernel_gain is not None:
        want = blur_kernel(entry.kernel_gain)[0, 0]
        if not torch.allclose(value.float(), want, atol=1e-5):
            raise EngineError(f"entry '{name}' is not the blur kernel [1, 3, 3, 1]")


def _check_shapes(path: Path, config: DpeConfig, shapes: dict[str, tuple[int, ...]]) -> None:
    # On the meta device, so that a header with absurd sizes costs no memory.
    with torch.device("meta"):
        want = {name: tuple(value.shape) for name, value in Dpe(config).state_dict().items()}
    for name in sorted(want.keys() | shapes.keys()):
        if want.get(name) != shapes.get(name):
            raise EngineError(
                f"{path}: weight '{name}' is missing or does not fit its preset: import it again"
            )


def _config_of(path: Path, header: dict[str, str]) -> DpeConfig:
    if header.get("format") != FORMAT:
        raise EngineError(f"{path} is not a DPE model of mimicam: make one with `mimicam models import`")
    if header.get("mapping_version") != str(MAPPING_VERSION):
        raise EngineError(f"{path} was written by another version of mimicam: import the checkpoint again")
    try:
        return DpeConfig.from_dict(parse_json(header["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError(f"{path} has a damaged header ({error}): import the checkpoint again") from None


def _sidecar_text(config: DpeConfig, report: ImportReport, source: Path | None) -> str:
    values = {
        "format": FORMAT,
        "preset": config.name,
        "config": config.as_dict(),
        "mapping_version": MAPPING_VERSION,
        "sha256": report.sha256,
        "source": source.name if source else "",
        "source_sha256": report.source_sha256,
    }
    return json.dumps(values, indent=2) + "\n"
