"""``mimicam preset``: record expressions, list them, print one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from mimicam.engine.presets.preset import Preset

_STRONGEST = 4


@dataclass(frozen=True, kw_only=True)
class RecordPreset:
    """Record the expression in a picture, or in a moment of a video, as a preset."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """Small letters, digits and hyphens."""
    origin: Annotated[str, tyro.conf.arg(name="from", metavar="VIDEO@TIME|PICTURE")]
    """Picture or moment of a video that shows the expression, such as talk.mp4@2.5, talk.mp4@1:02
    or laugh.jpg."""
    face: Annotated[str | None, tyro.conf.arg(metavar="N|X,Y")] = None
    """The person where several are seen: a number from the left, or a pixel of their face."""
    key: Annotated[str, tyro.conf.arg(metavar="LETTER")] = ""
    """Hotkey in the window and on the page. By default it has none."""
    replaces: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Let the expression that is there give way to it. By default it is added."""
    attack: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0.2
    """Time in which it eases in, live."""
    release: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0.4
    """Time in which it eases out, live."""
    force: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace a preset of this name, bundled ones too."""

    def run(self) -> int:
        """Record and save the preset.

        Raises:
            EngineError: no expression is seen, or there is a preset of this name already.
        """
        from mimicam.engine.commands.frame_progress import FrameProgress
        from mimicam.engine.concurrency.steps import Steps
        from mimicam.engine.editing.recording import parse_origin, record_expression
        from mimicam.engine.presets.library import check_new, save_preset

        self._preset({})  # a wrong name or key is found before the video is read
        check_new(self.name, replace=self.force)
        origin = parse_origin(self.origin)
        with FrameProgress() as bar:
            found = bar.follow(Steps(record_expression(origin, face=self.face)))
        preset = self._preset(found)
        path = save_preset(preset, replace=self.force)
        print(f"{preset.name}: {_in_words(preset)}")
        print(f"wrote {path}; use it with: --preset {preset.name}=1")
        return 0

    def _preset(self, blendshapes: dict[str, float]) -> Preset:
        from mimicam.engine.presets.preset import Preset

        return Preset(
            name=self.name,
            blendshapes=blendshapes,
            replaces=self.replaces,
            attack_s=self.attack,
            release_s=self.release,
            key=self.key,
        )


@dataclass(frozen=True, kw_only=True)
class ListPresets:
    """List the presets with their hotkeys, and where your own are kept."""

    def run(self) -> int:
        """Print a line for each; those that cannot be read say why."""
        from mimicam.engine.errors import EngineError
        from mimicam.engine.presets.library import find_preset, is_own, preset_names, presets_folder

        for name in preset_names():
            origin = "yours" if is_own(name) else "bundled"
            try:
                preset = find_preset(name)
            except EngineError as error:
                print(f"{name:<14} {'':<2} {origin:<8} not usable: {error}")
                continue
            print(f"{name:<14} {preset.key or '-':<2} {origin:<8} {_in_words(preset)}")
        print(f"\nyour own presets: {presets_folder()}")
        return 0


@dataclass(frozen=True, kw_only=True)
class ShowPreset:
    """Print a preset as JSON."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """The preset."""

    def run(self) -> int:
        """Print it.

        Raises:
            EngineError: there is none of this name.
        """
        from mimicam.engine.presets.library import find_preset

        print(find_preset(self.name).to_json(), end="")
        return 0


def _in_words(preset: Preset) -> str:
    """Return the strongest blendshapes of a preset."""
    strongest = sorted(preset.blendshapes.items(), key=lambda item: -abs(item[1]))
    words = [f"{name} {value:+.2f}" for name, value in strongest[:_STRONGEST]]
    more = [f"{len(strongest) - _STRONGEST} more"] if len(strongest) > _STRONGEST else []
    return ", ".join([*(["the face at rest"] if preset.replaces else []), *words, *more])
