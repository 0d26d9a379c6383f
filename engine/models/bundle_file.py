"""Header of a bundle: ``model.json`` in a folder that ``mimicam models bundle`` wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from mimicam.engine.checked_files import one_line, read_json
from mimicam.engine.errors import EngineError

FILE = "model.json"
WEIGHTS = "weights.safetensors"
"""Weights for the backends that run in PyTorch, and to train further."""
SHIPPED = Path(__file__).parents[1] / "assets"
"""Folder of the bundles that ship with mimicam, one folder a family."""
_FIRST_FAMILY = "compact"
"""Family of bundles that name none: those from before there was another."""


class Sized(Protocol):
    """Sizes of a family's networks."""

    @property
    def size(self) -> int:
        """Side of the crop, pixels."""


Config = TypeVar("Config", bound=Sized)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInfo(Generic[Config]):
    """Facts of a bundle that a backend reads before the weights."""

    name: str
    sha256: str
    """SHA-256 of the weights; portraits carry it."""
    size: int
    """Side of the crop, pixels."""
    config: Config


def read_bundle(folder: Path, config_of: Callable[[dict[str, Any]], Config]) -> BundleInfo[Config]:
    """Read and check a header.

    Args:
        folder: the bundle.
        config_of: makes the family's sizes of their JSON; raises TypeError or ValueError.

    Raises:
        EngineError: the header is missing or damaged.
    """
    with _refused_if_damaged(folder):
        values = read_json(folder / FILE)
        config = config_of(values["config"])
        if values["size"] != config.size:
            raise ValueError("its two sizes differ")
        return BundleInfo(
            name=one_line(values["name"]), sha256=one_line(values["sha256"]), size=config.size, config=config
        )


def family_and_hash(folder: Path) -> tuple[str, str]:
    """Return the family's name, and the SHA-256 of the weights.

    Raises:
        EngineError: see `read_bundle`.
    """
    with _refused_if_damaged(folder):
        values = read_json(folder / FILE)
        return one_line(values.get("family", _FIRST_FAMILY)), one_line(values["sha256"])


@contextmanager
def _refused_if_damaged(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise EngineError(
            f"{folder / FILE} is damaged: reinstall mimicam, or make the bundle again"
        ) from error
