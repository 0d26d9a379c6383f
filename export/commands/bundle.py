"""``mimicam models bundle``: write trained compact weights as a folder that runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.export.compact_bundle import bundle_files, write_bundle


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Write a folder that --model takes, from a training checkpoint or safetensors of the compact
    preset."""

    weights: Path
    """checkpoint.pt of a run of 'mimicam train compact', or weights.safetensors of a bundle."""
    out: Path
    """Folder to write: OpenVINO files, safetensors and model.json."""
    facts: Path | None = None
    """JSON file whose entries are added to model.json, such as training data, steps and figures."""

    def run(self) -> None:
        """Write the folder, and print how to use it."""
        for path in filter(None, (self.weights, self.facts)):
            if not path.is_file():
                raise EngineError(f"{path} does not exist")
        # The weights may lie in a bundle that ``out`` names.
        refuse_to_overwrite_inputs(bundle_files(self.out), filter(None, (self.weights, self.facts)))
        facts: dict[str, Any] = {} if self.facts is None else json.loads(self.facts.read_text())
        write_bundle(self.weights, self.out, facts)
        print(f"wrote {self.out}: try it with 'mimicam run --model {self.out}'")
