"""``mimicam render``: offline, every frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from engine.cli.run import ModeName, ReferenceName
from engine.models.base import BackendName
from engine.types import EditSettings, Mode, MotionReference

if TYPE_CHECKING:
    from engine.models.base import LiveModel
    from engine.pipeline import Pipeline
    from engine.sources.video import VideoFile


@dataclass(frozen=True, kw_only=True)
class Render:
    """Animate a portrait by a video or a picture, frame by frame, into a file. The sound is kept."""

    portrait: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PORTRAIT")]
    """Picture, folder written by enroll, or name of a bundled portrait."""
    driving: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DRIVING")]
    """Video or picture of the driver."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="OUT")]
    """Where the result goes; a video for a video, a picture for a picture."""
    mode: ModeName = "both"
    """What of the driver reaches the portrait: expression, head pose, or both."""
    backend: BackendName = "auto"
    """What computes."""
    model: str = "compact"
    """compact, or the path of a model."""
    size: Annotated[str | None, tyro.conf.arg(metavar="WxH")] = None
    """Of the result; by default the portrait's crop, as large as its pixels allow, up to 1024."""
    expression_motion: ReferenceName = "absolute"
    """absolute: the portrait's expression becomes the driver's; relative: the driver's changes are added to its own."""
    pose_motion: ReferenceName = "absolute"
    """absolute: the head turns as the driver's; relative: from its own pose, as the driver's turns from theirs."""
    aligned: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Both inputs are square face crops already: they are resized, not searched for a box."""

    def run(self) -> int:
        """Render; print how much and how fast."""
        from engine.assets_manifest import portrait_path
        from engine.cli.live import parse_size
        from engine.files import refuse_to_overwrite_inputs
        from engine.models.load import load_model
        from engine.portrait import read_picture
        from engine.render import check_names, render_picture
        from engine.sources.file import is_picture
        from engine.sources.video import VideoFile, check_readable

        parse_size(self.size)
        check_readable(self.driving)
        refuse_to_overwrite_inputs([self.out], [self.driving, portrait_path(self.portrait), Path(self.model)])
        check_names(self.driving, self.out)
        if is_picture(self.driving):
            image = read_picture(self.driving)
            pipeline = self._pipeline(load_model(self.model, self.backend), still=True)
            render_picture(image, pipeline, self.out, followed=lambda: _followed(pipeline))
        else:
            video = VideoFile(self.driving)
            self._video(video, load_model(self.model, self.backend))
        print(f"wrote {self.out}")
        return 0

    def _pipeline(self, model: LiveModel, *, still: bool) -> Pipeline:
        from engine.assets_manifest import portrait_path
        from engine.cli.live import note_turned, parse_size, portrait_size
        from engine.models.base import PictureModel
        from engine.pipeline import Pipeline
        from engine.portrait import enroll, load_portrait

        path = portrait_path(self.portrait)
        portrait = (
            enroll(path, model=model, aligned=True)
            if self.aligned and not path.is_dir()
            else load_portrait(path, model=model)
        )
        if self.mode != "exp":
            note_turned(portrait)
        # A model that reads the picture itself is rendered as published: codes unfiltered (DPE, equation 3).
        smooth = not still and not isinstance(model, PictureModel)
        return Pipeline(
            model=model,
            portrait=portrait,
            edit=EditSettings(
                mode=Mode(self.mode),
                expression_motion=MotionReference(self.expression_motion),
                pose_motion=MotionReference(self.pose_motion),
            ),
            size=parse_size(self.size) or portrait_size(portrait, model),
            smooth=smooth,
            aligned=self.aligned,
        )

    def _video(self, video: VideoFile, model: LiveModel) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from engine.render import render_video, study_video

        pipeline = self._pipeline(model, still=False)
        columns = (
            TextColumn(model.backend),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f} frames/s"),
            TimeRemainingColumn(),
        )
        study_video(self.driving, pipeline)
        with Progress(*columns) as bar:
            task = bar.add_task("render", total=video.frame_count, rate=0.0)

            def advance(done: int) -> None:
                bar.update(task, completed=done, rate=bar.tasks[0].speed or 0.0)

            done = render_video(
                video,
                pipeline,
                self.out,
                size=pipeline.size,
                progress=advance,
                followed=lambda: _followed(pipeline),
                tell=bar.console.print,
            )
            bar.update(task, total=done.frames)
        if done.without_face:
            print(
                f"no face was seen in {done.without_face} of {done.frames} frames: there the portrait rests"
            )


def _followed(pipeline: Pipeline) -> bool:
    return pipeline.status.face == "tracking"
