"""Edit the expression of one person in a video, frame by frame, into a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType

from mimicam.engine.badge import CornerBadge
from mimicam.engine.concurrency.prefetch import prefetch
from mimicam.engine.concurrency.steps import StepName, Work, counted, in_one_call, in_steps
from mimicam.engine.controls import VIDEO_EDIT
from mimicam.engine.editing.covered import find_covers
from mimicam.engine.editing.drawing import CropDrawing, Drawing, PasteDrawing, decode
from mimicam.engine.editing.driver import Driver, DriverLength
from mimicam.engine.editing.face_generator import require_editor
from mimicam.engine.editing.people import find_people, follow_people
from mimicam.engine.editing.person import PersonMotion, count_covered
from mimicam.engine.editing.plan import Plan
from mimicam.engine.editing.selection import choose_person, main_person
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.errors import EngineError
from mimicam.engine.files import hash_of_input, refuse_to_overwrite_inputs
from mimicam.engine.models.base import Model
from mimicam.engine.picture_file import read_picture
from mimicam.engine.provenance import EDITED, Provenance
from mimicam.engine.sinks.video_writer import LOSSLESS, VideoWriter, container_format
from mimicam.engine.sound import Sound, open_sound
from mimicam.engine.sources.file import is_picture
from mimicam.engine.sources.video import Timed, VideoFile
from mimicam.engine.types import Covered, EditSettings, Mode

_CROP_PX = (64, 2048)
_NO_DRIVERS: Mapping[int, Path] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedVideo:
    """Result of editing a video."""

    frames: int
    """Number of frames written."""
    changed: int
    """Number of frames in which a person was edited. A badge does not count."""
    without_face: int
    """Number of frames where an edited person is not seen; there they are kept as they are."""
    covered: Mapping[str, int] = field(default_factory=dict)
    """Number of frames in which something covers ``mouth`` or ``eyes`` of an edited face. They are
    left unedited."""
    driver_covered: Mapping[str, int] = field(default_factory=dict)
    """Number of frames in which something covers ``mouth`` or ``eyes`` of a driver's face. They stay
    as before."""


def _edit_video(
    source: Path,
    out: Path,
    *,
    model: Model,
    driver: Path | None = None,
    edit: EditSettings = VIDEO_EDIT,
    plan: Plan | None = None,
    driver_length: DriverLength = DriverLength.HOLD,
    face: str | None = None,
    drivers: Mapping[int, Path] = _NO_DRIVERS,
    crop_px: int | None = None,
    lossless: bool = False,
    badge: CornerBadge | None = None,
    tell: Callable[[str], None] = print,
) -> Work[EditedVideo]:
    """Edit expressions in a video. Only faces change, and the sound is kept.

    The source is read twice: first to follow its people, so that boxes and expressions are smooth
    without delay, then to edit.

    Args:
        source: video of any size.
        out: video to write; it appears when it is complete.
        model: the compact model, as `engine.models.load.load_model` returns it.
        driver: video or picture to take the expression from; None: ``plan`` changes the source's.
        edit: gains, mirror, what the driver's motion is counted from, and what becomes of covered
            parts of a face. The mode is ``exp``.
        plan: presets, strengths, keyframes and the range that is edited.
        driver_length: what happens after the driver's end.
        face: the person among several, see `engine.editing.selection.choose_person`.
        drivers: a driver for each of several people, by their number from the left. They replace
            ``driver`` and ``face``; ``plan`` holds for all of them.
        crop_px: write only the face's crop, of this side in pixels. Then the head may follow the
            driver too, in the modes ``pose`` and ``both``.
        lossless: keep every sample that no edit changes, in a Matroska file with FFV1.
        badge: shown in every frame, see `engine.badge.corner_badge`.
        tell: receives one line if the sound cannot be copied as it is.

    Raises:
        EngineError: a file cannot be read or written, nobody or several people are seen, or mode or
            model do not fit. ``out`` is left as it was.
    """
    plan = plan or Plan()
    check_crop(crop_px, edit)
    check_form(out, plan, crop_px=crop_px, lossless=lossless)
    check_choice(driver, face, drivers, crop_px=crop_px)
    check_paths(source, out, driver, *drivers.values())
    require_editor(model)  # before minutes of following people
    people = yield from track_people(source)
    chosen = _choose(people, driver, face, drivers, name=source.name)
    motions = yield from _motions(people, chosen, edit=edit, plan=plan, driver_length=driver_length)
    covered, driver_covered = count_covered(motions, _written(motions, chosen[0][0]))
    marks = edited_from(source, [driver, *drivers.values()], model=model.sha256)
    if edit.covered is Covered.KEEP:
        marks = replace(marks, covered=covered, driver_covered=driver_covered if marks.drivers else None)
    encoder = LOSSLESS if lossless else None
    work = _drawing(model, motions, encoder, crop_px=crop_px, provenance=marks, badge=badge)
    done = yield from _write(source, out, work, tell)
    return replace(done, covered=covered, driver_covered=driver_covered)


edit_video = in_one_call(_edit_video, "edit_video")
iter_edit_video = in_steps(_edit_video, "iter_edit_video")


def _written(motions: list[PersonMotion], track: FaceTrack) -> range:
    """Return the frames that will be written: those of the source up to the result's end."""
    end_s = min(motion.end_s for motion in motions)
    return range(int((track.times_s < end_s).sum()))


def _drawing(
    model: Model,
    motions: list[PersonMotion],
    encoder: str | None,
    *,
    crop_px: int | None,
    provenance: Provenance,
    badge: CornerBadge | None,
) -> Drawing:
    """Return what draws the frames: whole pictures, or one person's crop."""
    if crop_px is None:
        return PasteDrawing(model, motions, encoder, provenance=provenance, badge=badge)
    return CropDrawing(model, motions[0], side_px=crop_px, provenance=provenance, badge=badge)


def _motions(
    people: list[FaceTrack],
    chosen: list[tuple[FaceTrack, Path | None]],
    *,
    edit: EditSettings,
    plan: Plan,
    driver_length: DriverLength,
) -> Work[list[PersonMotion]]:
    """Return what each chosen person does."""
    motions = []
    for person, path in chosen:
        moves = None
        if path is not None:
            seen = people_of_picture(path) if is_picture(path) else (yield from track_people(path, "driver"))
            moves = open_driver(path, seen, length=driver_length, edit=edit)
        others = [each for each in people if each is not person]
        motions.append(PersonMotion(person, driver=moves, settings=edit, plan=plan, others=others))
    return motions


def edited_from(
    source: Path,
    drivers: Sequence[Path | None],
    *,
    model: str,
    hash_of: Callable[[Path], str] = hash_of_input,
) -> Provenance:
    """Return the marks of an edit.

    ``model``: hash of its weights. ``hash_of``: hashes a file.
    """
    # Each driver once, in order, also if several people have the same one.
    hashes = tuple(dict.fromkeys(hash_of(path) for path in drivers if path is not None))
    return replace(EDITED, source=hash_of(source), drivers=hashes, model=model)


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


def check_crop(side_px: int | None, edit: EditSettings) -> None:
    """Check the side of a crop, and that without one the head keeps its pose.

    Raises:
        EngineError: the side is odd, too small or too large, or the head would move.
    """
    if side_px is None:
        check_mode(edit)
    if side_px is not None and (side_px % 2 or not _CROP_PX[0] <= side_px <= _CROP_PX[1]):
        raise EngineError(f"--crop must be even and {_CROP_PX[0]} to {_CROP_PX[1]} pixels, not {side_px}")


def check_form(out: Path, plan: Plan, *, crop_px: int | None, lossless: bool) -> None:
    """Check that the options of the result fit each other.

    Raises:
        EngineError: they do not.
    """
    if crop_px is not None and plan.turns_eyes:
        raise EngineError("eye contact turns the eyes of the full frame: leave out --crop, or the preset")
    if lossless and crop_px is not None:
        raise EngineError("a crop is drawn anew, so nothing of it is kept: leave out --lossless, or --crop")
    if lossless and container_format(out) != "matroska":
        raise EngineError(f"--lossless needs a Matroska file: name it {out.with_suffix('.mkv')}")


def check_choice(
    driver: Path | None, face: str | None, drivers: Mapping[int, Path], *, crop_px: int | None
) -> None:
    """Check that people and drivers are named in one way.

    Raises:
        EngineError: they are not.
    """
    if drivers and (driver is not None or face is not None):
        raise EngineError("--driver-for names people and drivers: leave out --driver and --face")
    if crop_px is not None and len(drivers) > 1:
        raise EngineError("--crop shows one face: give one --driver-for, or write a crop for each person")


def check_paths(source: Path, out: Path, *others: Path | None) -> None:
    """Check that a video gives a video, and that no input would be overwritten.

    ``others``: further files that are read.

    Raises:
        EngineError: the names do not fit.
    """
    if is_picture(source):
        raise EngineError(f"{source.name} is a picture: 'mimicam render {source.name} DRIVER' animates it")
    container_format(out)
    if not out.resolve().parent.is_dir():
        raise EngineError(f"there is no folder {out.parent}; make it first, or choose another")
    refuse_to_overwrite_inputs([out], [source, *(path for path in others if path is not None)])


def _choose(
    people: list[FaceTrack],
    driver: Path | None,
    face: str | None,
    drivers: Mapping[int, Path],
    *,
    name: str,
) -> list[tuple[FaceTrack, Path | None]]:
    """Return the people to edit, each with their driver."""
    if not drivers:
        return [(choose_person(people, face, name=name), driver)]
    return [
        (choose_person(people, str(number), name=name, option="--driver-for"), path)
        for number, path in drivers.items()
    ]


def track_people(path: Path, step: StepName = "track") -> Work[list[FaceTrack]]:
    """Return the people of a video, from left to right where each is first seen.

    ``step``: what the progress is called.

    Raises:
        EngineError: the video cannot be read.
    """
    video = VideoFile(path)
    try:
        with closing(prefetch(video)) as ahead:
            return (yield from follow_people(ahead, counted(step, video.frame_count)))
    finally:
        video.close()


def people_of_picture(path: Path) -> list[FaceTrack]:
    """Return the people of a picture, each seen in one frame.

    Raises:
        EngineError: it cannot be read.
    """
    return find_people([Timed(image=read_picture(path), time_s=0.0)])


def open_driver(path: Path, people: list[FaceTrack], *, length: DriverLength, edit: EditSettings) -> Driver:
    """Study a driver's video or picture. Among several people the most prominent drives.

    Args:
        path: video or picture.
        people: all people in it.
        length: what happens after its end.
        edit: whether to take the mirror image, and whether covered parts stay as before.

    Raises:
        EngineError: it cannot be read, or shows no face.
    """
    track, duration_s = main_person(people, name=path.name), 0.0
    if not is_picture(path):
        video = VideoFile(path)
        # By the last frame's time: durations that files state are often wrong.
        duration_s = float(track.times_s[-1]) + 1 / video.fps
        video.close()
    covers = find_covers(track) if edit.covered is Covered.KEEP else {}
    return Driver(track, length=length, duration_s=duration_s, mirror=edit.mirror, covers=covers)


def _write(source: Path, out: Path, work: Drawing, tell: Callable[[str], None]) -> Work[EditedVideo]:
    video = VideoFile(source)
    writer: VideoWriter | None = None
    sound: Sound | None = None
    frames, changed, progress = 0, 0, counted("edit", video.frame_count)
    try:
        with closing(prefetch(decode(video))) as ahead:
            # Frames are decoded one ahead, on another thread.
            for decoded in takewhile(lambda each: each.time_s < work.end_s, ahead):
                if writer is None or sound is None:
                    writer = work.open(out, video, decoded.raw)
                    sound = open_sound(source, writer.container, writer.mux_sound, tell)
                frame, differs = work.draw(frames, decoded)
                writer.write_frame(frame, decoded.time_s)
                sound.write_until(decoded.time_s)
                frames, changed = frames + 1, changed + differs
                yield progress(frames)
        assert writer is not None and sound is not None, "a video without pictures was refused before"  # noqa: PT018
        sound.finish(work.end_s)
        writer.finish()
    finally:
        if writer is not None:
            writer.abort()  # only what was not finished: a failure, Ctrl-C
        video.close()
    return EditedVideo(frames=frames, changed=changed, without_face=work.without_face(frames))
