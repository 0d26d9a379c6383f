"""The compact preset in eager PyTorch: the reference that the other backends are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.backends.bundle_facts import BundleFacts, read_facts
from engine.backends.model import Features, as_layers, as_network_input, check_own
from engine.errors import EngineError
from engine.types import Float, Image, Layers

if TYPE_CHECKING:
    import torch

    from engine.models.compact import Compact


def load_compact(folder: Path) -> tuple[Compact, BundleFacts]:
    """The weights of a bundle, in float32.

    Raises:
        EngineError: torch is not installed, or the folder is not a bundle.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from engine.models.compact import Compact, CompactConfig
    except ImportError as error:
        raise EngineError("--backend torch needs PyTorch: pip install 'mimicam[torch]'") from error
    if not (folder / "weights.safetensors").is_file():
        raise EngineError(f"{folder} lacks weights.safetensors: pass --model with a bundle")
    facts = read_facts(folder)
    try:
        model = Compact(CompactConfig(**facts.config)).eval()
        state = load_file(folder / "weights.safetensors")
        model.load_state_dict({name: value.float() for name, value in state.items()})
    except (RuntimeError, TypeError, SafetensorError) as error:
        raise EngineError(f"{folder} was made by another version, or is damaged: bundle it again") from error
    return model, facts


class EagerCompact:
    """See `engine.backends.model.TrackerModel`. fp32; on the GPU where there is one."""

    def __init__(self, folder: Path) -> None:
        """Load ``weights.safetensors`` of a bundle.

        Raises:
            EngineError: torch is not installed, or the folder is not a bundle.
        """
        self._model, facts = load_compact(folder)
        import torch

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(self._device)
        self.name: str = facts.name
        self.sha256: str = facts.sha256
        self.size: int = facts.size
        self.backend = f"torch {torch.__version__} fp32, {self._device.type}"
        self._resident: tuple[Features, list[torch.Tensor]] | None = None

    def encode(self, crop: Image) -> Features:
        """See `engine.backends.model.Model.encode`."""
        import torch

        image = as_network_input(crop)
        with torch.inference_mode():
            latent, maps = self._model.encoder(torch.from_numpy(image).to(self._device))
        arrays = (latent.cpu().numpy(), *(m.cpu().numpy() for m in maps))
        return Features(arrays=arrays, model=self.sha256)

    def generate(self, features: Features, drive: tuple[Float, ...]) -> Layers:
        """See `engine.backends.model.TrackerModel.generate`."""
        import torch

        check_own(features, self.sha256)
        latent, *maps = self._on_device(features)
        points = [torch.from_numpy(np.ascontiguousarray(a))[None].to(self._device) for a in drive]
        source, target, affine, head, expression, pose, openings, teeth = points
        with torch.inference_mode():
            edited = self._model.codes(latent, expression, pose)
            place = (source, target, affine, head)
            out = self._model.generator.layers(edited, maps, *place, openings, teeth)
        return as_layers(*(out[name].cpu().numpy() for name in ("painted", "mask", "flow")))

    def _on_device(self, features: Features) -> list[torch.Tensor]:
        """The portrait's arrays as tensors, moved once."""
        import torch

        if self._resident is None or self._resident[0] is not features:
            tensors = [torch.from_numpy(a).to(self._device) for a in features.arrays]
            self._resident = (features, tensors)
        return self._resident[1]
