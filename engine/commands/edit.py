"""``mimicam edit``: change the expression of a person in a video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from mimicam.engine.backends.registry import BackendName
from mimicam.engine.badge import Corner
from mimicam.engine.control_options import edit_of, with_edit_options
from mimicam.engine.controls import REGION_CONTROLS, VIDEO_EDIT

if TYPE_CHECKING:
    from mimicam.engine.editing.plan import Plan


@dataclass(frozen=True, kw_only=True)
# Each frame is its own portrait, so no response is known.
@with_edit_options(VIDEO_EDIT, without=(*REGION_CONTROLS, "response"))
class Edit:
    """Edit the expression of a person in a video; only the face changes.

    The sound is kept.
    """

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SOURCE")]
    """Video of any size."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="OUT")] = None
    """The video to write."""
    driver: Annotated[Path | None, tyro.conf.arg(metavar="DRIVER")] = None
    """Video or picture whose expression is taken over. By default the source keeps its own."""
    driver_length: Literal["hold", "loop", "ping-pong", "trim"] = "hold"
    """Where the driver is shorter than the source: hold its last expression, loop it, run it back
    and forth, or trim the result. A longer driver is cut in any case."""
    preset: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")] = ()
    """Expressions to add, such as smile=0.6, awake=1, blink=off, or blendshapes: jawOpen=0.3."""
    strength: Annotated[tuple[str, ...], tyro.conf.arg(metavar="REGION=VALUE")] = ()
    """Strength of eyes, brows, mouth or jaw, such as eyes=0,mouth=1. With a driver 0 keeps the
    source's own, without one it scales the source's own expression."""
    keyframes: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON or CSV with time, channel, value and easing; a channel is a preset, blendshape or
    region."""
    start: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0.0
    """Edit from this time on; earlier frames are kept."""
    end: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    """Edit up to this time; later frames are kept."""
    face: Annotated[str | None, tyro.conf.arg(metavar="N|X,Y")] = None
    """The person to edit where several are seen: a number from the left, or a pixel of their face
    where it is first seen."""
    driver_for: Annotated[tuple[str, ...], tyro.conf.arg(metavar="N=DRIVER")] = ()
    """A driver for each of several people, by their number: 1=anna.mp4 2=ben.mp4."""
    crop: Annotated[int | None, tyro.conf.arg(metavar="PIXELS")] = None
    """Write only the face's crop, as a square of this side. Then --mode pose and both move the head
    by the driver."""
    lossless: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Keep every sample that no edit changes: FFV1, in a .mkv file."""
    badge: Annotated[Corner, tyro.conf.arg(metavar="CORNER")] = "off"
    """Corner of a visible badge, the word synthetic: bottom-right, bottom-left, top-left or
    top-right."""
    badge_picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """PNG or WebP to show as the badge instead of the word, such as one of the EU's icons for AI
    content."""
    list_faces: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """List the people of SOURCE with their numbers, and write nothing."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print what would be done, and write nothing."""
    backend: BackendName = "auto"
    """Backend that runs the model; auto chooses by what the machine has."""
    model: str = "compact"
    """compact, or the path of a bundle of it."""

    def run(self) -> int:
        """Edit, and print progress and the written file."""
        from mimicam.engine.badge import corner_badge
        from mimicam.engine.editing.video import (
            check_choice,
            check_crop,
            check_form,
            check_paths,
            track_people,
        )
        from mimicam.engine.errors import EngineError
        from mimicam.engine.sources.video import check_readable

        drivers = self._drivers()
        for path in (self.source, *drivers.values(), *([] if self.driver is None else [self.driver])):
            check_readable(path)
        check_crop(self.crop, edit_of(self))
        plan = self._plan()
        if self.list_faces:
            from mimicam.engine.concurrency.steps import Steps
            from mimicam.engine.editing.selection import describe_people

            people = Steps(track_people(self.source)).result()
            print("\n".join(describe_people(people) or ["no face is seen"]))
            return 0
        if self.out is None:
            raise EngineError("no file to write was given: add -o OUT, for example -o edited.mp4")
        check_form(self.out, plan, crop_px=self.crop, lossless=self.lossless)
        check_choice(self.driver, self.face, drivers, crop_px=self.crop)
        check_paths(self.source, self.out, self.driver, *drivers.values(), self.badge_picture)
        corner_badge(self.badge, self.badge_picture)
        if self.dry_run:
            print("\n".join(self._describe(plan)))
            return 0
        self._edit(self.out, plan)
        return 0

    def _drivers(self) -> dict[int, Path]:
        """Parse the drivers of several people."""
        from mimicam.engine.errors import EngineError

        found: dict[int, Path] = {}
        for word in self.driver_for:
            number, _, path = word.partition("=")
            if not (number.isdecimal() and path) or int(number) in found:
                raise EngineError(
                    f"--driver-for must name each person once, such as 1=anna.mp4, not '{word}'"
                )
            found[int(number)] = Path(path)
        return found

    def _plan(self) -> Plan:
        from mimicam.engine.editing.channels import parse_changes
        from mimicam.engine.editing.keyframes import NO_KEYFRAMES, read_keyframes
        from mimicam.engine.editing.plan import Plan

        return Plan(
            changes=parse_changes(self.preset, self.strength),
            keyframes=NO_KEYFRAMES if self.keyframes is None else read_keyframes(self.keyframes),
            start_s=self.start,
            end_s=float("inf") if self.end is None else self.end,
        )

    def _describe(self, plan: Plan) -> list[str]:
        from mimicam.engine.sources.video import VideoFile

        video = VideoFile(self.source)
        video.close()
        length = f", then {self.driver_length}"
        drivers = [f"driver of person {number}: {path}{length}" for number, path in self._drivers().items()]
        if not drivers and self.driver is not None:
            drivers = [f"driver {self.driver}{length}"]
        return [
            f"{self.source}: {video.duration_s:.2f} s at {video.fps:.2f} frames/s -> {self.out}",
            *(drivers or ["the source's own expression"]),
            *plan.describe(),
            *([] if self.badge == "off" else [f"badge: {self.badge}"]),
        ]

    def _edit(self, out: Path, plan: Plan) -> None:
        from mimicam.engine.badge import corner_badge
        from mimicam.engine.commands.frame_progress import FrameProgress
        from mimicam.engine.editing.driver import DriverLength
        from mimicam.engine.editing.video import iter_edit_video
        from mimicam.engine.models.load import load_model
        from mimicam.engine.stages.cover import describe_covered

        model = load_model(self.model, self.backend)
        with FrameProgress(backend=model.backend) as bar:
            steps = iter_edit_video(
                self.source,
                out,
                model=model,
                driver=self.driver,
                edit=edit_of(self),
                plan=plan,
                driver_length=DriverLength(self.driver_length),
                face=self.face,
                drivers=self._drivers(),
                lossless=self.lossless,
                crop_px=self.crop,
                badge=corner_badge(self.badge, self.badge_picture),
                tell=bar.tell,
            )
            done = bar.follow(steps)
        if done.without_face:
            print(f"an edited person was not seen in {done.without_face} of {done.frames} frames")
        for line in (
            describe_covered(done.covered, done.frames, "covered, and left unedited"),
            describe_covered(done.driver_covered, done.frames, "covered in the driver, and kept as before"),
        ):
            if line:
                print(line)
        print(f"wrote {out}")
