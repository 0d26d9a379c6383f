"""DAE-GAN models as safetensors, with their configuration in the header."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from mimicam.engine.checked_files import parse_json
from mimicam.engine.errors import EngineError
from mimicam.engine.files import write_atomically
from mimicam.engine.models.daegan.config import AnyConfig, config_of
from mimicam.engine.models.daegan.network import DaeGanNetworks
from mimicam.engine.models.daegan.presets import build

FORMAT = "mimicam-daegan"


def save_daegan(model: DaeGanNetworks, out: Path) -> None:
    """Write a model, completely or not at all.

    Raises:
        EngineError: ``out`` cannot be written.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    header = {"format": FORMAT, "config": json.dumps(asdict(model.config))}
    try:
        with write_atomically(out) as part:
            save_file(weights, part, metadata=header)
    except SafetensorError as error:
        raise EngineError(f"{out} cannot be written ({error}): check space and permissions") from None


def load_daegan(path: Path) -> DaeGanNetworks:
    """Load networks in evaluation mode.

    Raises:
        EngineError: the file is missing, damaged or of another kind.
    """
    if not path.is_file():
        raise EngineError(
            f"{path} does not exist or is no file: give a model that 'mimicam train daegan' wrote"
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise EngineError(f"{path} is no safetensors file or is damaged ({error}): get it again") from None
    config = _config_of(path, header)
    # On the meta device, so that a header with absurd sizes costs no memory.
    with torch.device("meta"):
        want = {name: tuple(value.shape) for name, value in build(config).state_dict().items()}
    if want != shapes:
        raise EngineError(f"{path} does not fit the size in its header: get it again")
    model = build(config)
    model.load_state_dict(load_file(path))
    return model.eval()


def _config_of(path: Path, header: dict[str, str]) -> AnyConfig:
    if header.get("format") != FORMAT:
        raise EngineError(f"{path} is not a DAE-GAN model of mimicam: give one 'mimicam train daegan' wrote")
    try:
        return config_of(parse_json(header["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError(f"{path} has a damaged header ({error}): get it again") from None
