"""Description of a model family for the loader: its files, and the backends that open them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from mimicam.engine.models.base import Model


class Form(str, Enum):
    """Form of a model on disk."""

    BUNDLE = "bundle"
    """Folder written by ``mimicam models bundle``."""
    WEIGHTS = "weights"
    """Safetensors file."""
    EXPORT = "export"
    """Folder written by ``mimicam export``."""


Opener = Callable[[Path, int | None], Model]
"""Opens a path; takes the number of inference threads, for backends that have any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One model family. Importing it needs no PyTorch; its openers import what they use."""

    name: str
    networks: frozenset[str]
    """Names of the networks in an export, which identify the family."""
    weights_format: str | None
    """Value of ``format`` in the safetensors header. None: weights come as a bundle only."""
    openers: Mapping[tuple[Form, str], Opener]
    """Openers by form and backend."""
    automatic: Callable[[Form], str]
    """Backend that ``auto`` stands for, by form."""
    reasons: Mapping[tuple[Form, str], str]
    """Message for a form that a backend does not open: the reason and the remedy. ``{path}`` and
    ``{backend}`` are filled in."""
    share: Mapping[tuple[Form, str], Callable[..., Any]] = field(default_factory=dict)
    """Openers of one model for several sessions; see `engine.models.load.open_shared`."""


def torch_has_gpu() -> bool:
    """Whether PyTorch is installed and finds a GPU."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())
