"""Read a PyTorch checkpoint from an untrusted source.

Only tensors, plain containers and ``argparse.Namespace`` are unpickled. The archive's directory is
checked first, so that a small file cannot unfold into a large one.
"""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch

from mimicam.engine.errors import EngineError

LIMIT_BYTES = 2 << 30
"""Upper limit in bytes; a DPE training checkpoint with discriminator and both optimisers has 1.2
GB."""

# Exceptions of unpickling a damaged stream. Each means that torch.save did not write the file.
_MALFORMED = (
    RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError, ImportError,
    MemoryError, struct.error,
)  # fmt: skip


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the dict that ``torch.save`` wrote, with tensors on the CPU.

    Raises:
        EngineError: the file is missing, cut off, larger than it declares, no checkpoint, or holds
            anything that could run code.
    """
    _check_file(path)
    _check_directory(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise EngineError(_refusal(path, str(error))) from None
    except _MALFORMED as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise EngineError(f"{path} cannot be read as a PyTorch checkpoint ({line}): get it again") from None
    if not isinstance(loaded, dict):
        raise EngineError(f"{path} holds a {type(loaded).__name__}, not a DPE checkpoint: give dpe.pt")
    return loaded


def generator_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict ``gen`` of a checkpoint.

    Raises:
        EngineError: see ``read_checkpoint``; or there is no such entry.
    """
    state = read_checkpoint(path).get("gen")
    if not isinstance(state, dict) or not state:
        raise EngineError(f"{path} is not a DPE checkpoint, it has no entry 'gen': give dpe.pt")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise EngineError(f"{path} is not a DPE checkpoint: 'gen' holds {name!r}, which is no tensor")
    return state


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise EngineError(f"{path} does not exist or is no file: give the path of dpe.pt")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise EngineError(f"{path} cannot be read ({error.strerror}): check its permissions") from None
    if not start:
        raise EngineError(f"{path} is empty: get it again")
    # A zip archive since 1.6. Older files are bare pickles, which have no directory to check.
    if start != b"PK\x03\x04":
        raise EngineError(f"{path} is not a PyTorch checkpoint of version 1.6 or later: give dpe.pt")


def _check_directory(path: Path) -> None:
    """Refuse a file that declares more content than it has; torch.save does not compress."""
    try:
        with zipfile.ZipFile(path) as archive:
            declared = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OSError):
        raise EngineError(f"{path} is cut off or damaged: get it again") from None
    if declared > path.stat().st_size or declared > LIMIT_BYTES:
        raise EngineError(
            f"{path} declares {declared / 1e6:.0f} MB of content in {path.stat().st_size / 1e6:.1f} MB, "
            "more than a DPE checkpoint can have: it is refused"
        )


def _refusal(path: Path, message: str) -> str:
    # The rest of PyTorch's message explains how to allow the object, which nobody should follow.
    found = re.search(r"GLOBAL (\S+)", message)
    what = f"the pickled object '{found.group(1)}'" if found else "a pickle that is not plain weights"
    return f"{path} holds {what}, which could run code: it is refused, get dpe.pt from its authors"
