"""Compact family for the loader: openers, default backend and messages."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mimicam.engine.models.base import Model
from mimicam.engine.models.compact.bundle_info import COMPACT_DIR
from mimicam.engine.models.family import EXPORT_FIRST, Family, Form

if TYPE_CHECKING:
    from mimicam.engine.backends.cuda.networks import Engine


def _openvino(path: Path, threads: int | None) -> Model:
    from mimicam.engine.models.compact.model import open_bundle_openvino

    return open_bundle_openvino(path, threads=threads)


def _torch(path: Path, _threads: int | None) -> Model:
    from mimicam.engine.models.compact.model import open_bundle_torch

    return open_bundle_torch(path)


def _half(engine: Engine, path: Path, _threads: int | None) -> Model:
    from mimicam.engine.models.compact.frame_graph import open_compact_half

    return open_compact_half(path, engine=engine)


def _plans(path: Path, _threads: int | None) -> Model:
    from mimicam.engine.models.compact.plans import start_compact

    return start_compact(path)


_FOR_TENSORRT = "{model} is an export for TensorRT: --backend {backend} runs --model compact"
FAMILY = Family(
    name="compact",
    networks=frozenset({"encoder", "generator"}),
    bundled=COMPACT_DIR,
    weights_format=None,
    openers={
        (Form.BUNDLE, "openvino"): _openvino,
        (Form.BUNDLE, "torch"): _torch,
        (Form.BUNDLE, "torch-half"): partial(_half, "eager"),
        (Form.BUNDLE, "torch-compile"): partial(_half, "compile"),
        (Form.EXPORT, "tensorrt"): _plans,
    },
    automatic=lambda form: "tensorrt" if form is Form.EXPORT else "openvino",
    reasons={
        (Form.BUNDLE, "tensorrt"): EXPORT_FIRST,
        **{
            (Form.EXPORT, backend): _FOR_TENSORRT
            for backend in ("openvino", "torch", "torch-half", "torch-compile")
        },
    },
)
