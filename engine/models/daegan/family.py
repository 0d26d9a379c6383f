"""DAE-GAN family for the loader: openers, default backend and messages."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mimicam.engine.models.base import Model
from mimicam.engine.models.daegan.bundle import DAEGAN_DIR, open_bundle_openvino
from mimicam.engine.models.daegan.model import NETWORKS, DaeGanModel
from mimicam.engine.models.family import (
    EXPORT_FIRST,
    REASONS_OF_WEIGHTS,
    Family,
    Form,
    Opener,
    export_openers,
    torch_if_gpu,
)

if TYPE_CHECKING:
    from mimicam.engine.backends.cuda.networks import Engine


def _torch(path: Path, _threads: int | None) -> Model:
    from mimicam.engine.models.daegan.torch_model import open_daegan_torch

    return open_daegan_torch(path)


def _exported(path: Path) -> Path:
    from mimicam.engine.models.daegan.export_cache import exported

    return exported(path)


def _bundle(path: Path, threads: int | None) -> Model:
    return open_bundle_openvino(path, threads=threads)


def _half(engine: Engine, path: Path, _threads: int | None) -> Model:
    from mimicam.engine.models.daegan.gpu import open_half

    return open_half(path, engine=engine)


def _plans(path: Path, _threads: int | None) -> Model:
    from mimicam.engine.models.daegan.gpu import open_plans

    return open_plans(path)


_IN_PYTORCH: dict[str, Opener] = {
    "torch": _torch,
    "torch-half": partial(_half, "eager"),
    "torch-compile": partial(_half, "compile"),
}
FAMILY = Family(
    name="daegan",
    networks=frozenset(NETWORKS),
    weights_format="mimicam-daegan",
    openers={
        **export_openers(DaeGanModel, "pose_encoder", _exported),
        **{
            (form, backend): opener
            for form in (Form.WEIGHTS, Form.BUNDLE)
            for backend, opener in _IN_PYTORCH.items()
        },
        (Form.BUNDLE, "openvino"): _bundle,
        (Form.EXPORT, "tensorrt"): _plans,
    },
    automatic=torch_if_gpu,
    reasons={**REASONS_OF_WEIGHTS, (Form.BUNDLE, "tensorrt"): EXPORT_FIRST},
    bundled=DAEGAN_DIR,
)
