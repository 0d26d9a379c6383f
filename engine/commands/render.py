"""``mimicam render``: animate a portrait offline, every frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mimicam.engine.backends.registry import BackendName
from mimicam.engine.badge import Corner
from mimicam.engine.control_options import edit_of, with_edit_options
from mimicam.engine.controls import OFFLINE_EDIT

if TYPE_CHECKING:
    from mimicam.engine.models.base import Model
    from mimicam.engine.portrait import Portrait


@dataclass(frozen=True, kw_only=True)
@with_edit_options(OFFLINE_EDIT)
class Render:
    """Animate a portrait by a video or a picture, frame by frame, into a file.

    The sound is kept.
    """

    portrait: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PORTRAIT")]
    """Picture, video, folder written by enroll, or name of a bundled portrait."""
    driving: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DRIVING")]
    """Video or picture of the driver."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="OUT")]
    """The file to write: a video for a video, a picture for a picture."""
    backend: BackendName = "auto"
    """Backend that runs the model; auto chooses by what the machine has."""
    model: str = "compact"
    """Name of a bundled model ('mimicam models list'), or the path of one."""
    size: Annotated[str | None, tyro.conf.arg(metavar="WxH")] = None
    """Size of the result. By default that of the portrait's crop, as large as its pixels allow, up
    to 1024, without what is beyond the picture's edges."""
    aligned: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Both inputs are square face crops already: resize them, without looking for a face box."""
    badge: Annotated[Corner, tyro.conf.arg(metavar="CORNER")] = "off"
    """Corner of a visible badge, the word synthetic: bottom-right, bottom-left, top-left or
    top-right."""
    badge_picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """PNG or WebP to show as the badge instead of the word, such as one of the EU's icons for AI
    content."""

    def run(self) -> int:
        """Render, and print progress and the written file."""
        from mimicam.engine.assets_manifest import portrait_path
        from mimicam.engine.badge import corner_badge
        from mimicam.engine.commands.live import parse_size
        from mimicam.engine.files import refuse_to_overwrite_inputs
        from mimicam.engine.models.load import load_model
        from mimicam.engine.render import check_names
        from mimicam.engine.sources.video import check_readable

        parse_size(self.size)
        edit_of(self)
        corner_badge(self.badge, self.badge_picture)
        check_readable(self.driving)
        picture = [] if self.badge_picture is None else [self.badge_picture]
        refuse_to_overwrite_inputs(
            [self.out], [self.driving, portrait_path(self.portrait), Path(self.model), *picture]
        )
        check_names(self.driving, self.out)
        model = load_model(self.model, self.backend)
        self._render(model, self._portrait(model))
        print(f"wrote {self.out}")
        return 0

    def _portrait(self, model: Model) -> Portrait:
        from mimicam.engine.assets_manifest import portrait_path
        from mimicam.engine.commands.live import print_notes
        from mimicam.engine.portrait import enroll, load_portrait

        path = portrait_path(self.portrait)
        picture = self.aligned and not path.is_dir()
        portrait = enroll(path, model=model, aligned=True) if picture else load_portrait(path, model=model)
        print_notes(portrait)
        return portrait

    def _render(self, model: Model, portrait: Portrait) -> None:
        from mimicam.engine.badge import corner_badge
        from mimicam.engine.commands.frame_progress import FrameProgress
        from mimicam.engine.commands.live import parse_size
        from mimicam.engine.render import iter_render
        from mimicam.engine.stages.cover import describe_covered

        with FrameProgress(backend=model.backend) as bar:
            steps = iter_render(
                portrait,
                self.driving,
                self.out,
                model=model,
                edit=edit_of(self),
                size=parse_size(self.size),
                aligned=self.aligned,
                badge=corner_badge(self.badge, self.badge_picture),
                tell=bar.tell,
            )
            done = bar.follow(steps)
        if done.without_face:
            print(
                f"no face was seen in {done.without_face} of {done.frames} frames: there the portrait rests"
            )
        if covered := describe_covered(done.covered, done.frames):
            print(covered)
