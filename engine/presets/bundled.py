"""The table of bundled presets."""

from __future__ import annotations

from mimicam.engine.presets.preset import Preset

BUNDLED: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(name="neutral", replaces=True, key="z"),
        Preset(name="smile", blendshapes={"mouthSmile": 0.8, "cheekSquint": 0.2, "eyeSquint": 0.15}, key="j"),
        Preset(
            name="laugh",
            blendshapes={"mouthSmile": 0.9, "jawOpen": 0.3, "mouthUpperUp": 0.3, "cheekSquint": 0.4, "eyeSquint": 0.4},
            key="h",
        ),
        Preset(
            name="surprise",
            blendshapes={"browInnerUp": 0.8, "browOuterUp": 0.7, "eyeWide": 0.5, "jawOpen": 0.25},
            attack_s=0.12,
            key="o",
        ),
        Preset(
            name="sad",
            blendshapes={"mouthFrown": 0.6, "browInnerUp": 0.5, "mouthShrugLower": 0.3},
            attack_s=0.5,
            release_s=0.7,
            key="d",
        ),
        Preset(
            name="angry",
            blendshapes={"browDown": 0.8, "eyeSquint": 0.3, "noseSneer": 0.3, "mouthPress": 0.3},
            key="a",
        ),
        # Only one eye, and it opens again by itself.
        Preset(
            name="wink",
            blendshapes={"eyeBlinkLeft": 0.95, "cheekSquintLeft": 0.3, "mouthSmileLeft": 0.3},
            attack_s=0.08,
            release_s=0.15,
            hold_s=0.2,
            key="w",
        ),
        Preset(name="pout", blendshapes={"mouthPucker": 0.7, "mouthShrugLower": 0.2}, key="u"),
        Preset(name="awake", blendshapes={"eyeWide": 0.6, "eyeBlink": -0.4, "eyeSquint": -0.3}, key="k"),
        Preset(name="eye-contact", eye_contact=1.0, key="i"),
        Preset(name="brows-up", blendshapes={"browInnerUp": 0.8, "browOuterUp": 0.8}),
        Preset(name="brows-down", blendshapes={"browDown": 0.8}),
        Preset(name="mouth-open", blendshapes={"jawOpen": 0.5}),
    )
}  # fmt: skip
