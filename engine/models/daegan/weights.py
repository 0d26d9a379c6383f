"""DAE-GAN models as safetensors, with their configuration in the header.

Those of a bundle are in half precision. They lack the trunk of the landmark network (`FaceTrunk`),
which ships with the tracker, and state its hash instead.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from mimicam.engine.checked_files import parse_json
from mimicam.engine.errors import EngineError
from mimicam.engine.files import sha256_of, write_atomically
from mimicam.engine.models.daegan.compact_config import CompactDaeGanConfig
from mimicam.engine.models.daegan.config import AnyConfig, config_of
from mimicam.engine.models.daegan.network import DaeGanNetworks
from mimicam.engine.models.daegan.presets import build

FORMAT = "mimicam-daegan"
_TRUNK = "trunk"
"""Entry of the header: hash of the landmark network whose trunk is left out."""


def save_daegan(model: DaeGanNetworks, out: Path) -> None:
    """Write a model, completely or not at all. The same weights give the same bytes.

    Raises:
        EngineError: ``out`` cannot be written.
    """
    _write(model.state_dict(), _header(model), out)


def save_half(model: DaeGanNetworks, out: Path) -> None:
    """Write a model in half precision, without the trunk if the tracker ships it; see
    `save_daegan`."""
    state, header = model.state_dict(), _header(model)
    if isinstance(model.config, CompactDaeGanConfig):
        trunk, note = _shipped_trunk()
        # Another trunk, such as that of untrained networks, is written like all the rest.
        if all(torch.equal(state[name], value) for name, value in trunk.items()):
            state = {name: value for name, value in state.items() if name not in trunk}
            header |= note
    # Counters are integers, which have no half.
    halved = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    _write(halved, header, out)


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
    config, left_out = _config_of(path, header), _left_out(path, header)
    shapes |= {name: tuple(value.shape) for name, value in left_out.items()}
    # On the meta device, so that a header with absurd sizes costs no memory.
    with torch.device("meta"):
        want = {name: tuple(value.shape) for name, value in build(config).state_dict().items()}
    if want != shapes:
        raise EngineError(f"{path} does not fit the size in its header: get it again")
    model = build(config)
    model.load_state_dict(load_file(path) | left_out)
    return model.eval()


def _config_of(path: Path, header: dict[str, str]) -> AnyConfig:
    if header.get("format") != FORMAT:
        raise EngineError(f"{path} is not a DAE-GAN model of mimicam: give one 'mimicam train daegan' wrote")
    try:
        return config_of(parse_json(header["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError(f"{path} has a damaged header ({error}): get it again") from None


def _header(model: DaeGanNetworks) -> dict[str, str]:
    return {"format": FORMAT, "config": json.dumps(asdict(model.config))}


def _write(state: dict[str, Tensor], header: dict[str, str], out: Path) -> None:
    weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    content = _in_order(save(weights, header))
    with write_atomically(out) as part:
        part.write_bytes(content)


def _in_order(file: bytes) -> bytes:
    """Return a safetensors file with its header sorted: the library writes notes in random order."""
    start = 8 + int.from_bytes(file[:8], "little")
    header = json.dumps(json.loads(file[8:start]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of eight bytes
    return len(header).to_bytes(8, "little") + header + file[start:]


def _left_out(path: Path, header: dict[str, str]) -> dict[str, Tensor]:
    """Return the weights that a file leaves out because they ship with the tracker."""
    if _TRUNK not in header:
        return {}
    trunk, note = _shipped_trunk()
    if header[_TRUNK] != note[_TRUNK]:
        raise EngineError(f"{path} was made for another landmark network: make the bundle again")
    return trunk


def _shipped_trunk() -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the trunk by the names of both embedders' weights, and its entry of the header."""
    # Imported here: it needs OpenVINO, which a machine that only trains may lack.
    from mimicam.engine.face.networks import LANDMARK_NETWORK
    from mimicam.engine.models.daegan.trunk_weights import read_trunk

    trunk = read_trunk()
    both = ("face_embedder", "pose_embedder")
    named = {f"{one}.encoder.trunk.{name}": value for one in both for name, value in trunk.items()}
    return named, {_TRUNK: sha256_of(LANDMARK_NETWORK)}
