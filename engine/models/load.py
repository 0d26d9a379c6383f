"""Open a model by its name or path, on one of the backends.

Adding a family takes one folder and one entry in `FAMILIES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from mimicam.engine.backends import export_folder
from mimicam.engine.backends.registry import backend_names, find_backend
from mimicam.engine.errors import EngineError
from mimicam.engine.files import hash_of_input
from mimicam.engine.models import bundle_file
from mimicam.engine.models.base import Model
from mimicam.engine.models.compact import family as compact
from mimicam.engine.models.daegan import family as daegan
from mimicam.engine.models.dpe import family as dpe
from mimicam.engine.models.family import Family, Form

if TYPE_CHECKING:
    from mimicam.engine.models.dpe.gpu.batch import SharedModel

FAMILIES = (compact.FAMILY, dpe.FAMILY, daegan.FAMILY)
_BY_NAME = {family.name: family for family in FAMILIES}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """Family, form and path of a model on disk."""

    family: Family
    form: Form
    path: Path


def load_model(name_or_path: str = "compact", backend: str = "auto", *, threads: int | None = None) -> Model:
    """Open a model to animate with.

    A family that reads motion from the driver's picture returns an `ImageDrivenModel`.

    Args:
        name_or_path: the name of a bundled model (``compact``, or ``daegan`` if this version has
            it), a folder that ``mimicam models bundle`` or ``mimicam export`` wrote, or a
            ``.safetensors`` of ``mimicam models import`` or ``mimicam train daegan``.
        backend: one of `backend_names()`. ``auto`` lets the family choose: PyTorch for weights
            where it finds a GPU, TensorRT for an exported compact model, else OpenVINO, which every
            supported machine has.
        threads: inference threads of OpenVINO; None lets the backend choose.

    Raises:
        EngineError: unknown model or backend, or the backend is not available here.
    """
    if backend not in backend_names():
        raise EngineError(f"no backend '{backend}': choose one of {', '.join(backend_names())}")
    found = identify(name_or_path)
    chosen = found.family.automatic(found.form) if backend == "auto" else backend
    opener = found.family.openers.get((found.form, chosen))
    # Before any other reason: without a GPU, a hint to export the model would mislead.
    if chosen == "tensorrt" or (opener is not None and find_backend(chosen).needs_gpu):
        _require_gpu()
    if opener is None:
        raise EngineError(found.family.reason(found.form, chosen, name_or_path))
    return opener(found.path, threads)


def open_shared(model: str, backend: str, *, slots: int, wait_s: float) -> SharedModel | None:
    """Open one model for several sessions; None where each session has to open its own.

    Sessions can share a model on a GPU, if its family batches their frames.

    Args:
        model: see `load_model`.
        backend: one of `BACKENDS`.
        slots: sessions at a time.
        wait_s: longest wait for the frames of other sessions, seconds.

    Raises:
        EngineError: a requirement is missing.
    """
    found = identify(model)
    share = found.family.share.get((found.form, backend))
    shared: SharedModel | None = None if share is None else share(found.path, slots=slots, wait_s=wait_s)
    return shared


def identify(name_or_path: str) -> ModelFile:
    """Find the family and form of a ``--model`` value. Reads headers only and needs no PyTorch.

    Raises:
        EngineError: nothing is there, or it is no model that can run.
    """
    if name_or_path == "published" and not Path(name_or_path).exists():
        raise EngineError(
            "the published weights are not bundled: run 'mimicam models import dpe.pt -o dpe.safetensors',"
            " then give --model dpe.safetensors"
        )
    path = model_path(name_or_path)
    if (path / bundle_file.FILE).is_file():
        return ModelFile(family=_family_of_bundle(path), form=Form.BUNDLE, path=path)
    if path.is_dir():
        return ModelFile(family=_family_of_export(path), form=Form.EXPORT, path=path)
    if not path.is_file():
        raise EngineError(
            f"no model '{name_or_path}': give a path that exists, or a bundled model's name"
            f" ({', '.join(bundled_names())})"
        )
    if path.suffix != ".safetensors":
        raise EngineError(
            f"{path} cannot be run as it is: 'mimicam models import {path} -o NAME.safetensors' converts a"
            " published DPE checkpoint, 'mimicam models bundle' one of a compact model or DAE-GAN"
        )
    return ModelFile(family=_family_of_weights(path), form=Form.WEIGHTS, path=path)


def bundled_names() -> tuple[str, ...]:
    """Return the names of the models that this version bundles, the default first."""
    return tuple(name for name, family in _BY_NAME.items() if _is_complete(family.bundled))


def _is_complete(folder: Path | None) -> bool:
    return folder is not None and (folder / bundle_file.FILE).is_file()


def model_path(name_or_path: str) -> Path:
    """Return the file or folder of a ``--model`` value.

    A family's name means the bundled model, even beside a folder of that name.

    Raises:
        EngineError: this version bundles no weights of that family.
    """
    family = _BY_NAME.get(name_or_path)
    if family is None or family.bundled is None:
        return Path(name_or_path)
    if not _is_complete(family.bundled):
        raise EngineError(
            f"this version of mimicam has no weights of '{name_or_path}': give --model the path of your own,"
            f" such as DIR/model.safetensors of 'mimicam train {name_or_path} --out DIR'"
        )
    return family.bundled


def model_hash(name_or_path: str) -> str:
    """Return the SHA-256 of a model's weights, which results carry. Nothing is loaded.

    Raises:
        EngineError: there is no such model.
    """
    path = model_path(name_or_path)
    if path.is_file():
        return hash_of_input(path)
    found = identify(name_or_path)
    if found.form is Form.EXPORT:
        return export_folder.read_manifest(found.path).model_sha256
    return bundle_file.family_and_hash(found.path)[1]


def _family_of_bundle(folder: Path) -> Family:
    name, _ = bundle_file.family_and_hash(folder)
    if name not in _BY_NAME:
        raise EngineError(f"{folder} holds a model of another version of mimicam: make the bundle again")
    return _BY_NAME[name]


def _family_of_export(folder: Path) -> Family:
    if not (folder / export_folder.FILE).is_file():
        raise EngineError(
            f"{folder} holds no model: give a folder of 'mimicam models bundle' or 'mimicam export'"
        )
    names = {network.name for network in export_folder.read_manifest(folder).networks}
    for family in FAMILIES:
        # Equal, not a subset: an export of another version may lack a network.
        if family.networks == names:
            return family
    raise EngineError(f"{folder} holds no model of this version: export it again")


def _family_of_weights(path: Path) -> Family:
    try:
        with safe_open(path, framework="np") as file:
            found = (file.metadata() or {}).get("format")
    except (SafetensorError, OSError) as error:
        raise EngineError(f"{path} is no safetensors file or is damaged ({error}): import it again") from None
    for family in FAMILIES:
        if found is not None and family.weights_format == found:
            return family
    raise EngineError(
        f"{path} is no DPE or DAE-GAN model of mimicam: make one with 'mimicam models import' or 'mimicam train daegan'"
    )


def _require_gpu() -> None:
    """Check for a GPU first: without one, no other requirement of TensorRT matters."""
    from mimicam.engine.backends.cuda.device import CudaGpu

    CudaGpu()
