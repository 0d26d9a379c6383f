"""A portrait as a model's networks take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """A portrait as the generator takes it: encoded once, then kept.

    The arrays belong to the model that made them. A file that another model wrote is refused by its
    hash.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    """Arrays by the names that the model's networks give them."""
    model: str
    """SHA-256 of the weights that encoded the portrait."""
