"""Inputs and outputs of DAE-GAN's four networks. Importing it needs no PyTorch."""

from __future__ import annotations

from mimicam.engine.models.daegan.compact_config import FIELD, FRONT, RETRIEVED, CompactDaeGanConfig
from mimicam.engine.models.daegan.config import AnyConfig
from mimicam.engine.network_spec import NetworkSpec, Shapes, named


def daegan_specs(config: AnyConfig) -> dict[str, NetworkSpec]:
    """Return the specs of the four networks by name."""
    side, face_side = config.size, config.face_size
    picture, portrait, code = (1, 3, side, side), portrait_shapes(config), (1, config.code)
    face, weight = (1, 3, face_side, face_side), (1, 1, face_side, face_side)
    retrieval: Shapes = {"retrieval": (1, RETRIEVED)} if isinstance(config, CompactDaeGanConfig) else {}
    tensors: dict[str, tuple[Shapes, Shapes]] = {
        "face_embedder": ({"image": face}, {"warped": face, "weight": weight}),
        "front": ({"face": face}, portrait),
        "pose_encoder": ({"image": picture}, {"code": code, **retrieval}),
        "generator": ({"code": code, **portrait}, {"picture": picture}),
    }
    return {
        name: NetworkSpec(name=name, inputs=named(inputs), outputs=named(outputs))
        for name, (inputs, outputs) in tensors.items()
    }


def portrait_shapes(config: AnyConfig) -> Shapes:
    """Return what the generator reads of a portrait; see `network.DaeGanNetworks.prepare`.

    The compact preset's names are those of `compact.Prepared`.
    """
    if isinstance(config, CompactDaeGanConfig):
        skip, most = FRONT
        return {
            "prepared": (1, most, FIELD // 2, FIELD // 2),
            "skip": (1, skip, FIELD, FIELD),
            "embedded_face": (1, 3, config.face_size, config.face_size),
            "own_gaze": (1, 2),
        }
    # Channels double with each halving, up to the limit (see `DaeGanConfig.most`).
    middle = config.size // config.reduction
    return {"prepared": (1, min(config.width * config.reduction, config.most), middle, middle)}
