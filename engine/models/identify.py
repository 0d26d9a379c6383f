"""Which kind of model a name or a path means. Reads headers only, and needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from safetensors import SafetensorError, safe_open

from engine.backends import manifest as manifests
from engine.errors import EngineError
from engine.models.compact.bundle_facts import COMPACT_DIR
from engine.models.daegan.model import NETWORKS as DAEGAN_NETWORKS
from engine.models.dpe.model import NETWORKS

_COMPACT_NETWORKS = {"encoder", "generator"}
_DPE_FORMAT, _DAEGAN_FORMAT = "mimicam-dpe", "mimicam-daegan"
"""The header entry ``format``: ``engine.models.dpe.weights.FORMAT`` and ``engine.models.daegan.weights.FORMAT``."""


class Kind(Enum):
    """What a path holds."""

    COMPACT = "compact bundle"
    COMPACT_EXPORT = "exported compact model"
    DPE = "DPE weights"
    DPE_EXPORT = "exported DPE"
    DAEGAN = "DAE-GAN weights"
    DAEGAN_EXPORT = "exported DAE-GAN"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model on disk."""

    kind: Kind
    path: Path

    @property
    def is_daegan(self) -> bool:
        """DAE-GAN's weights, or an export of them."""
        return self.kind in (Kind.DAEGAN, Kind.DAEGAN_EXPORT)


def find_model(name_or_path: str) -> ModelFile:
    """What ``--model`` means.

    Raises:
        EngineError: nothing is there, or it is no model that can run.
    """
    if name_or_path == "published" and not Path(name_or_path).exists():
        raise EngineError(
            "the published weights are not bundled: run 'mimicam models import dpe.pt -o dpe.safetensors',"
            " then give --model dpe.safetensors"
        )
    path = COMPACT_DIR if name_or_path == "compact" else Path(name_or_path)
    if name_or_path == "compact" or (path / "model.json").is_file():
        return ModelFile(kind=Kind.COMPACT, path=path)
    if path.is_dir():
        return ModelFile(kind=_kind_of_export(path), path=path)
    if not path.is_file():
        raise EngineError(f"no model '{name_or_path}': it is neither 'compact' nor a path that exists")
    if path.suffix != ".safetensors":
        raise EngineError(
            f"{path} cannot be run as it is: 'mimicam models import {path} -o NAME.safetensors' converts a"
            " published DPE checkpoint, 'mimicam bundle' a compact one"
        )
    return ModelFile(kind=_kind_of_weights(path), path=path)


def _kind_of_export(folder: Path) -> Kind:
    if not (folder / manifests.FILE).is_file():
        raise EngineError(f"{folder} holds no model: give a folder of 'mimicam bundle' or 'mimicam export'")
    names = {network.name for network in manifests.read_manifest(folder).networks}
    if names == set(NETWORKS):
        return Kind.DPE_EXPORT
    if names == set(DAEGAN_NETWORKS):
        return Kind.DAEGAN_EXPORT
    if names == _COMPACT_NETWORKS:
        return Kind.COMPACT_EXPORT
    raise EngineError(f"{folder} holds no model that this version knows: export it again")


def _kind_of_weights(path: Path) -> Kind:
    try:
        with safe_open(path, framework="np") as file:
            found = (file.metadata() or {}).get("format")
    except (SafetensorError, OSError) as error:
        raise EngineError(f"{path} is no safetensors file or is damaged ({error}): import it again") from None
    if found == _DAEGAN_FORMAT:
        return Kind.DAEGAN
    if found == _DPE_FORMAT:
        return Kind.DPE
    raise EngineError(
        f"{path} is no DPE or DAE-GAN model of mimicam: make one with 'mimicam models import' or 'mimicam train-daegan'"
    )
