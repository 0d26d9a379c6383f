"""``mimicam models``: list and verify what is bundled, and import published weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mimicam.engine.assets_manifest import Asset
from mimicam.engine.errors import EngineError


@dataclass(frozen=True, kw_only=True)
class ListModels:
    """List the presets that --model takes, and the bundled files with licence and origin."""

    def run(self) -> int:
        """Print the presets, then one line per file."""
        from mimicam.engine.assets_manifest import entries
        from mimicam.engine.models.load import bundled_names

        shipped = {name: how for name, how in _BUNDLED.items() if name in bundled_names()}
        for name, (description, how) in (_PRESETS | shipped).items():
            print(f"{name:<10} {description}")
            print(f"{'':<10} {how}")
        assets = entries()
        widths = [max(len(text) for text in column) for column in zip(*map(_row, assets), strict=True)]
        print("\nbundled files")
        for asset in assets:
            print(
                "  ".join(
                    f"{text:<{width}}" for text, width in zip(_row(asset), widths, strict=True)
                ).rstrip()
            )
        return 0


def _row(asset: Asset) -> tuple[str, str, str, str]:
    return asset.file, asset.sha256[:12], asset.licence, asset.origin


@dataclass(frozen=True, kw_only=True)
class VerifyModels:
    """Compare every bundled file with the hash in the manifest."""

    def run(self) -> int:
        """Compare all files.

        Raises:
            EngineError: a file is missing or was changed.
        """
        from mimicam.engine.assets_manifest import entries, problems

        found = problems()
        if found:
            raise EngineError("; ".join(found) + "; run: pip install --force-reinstall --no-deps mimicam")
        print(f"{len(entries())} bundled files match the manifest")
        return 0


@dataclass(frozen=True, kw_only=True)
class ImportModel:
    """Convert a published DPE checkpoint to safetensors. Nothing in it is executed."""

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE.pt")]
    """The published checkpoint, dpe.pt."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="OUT.safetensors")]
    """The safetensors file to write; a JSON file is written beside it."""

    def run(self) -> int:
        """Convert the checkpoint, and print how to use it."""
        try:
            from mimicam.engine.models.dpe.weights import import_published
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise EngineError(
                "importing a checkpoint needs PyTorch; run: pip install 'mimicam[torch]'"
            ) from error
        report = import_published(self.file, self.out)
        print(f"wrote {report.out} ({report.preset}, {report.values:,} values) and {report.sidecar.name};")
        print(f"use it with: mimicam run --model {report.out}")
        return 0


_PRESETS = {
    "compact": (
        "bundled, the default; real time on a CPU; motion from the face tracker",
        "--model compact",
    ),
    "published": (
        "DPE as published, 69 M parameters; for a GPU, or offline; its weights are not bundled",
        "mimicam models import dpe.pt -o dpe.safetensors, then --model dpe.safetensors",
    ),
    "daegan": (
        "DAE-GAN, trained by you; moves expression and pose together, --mode both only",
        "mimicam train daegan --out DIR, then --model DIR/model.safetensors",
    ),
    "debug": (
        "DPE's networks at toy size with random weights, for tests",
        "mimicam export --model random:debug -o DIR, then --model DIR",
    ),
}
"""Description of each preset, and how to use it."""
_BUNDLED = {
    "daegan": (
        "bundled; DAE-GAN, moves expression and pose together, --mode both only",
        "--model daegan",
    ),
}
"""Entries that take the place of those above where the weights are bundled."""
