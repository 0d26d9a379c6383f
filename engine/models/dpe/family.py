"""DPE family for the loader: openers, default backend and messages."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mimicam.engine.models.base import Model
from mimicam.engine.models.dpe.model import NETWORKS, DpeModel
from mimicam.engine.models.family import REASONS_OF_WEIGHTS, Family, Form, export_openers, torch_if_gpu

if TYPE_CHECKING:
    from mimicam.engine.backends.cuda.networks import Engine
    from mimicam.engine.models.dpe.gpu.batch import SharedModel


def _torch(path: Path, _threads: int | None) -> Model:
    from mimicam.engine.models.dpe.torch_model import open_torch

    return open_torch(path)


def _exported(path: Path) -> Path:
    from mimicam.engine.models.dpe.export_cache import exported

    return exported(path)


def _half(engine: Engine, path: Path, _threads: int | None) -> Model:
    from mimicam.engine.models.dpe.gpu.networks import open_half

    return open_half(path, engine=engine)


def _plans(path: Path, _threads: int | None) -> Model:
    from mimicam.engine.models.dpe.gpu.plans import start_dpe

    return start_dpe(path)


def _share_half(engine: Engine, path: Path, *, slots: int, wait_s: float) -> SharedModel:
    from mimicam.engine.models.dpe.gpu.batch import share_half

    return share_half(path, engine, slots=slots, wait_s=wait_s)


def _share_plans(path: Path, *, slots: int, wait_s: float) -> SharedModel:
    from mimicam.engine.models.dpe.gpu.batch import share_plans

    return share_plans(path, slots=slots, wait_s=wait_s)


FAMILY = Family(
    name="dpe",
    networks=frozenset(NETWORKS),
    weights_format="mimicam-dpe",
    openers={
        **export_openers(DpeModel, "encoder", _exported),
        (Form.WEIGHTS, "torch"): _torch,
        (Form.WEIGHTS, "torch-half"): partial(_half, "eager"),
        (Form.WEIGHTS, "torch-compile"): partial(_half, "compile"),
        (Form.EXPORT, "tensorrt"): _plans,
    },
    automatic=torch_if_gpu,
    reasons=REASONS_OF_WEIGHTS,
    share={
        (Form.WEIGHTS, "torch-half"): partial(_share_half, "eager"),
        (Form.WEIGHTS, "torch-compile"): partial(_share_half, "compile"),
        (Form.EXPORT, "tensorrt"): _share_plans,
    },
)
