"""Compact model on any backend that runs its networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimicam.engine.backends.networks import ModelInfo, Networks, Resident
from mimicam.engine.concurrency.cores import usable_cores
from mimicam.engine.errors import EngineError
from mimicam.engine.models.base import Features, ReadFace, as_network_input, check_own
from mimicam.engine.models.compact.bundle_info import COMPACT_DIR, BundleInfo, read_info
from mimicam.engine.models.compact.reenactor import CompactReenactor
from mimicam.engine.models.compact.response import measure_response
from mimicam.engine.network_spec import Shapes
from mimicam.engine.types import Float, Image, Mode, MotionCode, WarpFields

if TYPE_CHECKING:
    from mimicam.engine.models.compact.network import Compact

_FILES = ("encoder.xml", "encoder.bin", "generator.xml", "generator.bin", "model.json")


class CompactModel:
    """See `engine.models.base.TrackerDrivenModel`."""

    modes: tuple[Mode, ...] = (Mode.EXP, Mode.POSE, Mode.BOTH)
    native_size, needs_face, smooth_recordings = False, True, True
    has_blendshapes = True

    def __init__(self, networks: Networks, info: ModelInfo) -> None:
        """Wrap opened networks.

        ``networks``: ``encoder``, and ``generator`` as in
        `engine.models.compact.spec.pixel_generator_spec`.
        """
        self._networks, self._resident = networks, Resident(networks)
        self.name, self.sha256 = info.name, info.sha256
        self.size, self.backend = info.size, info.backend

    def feature_shapes(self) -> Shapes:
        """See `engine.models.base.Model.feature_shapes`."""
        return self._networks.output_shapes("encoder")

    def encode(self, crop: Image) -> Features:
        """See `engine.models.base.Model.encode`."""
        outputs = self._networks.run("encoder", image=self._networks.load(as_network_input(crop)))
        arrays = {name: self._networks.fetch(value) for name, value in outputs.items()}
        return Features(arrays=arrays, model=self.sha256)

    def reenactor(self, *, smooth: bool, previous: Any = None) -> CompactReenactor:
        """See `engine.models.base.LiveModel.reenactor`."""
        return CompactReenactor(self, smooth=smooth, previous=previous)

    def measure_response(self, crop: Image, motion: MotionCode, features: Features, read: ReadFace) -> Float:
        """See `engine.models.base.CalibratedModel.measure_response`."""
        return measure_response(self, crop, motion, features, read)

    def generate(self, features: Features, conditioning: Mapping[str, Float]) -> WarpFields:
        """See `engine.models.base.TrackerDrivenModel.generate`."""
        check_own(features, self.sha256)
        portrait = self._resident(features, features.arrays)
        frame = {name: self._networks.load(array[None]) for name, array in conditioning.items()}
        outputs = self._networks.run("generator", **portrait, **frame)
        inpaint, visibility, flow = (
            self._networks.view(outputs[name])[0] for name in ("inpaint", "visibility", "flow")
        )
        return WarpFields(inpaint=inpaint, visibility=visibility[0], flow=flow)


def open_bundle_openvino(folder: Path = COMPACT_DIR, *, threads: int | None = None) -> CompactModel:
    """Open a bundle on OpenVINO.

    Sampling grids stay in fp32 (marked in the file); the rest may be bf16.

    Args:
        folder: written by ``mimicam models bundle``.
        threads: inference threads; None takes the physical cores, at most four.

    Raises:
        EngineError: the folder is not complete, or does not load.
    """
    from mimicam.engine.backends.openvino import OpenVinoNetwork, OpenVinoNetworks, has_bf16
    from mimicam.engine.models.compact.spec import encoder_spec, pixel_generator_spec

    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise EngineError(f"{folder} lacks {missing[0]}: reinstall mimicam, or pass --model with a bundle")
    bundle = read_info(folder)
    threads = threads or min(usable_cores(), 4)
    precision = "bf16" if has_bf16() else "f32"
    encoder, generator = encoder_spec(bundle.config), pixel_generator_spec(bundle.config)
    networks = {
        # The encoder runs once per portrait: it may take longer, but its rounding would stay in
        # every frame.
        "encoder": OpenVinoNetwork(
            folder / "encoder.xml", threads=threads, name="the portrait encoder", outputs=encoder.output_names
        ),
        "generator": OpenVinoNetwork(
            folder / "generator.xml", threads=threads, precision=precision, name="the generator",
            outputs=generator.output_names,
        ),
    }  # fmt: skip
    specs = {"encoder": encoder, "generator": generator}
    if not all(networks[name].fits(spec) for name, spec in specs.items()):
        raise EngineError(f"{folder} was made by another version of mimicam: make the bundle again")
    backend = f"openvino {precision}, {threads} thread{'s' if threads > 1 else ''}"
    return CompactModel(OpenVinoNetworks(networks), _info(bundle, backend))


def open_bundle_torch(folder: Path) -> CompactModel:
    """Open a bundle in eager PyTorch, on the GPU if there is one.

    Raises:
        EngineError: see `load_compact`.
    """
    model, bundle = load_compact(folder)
    from torch import nn

    from mimicam.engine.backends.torch import TorchNetworks, torch_device, torch_info
    from mimicam.engine.models.compact.flat import CompactEncoder, PixelGenerator
    from mimicam.engine.models.compact.spec import encoder_spec, pixel_generator_spec

    modules = nn.ModuleDict({"encoder": CompactEncoder(model), "generator": PixelGenerator(model)})
    specs = {"encoder": encoder_spec(model.config), "generator": pixel_generator_spec(model.config)}
    networks = TorchNetworks(modules.eval(), specs, torch_device())
    return CompactModel(networks, torch_info(bundle.name, bundle.sha256, bundle.size))


def load_compact(folder: Path) -> tuple[Compact, BundleInfo]:
    """Load the weights of a bundle in float32.

    Raises:
        EngineError: torch is not installed, or the folder is not a bundle.
    """
    try:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from mimicam.engine.models.compact.network import Compact
    except ImportError as error:
        raise EngineError("--backend torch needs PyTorch: pip install 'mimicam[torch]'") from error
    if not (folder / "weights.safetensors").is_file():
        raise EngineError(f"{folder} lacks weights.safetensors: pass --model with a bundle")
    bundle = read_info(folder)
    try:
        state = load_file(folder / "weights.safetensors")
        # On the meta device, so that a header with absurd sizes costs no memory.
        with torch.device("meta"):
            wanted = {name: value.shape for name, value in Compact(bundle.config).state_dict().items()}
        if wanted != {name: value.shape for name, value in state.items()}:
            raise ValueError("its weights do not fit its sizes")
        model = Compact(bundle.config).eval()
        model.load_state_dict({name: value.float() for name, value in state.items()})
    except (RuntimeError, TypeError, ValueError, SafetensorError) as error:
        raise EngineError(f"{folder} was made by another version, or is damaged: bundle it again") from error
    return model, bundle


def _info(bundle: BundleInfo, backend: str) -> ModelInfo:
    return ModelInfo(name=bundle.name, sha256=bundle.sha256, size=bundle.size, backend=backend)
