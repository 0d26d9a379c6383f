"""What a model family tells the loader: how its files look, and which backend opens which form of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from mimicam.engine.models.base import Model


class Form(str, Enum):
    """What a path holds."""

    BUNDLE = "bundle"
    """A folder of ``mimicam models bundle``."""
    WEIGHTS = "weights"
    """A safetensors file."""
    EXPORT = "export"
    """A folder of ``mimicam export``."""


Opener = Callable[[Path, int | None], Model]
"""Takes the path, and the inference threads where the backend has any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One model family. Importing it needs no PyTorch; its openers import what they need."""

    name: str
    networks: frozenset[str]
    """Names of the networks in an export, which tell families apart."""
    weights_format: str | None
    """Entry ``format`` of the safetensors header; None: weights come as a bundle only."""
    openers: Mapping[tuple[Form, str], Opener]
    """By form and backend."""
    automatic: Callable[[Form], str]
    """The backend that ``auto`` stands for."""
    reasons: Mapping[tuple[Form, str], str]
    """One line for a form that a backend does not open: why, and what to do. ``{path}`` stands for the path."""
    share: Mapping[tuple[Form, str], Callable[..., Any]] = field(default_factory=dict)
    """Openers of one model for several sessions; see `engine.models.load.open_shared`."""


def torch_has_gpu() -> bool:
    """Whether PyTorch is installed and sees a GPU."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())
