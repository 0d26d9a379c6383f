"""What bundles of all families have in common: where weights come from, and ``model.json``."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of, write_atomically
from mimicam.engine.models.bundle_file import FILE, WEIGHTS
from mimicam.engine.models.daegan.weights import FORMAT

UNREADABLE = (
    RuntimeError, EOFError, OSError, KeyError, TypeError, ValueError, pickle.UnpicklingError, SafetensorError,
)  # fmt: skip
"""Errors of files that are no weights."""


def recipe_of(path: Path) -> str:
    """Return the recipe that trained a file: ``compact``, ``daegan`` or another.

    Raises:
        EngineError: it is neither a checkpoint nor safetensors.
    """
    try:
        if path.suffix != ".safetensors":
            return str(read_checkpoint(path)["recipe"])
        with safe_open(path, framework="np") as file:
            form = (file.metadata() or {}).get("format")
    except UNREADABLE as error:
        raise EngineError(
            f"{path} does not hold weights: give the checkpoint of a run, or a safetensors file"
        ) from error
    # Those of compact models have no such entry.
    return "daegan" if form == FORMAT else "compact"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ``mimicam train``; may raise any of `UNREADABLE`."""
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(checkpoint, dict):
        raise TypeError("it is no checkpoint")
    return checkpoint


def write_header(out: Path, facts: dict[str, Any]) -> None:
    """Write ``model.json`` beside the weights, whose hash is added."""
    body = facts | {"sha256": sha256_of(out / WEIGHTS)}
    with write_atomically(out / FILE) as part:
        part.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
