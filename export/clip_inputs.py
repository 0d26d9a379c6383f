"""Inputs of a model's networks while a clip drives a portrait, for calibration and for measuring
rounding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mimicam.engine.assets_manifest import bundled_portraits, demo_clip
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.models.base import Features
from mimicam.engine.models.compact.reenactor import CompactReenactor
from mimicam.engine.network_spec import Shapes
from mimicam.engine.pipeline import Pipeline
from mimicam.engine.portrait import enroll, read_picture
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.stages.crop import cut, portrait_box
from mimicam.engine.types import EditSettings, Float, Frame, Image, Mode, WarpFields
from mimicam.export.networks import Network

Arrays = dict[str, npt.NDArray[np.float32]]


def clip_inputs(networks: list[Network], count: int, clip: Path | None = None) -> dict[str, list[Arrays]]:
    """Inputs by network, ``count`` each, from frames spread over a clip (the bundled one by
    default).

    Raises:
        EngineError: the clip cannot be read, or shows no face.
    """
    frames = _frames(clip or demo_clip(), count)
    by_name = {network.name: network for network in networks}
    # By a network that only this family has. `generator` comes last: DAE-GAN has one as well.
    readers = {"motion_encoder": _dpe, "face_embedder": _daegan, "generator": _compact}
    return next(read for name, read in readers.items() if name in by_name)(by_name, frames)


class _Recorder:
    """A compact model that notes what its networks are given; it draws nothing."""

    name, backend, sha256 = "recorder", "none", "recorder"
    modes = tuple(Mode)
    native_size, needs_face, smooth_recordings = False, True, True
    has_blendshapes = True

    def __init__(self, encoder: Network) -> None:
        self._encoder = encoder
        self.size = int(encoder.inputs["image"].shape[-1])
        self.encoded: list[Arrays] = []
        self.generated: list[Arrays] = []

    def feature_shapes(self) -> Shapes:
        return {name: tuple(array.shape) for name, array in self._encoder.reference_arrays().items()}

    def encode(self, crop: Image) -> Features:
        image = _network_input(crop)
        self.encoded.append({"image": image})
        arrays = self._encoder.with_inputs({"image": image}).reference_arrays()
        return Features(arrays=arrays, model=self.sha256)

    def reenactor(self, *, smooth: bool, previous: Any = None) -> CompactReenactor:
        return CompactReenactor(self, smooth=smooth, previous=previous)

    def generate(self, features: Features, conditioning: Mapping[str, Float]) -> WarpFields:
        frame = {name: np.array(value[None], np.float32) for name, value in conditioning.items()}
        # Copies: conditionings come from pools, whose buffers the next frame overwrites.
        self.generated.append({**features.arrays, **frame})
        side, cells = self.size, self.size // 2
        return WarpFields(
            inpaint=np.zeros((side, side, 3), np.uint8),
            visibility=np.ones((side, side), np.float32),
            flow=np.zeros((cells, cells, 2), np.float32),
        )


def _compact(networks: dict[str, Network], frames: list[Image]) -> dict[str, list[Arrays]]:
    """Every bundled portrait in turn, driven by the clip as ``mimicam run`` drives it."""
    recorder = _Recorder(networks["encoder"])
    portraits = [enroll(path, model=recorder) for path in bundled_portraits()]
    # Unsmoothed: the frames lie far apart in time, and a filter would hold back their extremes.
    pipeline = Pipeline(model=recorder, portrait=portraits[0], edit=EditSettings(), smooth=False)
    for index, image in enumerate(frames):
        pipeline.set_portrait(portraits[index % len(portraits)])
        pipeline.step(Frame(image=image, seq=index, captured_ns=index * 200_000_000))
    names = networks["generator"].inputs
    generated = [{name: values[name] for name in names} for values in recorder.generated]
    return {"encoder": recorder.encoded, "generator": generated}


@torch.no_grad()
def _dpe(networks: dict[str, Network], frames: list[Image]) -> dict[str, list[Arrays]]:
    """The clip's face drives a bundled portrait's, absolute, as the paper does."""
    size = int(networks["encoder"].inputs["image"].shape[-1])
    source = _network_input(_face(read_picture(bundled_portraits()[0]), size))
    encoded = networks["encoder"].with_inputs({"image": source}).reference_arrays()
    found: dict[str, list[Arrays]] = {name: [] for name in networks}
    for image in frames:
        driver = {"image": _network_input(_face(image, size))}
        codes = networks["motion_encoder"].with_inputs(driver).reference_arrays()
        found["encoder"].append(driver)
        found["motion_encoder"].append(driver)
        for branch in ("expression", "pose"):
            generator = networks[f"{branch}_generator"]
            # Equations 3 and 4: the driver's code is added to the portrait's latent.
            edited = encoded | {"latent": encoded["latent"] + codes[f"{branch}_code"]}
            found[generator.name].append({name: edited[name] for name in generator.inputs})
    return found


@torch.no_grad()
def _daegan(networks: dict[str, Network], frames: list[Image]) -> dict[str, list[Arrays]]:
    """The clip's face drives a bundled portrait's, which is embedded from one picture."""
    frame_size, size = (
        int(networks[name].inputs["image"].shape[-1]) for name in ("face_embedder", "pose_encoder")
    )
    source = {"image": _network_input(_face(read_picture(bundled_portraits()[0]), frame_size))}
    # With one picture the attention of equation 1 has one weight, so `warped` is the face.
    face = {"face": networks["face_embedder"].with_inputs(source).reference_arrays()["warped"]}
    prepared = networks["front"].with_inputs(face).reference_arrays()
    found: dict[str, list[Arrays]] = {"face_embedder": [source], "front": [face]}
    for image in frames:
        driver = {"image": _network_input(_face(image, size))}
        code = networks["pose_encoder"].with_inputs(driver).reference_arrays()["code"]
        found.setdefault("pose_encoder", []).append(driver)
        found.setdefault("generator", []).append({"code": code, **prepared})
    return found


def _face(image: Image, size: int) -> Image:
    """The face in its box; the whole picture's middle where the tracker sees none."""
    tracker = FaceTracker()
    face = tracker(image)
    if face is not None:
        return cut(image, portrait_box(face), size)
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    # Nearest pixels are enough: these inputs set ranges, nobody looks at them.
    rows = np.linspace(top, top + side - 1, size).round().astype(int)
    columns = np.linspace(left, left + side - 1, size).round().astype(int)
    return np.ascontiguousarray(image[rows][:, columns])


def _network_input(crop: Image) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(crop.astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1)


def _frames(clip: Path, count: int) -> list[Image]:
    images = [timed.image for timed in VideoFile(clip)]
    picks = np.linspace(0, len(images) - 1, count).round().astype(int)
    return [images[index] for index in picks]
