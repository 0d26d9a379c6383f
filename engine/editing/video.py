"""Edit the expression of one person in a video, frame by frame, into a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path

from mimicam.engine.concurrency.prefetch import prefetch
from mimicam.engine.controls import VIDEO_EDIT
from mimicam.engine.editing.drawing import CropDrawing, Drawing, PasteDrawing, decode
from mimicam.engine.editing.driver import Driver, DriverLength
from mimicam.engine.editing.people import find_people
from mimicam.engine.editing.person import PersonMotion
from mimicam.engine.editing.plan import Plan
from mimicam.engine.editing.selection import choose_person, main_person
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.errors import EngineError
from mimicam.engine.files import refuse_to_overwrite_inputs
from mimicam.engine.models.base import Model
from mimicam.engine.picture_file import read_picture
from mimicam.engine.sinks.video_writer import VideoWriter, container_format
from mimicam.engine.sound import Sound, open_sound
from mimicam.engine.sources.file import is_picture
from mimicam.engine.sources.video import Timed, VideoFile
from mimicam.engine.types import EditSettings, Mode

_CROP_PX = (64, 2048)
Progress = Callable[[str, int], None]
"""Receives the name of a step, ``track`` or ``edit``, and its number of finished frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedVideo:
    """Result of editing a video."""

    frames: int
    """Number of frames written."""
    changed: int
    """Number of frames that differ from the source's."""
    without_face: int
    """Number of frames where the person is not seen; they are kept as they are."""


def edit_video(
    source: Path,
    out: Path,
    *,
    model: Model,
    driver: Path | None = None,
    edit: EditSettings = VIDEO_EDIT,
    plan: Plan | None = None,
    driver_length: DriverLength = DriverLength.HOLD,
    face: str | None = None,
    crop_px: int | None = None,
    progress: Progress = lambda _step, _done: None,
    tell: Callable[[str], None] = print,
) -> EditedVideo:
    """Edit the expression of a person in a video. Only the face changes, and the sound is kept.

    The source is read twice: first to follow its people, so that boxes and expressions are smooth
    without delay, then to edit.

    Args:
        source: video of any size.
        out: video to write; it appears when it is complete.
        model: the compact model, as `engine.models.load.load_model` returns it.
        driver: video or picture whose expression is taken over. None keeps the source's own, as
            ``plan`` changes it.
        edit: gains, mirror, and what the driver's motion is counted from. The mode is ``exp``.
        plan: presets, strengths, keyframes and the range that is edited.
        driver_length: what happens after the driver's end.
        face: the person among several, see `engine.editing.selection.choose_person`.
        crop_px: write only the face's crop, of this side in pixels. Then the head may follow the
            driver too, in the modes ``pose`` and ``both``.
        progress: called after each frame of each step.
        tell: receives one line if the sound cannot be copied as it is.

    Raises:
        EngineError: a file cannot be read or written, nobody or several people are seen, or the
            mode moves the head without ``crop_px``. ``out`` is left as it was.
    """
    check_crop(crop_px)
    if crop_px is None:
        check_mode(edit)
    plan = plan or Plan()
    if crop_px is not None and plan.turns_eyes:
        raise EngineError("eye contact turns the eyes of the full frame: leave out --crop, or the preset")
    check_paths(source, out, driver)
    people = track_people(source, lambda done: progress("track", done))
    person = choose_person(people, face, name=source.name)
    moves = None if driver is None else open_driver(driver, length=driver_length, mirror=edit.mirror)
    drawing = PasteDrawing if crop_px is None else partial(CropDrawing, side_px=crop_px)
    others = [each for each in people if each is not person]
    motion = PersonMotion(person, driver=moves, settings=edit, plan=plan, others=others)
    work = drawing(model, motion)
    return _write(source, out, work, progress=lambda done: progress("edit", done), tell=tell)


def check_mode(edit: EditSettings) -> None:
    """Check that the head keeps its pose.

    Raises:
        EngineError: it would not.
    """
    if edit.mode is not Mode.EXP:
        raise EngineError(
            f"mode {edit.mode.value} moves the head, which cannot be pasted back into its frame: use --mode exp, "
            "or --crop PIXELS to write the face's crop instead"
        )


def check_crop(side_px: int | None) -> None:
    """Check the side of a crop.

    Raises:
        EngineError: it is odd, too small or too large.
    """
    if side_px is not None and (side_px % 2 or not _CROP_PX[0] <= side_px <= _CROP_PX[1]):
        raise EngineError(f"--crop must be even and {_CROP_PX[0]} to {_CROP_PX[1]} pixels, not {side_px}")


def check_paths(source: Path, out: Path, driver: Path | None) -> None:
    """Check that a video gives a video, and that no input would be overwritten.

    Raises:
        EngineError: the names do not fit.
    """
    if is_picture(source):
        raise EngineError(f"{source.name} is a picture: 'mimicam render {source.name} DRIVER' animates it")
    container_format(out)
    if not out.resolve().parent.is_dir():
        raise EngineError(f"there is no folder {out.parent}; make it first, or choose another")
    refuse_to_overwrite_inputs([out], [source, *([] if driver is None else [driver])])


def track_people(path: Path, progress: Callable[[int], None] = lambda _: None) -> list[FaceTrack]:
    """Return the people of a video, from left to right where each is first seen.

    Raises:
        EngineError: the video cannot be read.
    """
    video = VideoFile(path)
    try:
        with closing(prefetch(video)) as ahead:
            return find_people(ahead, progress=progress)
    finally:
        video.close()


def open_driver(path: Path, *, length: DriverLength, mirror: bool = False) -> Driver:
    """Study a driver's video or picture. Among several people the most prominent drives.

    Raises:
        EngineError: it cannot be read, or shows no face.
    """
    if is_picture(path):
        still = [Timed(image=read_picture(path), time_s=0.0)]
        track, duration_s = main_person(find_people(still), name=path.name), 0.0
    else:
        track = main_person(track_people(path), name=path.name)
        video = VideoFile(path)
        duration_s = float(track.times_s[-1]) + 1 / video.fps
        video.close()
    return Driver(track, length=length, duration_s=duration_s, mirror=mirror)


def _write(
    source: Path, out: Path, work: Drawing, *, progress: Callable[[int], None], tell: Callable[[str], None]
) -> EditedVideo:
    video = VideoFile(source)
    writer: VideoWriter | None = None
    sound: Sound | None = None
    frames = changed = 0
    try:
        with closing(prefetch(decode(video))) as ahead:
            for decoded in takewhile(lambda each: each.time_s < work.end_s, ahead):
                if writer is None or sound is None:
                    writer = work.open(out, video, decoded.raw)
                    sound = open_sound(source, writer.container, writer.mux_sound, tell)
                frame, differs = work.draw(frames, decoded)
                writer.write_frame(frame, decoded.time_s)
                sound.write_until(decoded.time_s)
                frames, changed = frames + 1, changed + differs
                progress(frames)
        assert writer is not None and sound is not None, "a video without pictures was refused before"  # noqa: PT018
        sound.finish(work.end_s)
        writer.finish()
    finally:
        if writer is not None:
            writer.abort()  # only what was not finished: a failure, Ctrl-C
        video.close()
    return EditedVideo(frames=frames, changed=changed, without_face=work.without_face(frames))
