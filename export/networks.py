"""A model as the networks that are exported, each with names, a module, and inputs to compare it
on.

Names and order are those of each network's spec: `engine.models.dpe.spec.dpe_specs`,
`engine.models.daegan.spec.daegan_specs` and `engine.models.compact.spec`.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mimicam.engine.checked_files import read_json
from mimicam.engine.errors import EngineError
from mimicam.engine.models import bundle_file
from mimicam.engine.models.compact.flat import CompactEncoder, CompactGenerator
from mimicam.engine.models.compact.network import Compact
from mimicam.engine.models.compact.spec import CONDITIONING, CompactConfig, encoder_spec, generator_spec
from mimicam.engine.models.daegan import family as daegan_family
from mimicam.engine.models.daegan.inference import DaeGanParts
from mimicam.engine.models.daegan.model import NETWORKS as DAEGAN_NETWORKS
from mimicam.engine.models.daegan.network import DaeGanNetworks
from mimicam.engine.models.daegan.weights import load_daegan
from mimicam.engine.models.dpe import spec as onnx_form
from mimicam.engine.models.dpe.config import PRESETS
from mimicam.engine.models.dpe.folded import FoldedDpe, FoldedEncoder, FoldedGenerator
from mimicam.engine.models.dpe.half import mixed
from mimicam.engine.models.dpe.half_parts import Form
from mimicam.engine.models.dpe.network import Dpe
from mimicam.engine.models.dpe.weights import load_dpe
from mimicam.engine.models.load import identify, model_path

RANDOM = "random:"
"""``random:published``, ``random:debug`` and ``random:compact`` are untrained: for timing, never
for pictures."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network, ready to be traced."""

    name: str
    """Also the file's stem."""
    module: nn.Module
    """Takes the inputs in order; returns a tensor or a flat tuple."""
    inputs: dict[str, Tensor]
    """By name, in order: real shapes with a batch of one, and values the network meets in use."""
    outputs: tuple[str, ...]
    dynamic_batch: bool
    """Whether the first axis of every input and output may be any number."""

    @torch.no_grad()
    def reference(self) -> dict[str, Tensor]:
        """Compute PyTorch's outputs for ``inputs``."""
        result = self.module(*self.inputs.values())
        results = (result,) if isinstance(result, Tensor) else result
        return dict(zip(self.outputs, results, strict=True))

    def reference_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return ``reference`` as NumPy arrays."""
        return {name: value.numpy() for name, value in self.reference().items()}

    @property
    def folded(self) -> bool:
        """Whether it is one of a DPE's, which `in_form` can write in mixed precision."""
        encoder = getattr(self.module, "encoder", self.module)
        return isinstance(encoder, FoldedEncoder) or self.warps

    @property
    def warps(self) -> bool:
        """Whether it has the flow layer that ``mimicam::warp_blend`` computes."""
        return isinstance(self.module, FoldedGenerator)

    def in_form(self, form: Form) -> Network:
        """A network of DPE with our operator in it; pictures and feature maps come in the form's
        type."""
        maps = {n: v.to(form.dtype) if v.dim() == 4 else v for n, v in self.inputs.items()}
        return replace(self, module=mixed(self.module, form), inputs=maps)

    def with_inputs(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Network:
        """The same network on other inputs."""
        return replace(self, inputs={name: torch.from_numpy(value).float() for name, value in inputs.items()})


def load_networks(model: str) -> list[Network]:
    """The networks of a model: a bundled one by its name, a folder of ``mimicam models bundle``, a
    DPE or DAE-GAN ``.safetensors``, a checkpoint ``.pt`` of a compact model, or
    ``random:<preset>``.

    Raises:
        EngineError: the file is missing, or no model that this version supports.
    """
    if model.startswith(RANDOM):
        return _random(model.removeprefix(RANDOM))
    path = model_path(model)
    if path.is_dir():
        return _bundle_networks(path)
    if path.suffix == ".pt":
        return compact_networks(_compact_checkpoint(path))
    if path.suffix == ".safetensors":
        return _published_networks(path)
    raise EngineError(
        f"--model {model} is no model: give a .safetensors, a training .pt, or {RANDOM}<preset>"
    )


@torch.no_grad()
def dpe_networks(model: Dpe) -> list[Network]:
    """Encoder, motion encoder and both generators of a DPE, in the folded form."""
    # Folded: what depends on weights alone is computed now, so that no runtime has to.
    folded, specs = FoldedDpe(model), onnx_form.dpe_specs(model.config)
    source, driver = smooth_pictures(model.config.size)
    # Real features and codes: random ones would be far from what the generators meet in use.
    known = specs["encoder"].named_outputs(folded.encoder(source)) | {"image": driver}
    expression, pose = folded.motion_encoder(driver)
    latents = {"expression_generator": known["latent"] + expression, "pose_generator": known["latent"] + pose}
    return [
        Network(
            name=name,
            module=folded.get_submodule(name),
            inputs={n: latents[name] if n == "latent" else known[n] for n in spec.input_names},
            outputs=spec.output_names,
            dynamic_batch=True,
        )
        for name, spec in specs.items()
    ]


def daegan_networks(model: DaeGanNetworks) -> list[Network]:
    """DAE-GAN's four networks. Their batch is one: a portrait drives one picture."""
    parts = DaeGanParts(model)
    examples = parts.examples(*smooth_pictures(model.config.size))
    return [
        Network(
            name=name,
            module=parts.get_submodule(name),
            inputs=examples[name],
            outputs=parts.specs[name].output_names,
            dynamic_batch=False,
        )
        for name in DAEGAN_NETWORKS
    ]


@torch.no_grad()
def compact_networks(model: Compact) -> list[Network]:
    """Encoder and generator of the compact preset. Their batch is one: a portrait drives one
    picture."""
    model = model.eval()
    image, _ = smooth_pictures(model.config.size)
    encoder, specs = CompactEncoder(model), (encoder_spec(model.config), generator_spec(model.config))
    known = specs[0].named_outputs(encoder(image)) | _conditioning(model.config)
    return [
        Network(
            name="encoder",
            module=encoder,
            inputs={"image": image},
            outputs=specs[0].output_names,
            dynamic_batch=False,
        ),
        Network(
            name="generator",
            module=CompactGenerator(model),
            inputs={name: known[name] for name in specs[1].input_names},
            outputs=specs[1].output_names,
            dynamic_batch=False,
        ),
    ]


def smooth_pictures(size: int) -> tuple[Tensor, Tensor]:
    """Two different pictures in -1..1, ``[1, 3, size, size]``: soft blobs, the same on every
    machine."""
    # Smooth: on noise, half a pixel of a sampling grid would dominate every comparison.
    blobs = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(11)) * 2 - 1
    pictures = F.interpolate(blobs, size=(size, size), mode="bicubic", align_corners=False).clamp(-1, 1)
    return pictures[:1], pictures[1:]


def _conditioning(config: CompactConfig) -> dict[str, Tensor]:
    """Example conditioning by the generator's input names: a head that turns a little.

    Only inputs that must fit each other, or that are not in 0..1, are made by hand.
    """
    rng = torch.Generator().manual_seed(12)
    shapes = {each.name: each.shape for each in generator_spec(config).inputs if each.name in CONDITIONING}
    source = torch.rand(shapes["source_points"], generator=rng) - 0.5
    moved = 0.02 * torch.randn(shapes["target_points"], generator=rng)
    fitting = {
        "source_points": source,
        "affine": torch.tensor([[[0.98, 0.05, 0.03], [-0.05, 0.98, -0.02]]]),
        "target_points": source * 0.97 + moved,
        "head": torch.tensor([[0.02, -0.01, 0.4]]),
        "pose": torch.randn(shapes["pose"], generator=rng) * 0.3,
    }
    return {
        name: fitting[name] if name in fitting else torch.rand(shape, generator=rng)
        for name, shape in shapes.items()
    }


def _bundle_networks(folder: Path) -> list[Network]:
    if not (folder / bundle_file.FILE).is_file():
        raise EngineError(f"{folder} is no bundle: give a folder of 'mimicam models bundle'")
    if identify(str(folder)).family.name == daegan_family.FAMILY.name:
        return daegan_networks(load_daegan(folder / bundle_file.WEIGHTS))
    return compact_networks(_compact_bundle(folder))


def _published_networks(path: Path) -> list[Network]:
    if path.is_file() and identify(str(path)).family is daegan_family.FAMILY:
        return daegan_networks(load_daegan(path))
    return dpe_networks(load_dpe(path))


def random_dpe(preset: str) -> Dpe:
    """The untrained weights of ``random:<preset>``, the same on every machine."""
    torch.manual_seed(0)
    return _calm(Dpe(PRESETS[preset]))


def _random(preset: str) -> list[Network]:
    torch.manual_seed(0)
    if preset == "compact":
        return compact_networks(Compact())
    if preset in PRESETS:
        return dpe_networks(random_dpe(preset))
    raise EngineError(f"no preset '{preset}': choose {', '.join((*PRESETS, 'compact'))}")


@torch.no_grad()
def _calm(model: Dpe) -> Dpe:
    """Small flows, as trained networks have: fresh ones fold the picture, and any rounding becomes
    a jump."""
    for generator in (model.expression_generator, model.pose_generator):
        for level in generator.levels:
            level.flow.conv.weight.mul_(0.05)  # type: ignore[operator, union-attr]
    return model


def _compact_bundle(folder: Path) -> Compact:
    """The weights of a bundle. They are stored in half precision."""
    try:
        facts = read_json(folder / "model.json")
        model = Compact(CompactConfig(**facts["config"]))
        weights = load_file(folder / "weights.safetensors")
        model.load_state_dict({name: value.float() for name, value in weights.items()})
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        first = str(error).splitlines()[0][:160]
        raise EngineError(f"{folder} is no bundle of a compact model ({first})") from error
    return model


def _compact_checkpoint(path: Path) -> Compact:
    """The running average of a training checkpoint. Its widths are the weights' own."""
    if not path.is_file():
        raise EngineError(f"{path} does not exist: give the checkpoint.pt of a training run")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["recipe"] != "compact":
            raise EngineError(
                f"{path} is of recipe '{state['recipe']}': only 'compact' is exported from a .pt"
            )
        model = Compact()
        model.load_state_dict(state["modules"]["average"])
    except (KeyError, TypeError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0][:160]
        raise EngineError(f"{path} is no checkpoint of the compact preset ({first})") from error
    return model
