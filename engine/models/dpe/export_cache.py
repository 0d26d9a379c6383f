"""ONNX files of a DPE model in the user's cache; see `engine.backends.export_cache`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mimicam.engine.backends import export_cache
from mimicam.engine.backends.export_folder import Array
from mimicam.engine.models.dpe.model import NETWORKS
from mimicam.engine.models.dpe.torch_model import load_folded

if TYPE_CHECKING:
    from mimicam.engine.models.dpe.folded import FoldedDpe

_KIND = "dpe-1"
"""Version of the folded form, raised when it changes, so that older files are not used."""


def exported(path: Path, *, cache: Path | None = None) -> Path:
    """Return the folder of a model's ONNX files, exporting them first if there is none.

    Args:
        path: a file that ``mimicam models import`` wrote.
        cache: parent folder; None is the user's own cache.

    Raises:
        EngineError: it has to be made and PyTorch is missing, or the cache cannot be written.
    """

    def make(folder: Path, sha256: str) -> None:
        folded = export_cache.load_for_export(path, load_folded)
        from mimicam.engine.backends.export_cache import OPSET
        from mimicam.engine.models.dpe.spec import write_onnx

        paths = write_onnx(folded, folder)
        entries = (export_cache.entry(paths[name], *_example(folded, name)) for name in NETWORKS)
        export_cache.finish(folder, path.name, sha256, OPSET, entries)

    return export_cache.cached(path, _KIND, make, cache=cache)


def _example(folded: FoldedDpe, network: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return a network's inputs, a soft picture or its encoding, and its outputs."""
    import torch

    from mimicam.engine.models.dpe.spec import dpe_specs

    specs = dpe_specs(folded.config)
    with torch.inference_mode():
        image = torch.from_numpy(export_cache.soft_picture(folded.config.size))
        encoded = specs["encoder"].named_outputs(folded.encoder(image))
        code = encoded["expression_code" if network == "expression_generator" else "pose_code"]
        # A latent with a code added, as a generator gets it: comparing at rest would miss the flow.
        known = encoded | {"image": image, "latent": encoded["latent"] + code}
        inputs = {name: known[name] for name in specs[network].input_names}
        result = folded.get_submodule(network)(*inputs.values())
    results = specs[network].named_outputs((result,) if isinstance(result, torch.Tensor) else result)
    return {n: v.numpy() for n, v in inputs.items()}, {n: v.numpy() for n, v in results.items()}
