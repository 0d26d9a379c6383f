"""``mimicam models bundle``: write trained weights as a folder that runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.export import compact_bundle, daegan_bundle
from mimicam.export.bundle_files import recipe_of

_WRITERS: dict[str, Callable[[Path, Path, dict[str, Any]], None]] = {
    "compact": compact_bundle.write_bundle,
    "daegan": daegan_bundle.write_bundle,
}
"""Writers of bundles by the recipe of the weights."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Write a folder that --model takes, from a training checkpoint or safetensors of a compact
    model or a DAE-GAN."""

    weights: Path
    """checkpoint.pt of a run of 'mimicam train compact' or 'train daegan', the latter's
    model.safetensors, or weights.safetensors of a bundle."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder to write: networks for OpenVINO, safetensors and model.json."""
    facts: Path | None = None
    """JSON file whose entries are added to model.json, such as training data, steps and figures."""

    def run(self) -> None:
        """Write the folder, and print how to use it."""
        for path in filter(None, (self.weights, self.facts)):
            if not path.is_file():
                raise EngineError(f"{path} does not exist")
        # The weights may lie in a bundle that ``out`` names.
        written = {*compact_bundle.bundle_files(self.out), *daegan_bundle.bundle_files(self.out)}
        refuse_to_overwrite_inputs(sorted(written), filter(None, (self.weights, self.facts)))
        facts: dict[str, Any] = {} if self.facts is None else json.loads(self.facts.read_text())
        recipe = recipe_of(self.weights)
        if recipe not in _WRITERS:
            raise EngineError(f"{self.weights} is of recipe '{recipe}': only {' and '.join(_WRITERS)} bundle")
        _WRITERS[recipe](self.weights, self.out, facts)
        print(f"wrote {self.out}: try it with 'mimicam run --model {self.out}'")
