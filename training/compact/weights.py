"""Weights of the compact preset without the rest of a run: small files, and the start of another
run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically

State = dict[str, Tensor]


def load_average(path: Path) -> State:
    """Read the averaged weights of a checkpoint, full or small, as fp32.

    Raises:
        EngineError: the file is missing, damaged, or of another recipe.
    """
    if not path.is_file():
        raise EngineError(f"{path} does not exist: give the checkpoint of a run")
    damaged = EngineError(f"{path} is not a checkpoint, or is damaged: give another file")
    if not zipfile.is_zipfile(path):
        raise damaged
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise damaged from error
    if not isinstance(state, dict) or state.get("recipe") != "compact":
        raise EngineError(f"{path} is not a checkpoint of the compact recipe: give another file")
    return {name: value.float() for name, value in state["modules"]["average"].items()}


def save_half(average: State, path: Path, *, step: int = 0) -> None:
    """Write averaged weights in fp16 as a checkpoint that 'mimicam models bundle' reads too;
    complete or absent."""
    half = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in average.items()}
    with write_atomically(path) as part:
        torch.save({"recipe": "compact", "step": step, "modules": {"average": half}}, part)
