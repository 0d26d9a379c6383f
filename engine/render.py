"""Render offline: every driving frame gives one output frame, and the sound is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import cv2

from mimicam.engine.badge import CornerBadge
from mimicam.engine.concurrency.prefetch import prefetch
from mimicam.engine.concurrency.steps import Work, counted, in_one_call, in_steps
from mimicam.engine.controls import OFFLINE_EDIT
from mimicam.engine.errors import EngineError
from mimicam.engine.files import hash_of_input, is_same, write_atomically
from mimicam.engine.models.base import Model
from mimicam.engine.pipeline import FramePath, Pipeline
from mimicam.engine.portrait import Portrait, read_picture
from mimicam.engine.provenance import ANIMATED, Provenance
from mimicam.engine.sinks.video_writer import CONTAINERS, VideoWriter, container_format
from mimicam.engine.sound import open_sound
from mimicam.engine.sources.file import is_picture
from mimicam.engine.sources.video import Timed, VideoFile, check_readable
from mimicam.engine.stages.view import seen_size
from mimicam.engine.types import Covered, EditSettings, Frame, Image
from mimicam.engine.xmp import with_xmp

_STUDY_FPS, _STUDY_FRAMES = 5.0, 600
"""Rate at which a driver is studied, and the largest number of frames: three seconds of one
core."""

_LARGEST_PX = 1024
"""Pixels. Largest side chosen by default: four times the largest encoder input of the bundled
families."""

_WRITTEN = {
    ".png": ".png",
    ".jpg": ".jpg",
    ".jpeg": ".jpg",
    ".jpe": ".jpg",
    ".jfif": ".jpg",
    ".webp": ".webp",
    ".bmp": ".bmp",
}
"""Suffixes of pictures that are written, and OpenCV's name of their format."""

Followed = Callable[[], bool]
"""Returns after each frame whether the driver's face was found in it."""
Counts = Callable[[], Mapping[str, int] | None]
"""Returns the number of frames with covered parts of the driver's face; None: nobody looked."""


class _Marking(TypedDict):
    """Options that videos and pictures share."""

    followed: Followed
    provenance: Provenance
    badge: CornerBadge | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """Result of rendering a video."""

    frames: int
    """Number of frames, in and out."""
    without_face: int
    """Number of frames without a driver's face: there the portrait holds its pose, then rests."""
    covered: Mapping[str, int] = field(default_factory=dict)
    """Number of frames in which something covered ``mouth`` or ``eyes`` of the driver's face."""
    fault: str = ""
    """One line on what is missing of a driver that is truncated or damaged; else empty."""


def _render(
    portrait: Portrait,
    driving: Path,
    out: Path,
    *,
    model: Model,
    edit: EditSettings = OFFLINE_EDIT,
    size: tuple[int, int] | None = None,
    aligned: bool = False,
    badge: CornerBadge | None = None,
    tell: Callable[[str], None] = print,
) -> Work[Rendered]:
    """Animate a portrait by a video or a picture and write the result to a file.

    A video is studied once before it is drawn, so that the driver's neutral is known from its first
    frame on.

    Args:
        portrait: enrolled with ``model``.
        driving: video or picture of the driver.
        out: a video for a video, a picture for a picture. It appears when it is complete.
        model: as `engine.models.load.load_model` returns it.
        edit: mode, gains, and what motion is counted from.
        size: width, height of the result. None: what the picture shows of the portrait's crop, as
            large as its pixels allow; the crop has up to 1024 pixels.
        aligned: the driving frames are square face crops already, so they are only resized.
        badge: shown in every frame, see `engine.badge.corner_badge`.
        tell: receives one line if the sound cannot be copied, and one if the driver is damaged.

    Raises:
        EngineError: a file cannot be read or written, the names do not fit, or no frame shows a
            face. ``out`` is left as it was.
    """
    check_names(driving, out)
    still = is_picture(driving)
    # A model that reads motion from the picture renders as published: codes unfiltered (DPE,
    # equation 3).
    pipeline = Pipeline(
        model=model,
        portrait=portrait,
        edit=edit,
        size=size or portrait_size(portrait, model),
        smooth=not still and model.smooth_recordings,
        aligned=aligned,
    )
    shared: _Marking = {
        "followed": lambda: pipeline.status.face == "tracking",
        "provenance": _animated_from(portrait, driving, model),
        "badge": badge,
    }
    if still:
        render_picture(read_picture(driving), pipeline, out, **shared)
        return Rendered(frames=1, without_face=0)
    yield from study_video(driving, pipeline)
    looks = edit.covered is Covered.KEEP and model.has_blendshapes
    counts: Counts = pipeline.covered.by_part if looks else lambda: None
    steps = render_video(
        VideoFile(driving), pipeline, out, size=pipeline.size, tell=tell, covered=counts, **shared
    )
    return (yield from steps)


render = in_one_call(_render, "render")
iter_render = in_steps(_render, "iter_render")


def _animated_from(portrait: Portrait, driving: Path, model: Model) -> Provenance:
    check_readable(driving)  # its reasons are better than those of a hash
    hashes = (hash_of_input(driving),)
    return replace(ANIMATED, source=portrait.source_sha256, drivers=hashes, model=model.sha256)


def portrait_size(portrait: Portrait, model: Model) -> tuple[int, int] | None:
    """Return width and height as large as the portrait's pixels allow; None: the model's size.

    The crop is square. Where the picture's edge cuts it off, the result shows what is left.
    """
    if model.native_size:
        return None
    height, width = portrait.picture.shape[:2]
    side_px = portrait.box.size_px
    scale = min(max(side_px, model.size), _LARGEST_PX) / side_px
    # Even, since H.264's chroma has half the size.
    seen_x, seen_y = (round(n * scale / 2) * 2 for n in seen_size((width, height), portrait.box))
    return seen_x, seen_y


def check_names(driving: Path, out: Path) -> None:
    """Check that a picture gives a picture and a video a video, and that ``out`` can be written.

    Raises:
        EngineError: the names do not fit, or ``out`` cannot be written.
    """
    if is_picture(driving) != (out.suffix.lower() in _WRITTEN):
        kind = "picture" if is_picture(driving) else "video"
        other = ", ".join(_WRITTEN) if kind == "picture" else ", ".join(CONTAINERS)
        raise EngineError(f"{driving.name} is a {kind}, so OUT must be one too: end it in {other}")
    if not is_picture(driving):
        container_format(out)
    if not out.resolve().parent.is_dir():
        raise EngineError(f"there is no folder {out.parent}; make it first, or choose another")
    if is_same(out, driving):
        raise EngineError(f"{out} is the driving file itself; choose another name for OUT")


def render_picture(
    image: Image,
    pipeline: FramePath,
    out: Path,
    *,
    followed: Followed = lambda: True,
    provenance: Provenance = ANIMATED,
    badge: CornerBadge | None = None,
) -> None:
    """Animate the portrait by one picture.

    Args:
        image: the driving picture, RGB.
        pipeline: its motion is absolute, not relative to a first frame.
        out: path with the suffix of a picture.
        followed: see `Followed`.
        provenance: marks of the result.
        badge: drawn into it.

    Raises:
        EngineError: the driving picture shows no face, or the result cannot be written.
    """
    result = pipeline.draw(pipeline.observe(Frame(image=image, seq=0, captured_ns=0))).image
    if not followed():
        raise EngineError(
            "the driving picture shows no face: give one of a face, seen from the front and well lit"
        )
    if badge is not None:
        badge(result)
    write_picture(out, result, provenance)


def write_picture(path: Path, image: Image, provenance: Provenance | None = None) -> None:
    """Write an RGB picture in the format of the suffix, completely or not at all.

    Args:
        path: its suffix is one that `check_names` takes.
        image: uint8 ``[H, W, 3]``.
        provenance: marks of the picture. BMP has no place for them.

    Raises:
        EngineError: the folder is missing, the disk is full.
    """
    ok, data = cv2.imencode(_WRITTEN[path.suffix.lower()], cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not ok:
        raise EngineError(f"this OpenCV does not write {path.suffix}; choose .png")
    with write_atomically(path) as part:
        written = data.tobytes()
        part.write_bytes(written if provenance is None else with_xmp(written, provenance.xmp))


def render_video(
    video: VideoFile,
    pipeline: FramePath,
    out: Path,
    *,
    size: tuple[int, int],
    followed: Followed = lambda: True,
    covered: Counts = lambda: None,
    tell: Callable[[str], None] = lambda _: None,
    provenance: Provenance = ANIMATED,
    badge: CornerBadge | None = None,
) -> Work[Rendered]:
    """Animate the portrait by a video.

    Args:
        video: the driver, just opened; closed at the end.
        pipeline: its frames carry the file's own times.
        out: path of the result, which appears when it is complete.
        size: width, height of the results.
        followed: see `Followed`.
        covered: see `Counts`.
        tell: receives one line if the sound is not copied as it is, and one if the driver is
            truncated or damaged. The result then holds all that could be decoded.
        provenance: marks of the result.
        badge: drawn into every frame.

    Raises:
        EngineError: the driver has no picture or never shows a face, or the result cannot be
            written. ``out`` is left as it was.
    """
    writer = VideoWriter(out, size=size, fps=video.fps, provenance=provenance)
    try:
        sound = open_sound(video.path, writer.container, writer.mux_sound, tell)
        done, missed, progress = 0, 0, counted("render", video.frame_count)
        # Observed on another thread, one frame ahead; all frames are drawn, none is dropped.
        with closing(prefetch(_observations(video, pipeline))) as ahead:
            for time_s, observation in ahead:
                image = pipeline.draw(observation).image
                if badge is not None:
                    badge(image)
                writer.write(image, time_s)
                sound.write_until(time_s)
                done += 1
                missed += not followed()
                yield progress(done)
        if missed == done:
            raise EngineError(f"{video.path} shows no face in any of its {done} frames; choose another video")
        if video.fault:
            tell(video.fault)
        sound.finish()
        counts = covered()
        writer.finish(replace(provenance, driver_covered=counts))
    finally:
        writer.abort()  # only what was not finished: a failure, Ctrl-C
        video.close()
    return Rendered(frames=done, without_face=missed, covered=counts or {}, fault=video.fault)


def study_video(path: Path, pipeline: Pipeline) -> Work[None]:
    """Learn the driver's neutral from the whole video, so that it is known in the first frame.

    Args:
        path: the driver; opened a second time. Damage is left for the rendering itself to report.
        pipeline: nothing may have been drawn with it yet.
    """
    if not pipeline.needs_neutral:
        return
    video = VideoFile(path)
    # Long videos are studied more sparsely, for a bounded time.
    step_s = max(1 / _STUDY_FPS, video.duration_s / _STUDY_FRAMES)
    try:
        with suppress(EngineError):
            progress, due_s = counted("study", video.frame_count), 0.0
            for done, timed in enumerate(video, start=1):
                if timed.time_s >= due_s:
                    due_s = timed.time_s + step_s
                    pipeline.study(pipeline.observe(_frame(timed)))
                yield progress(done)
    finally:
        video.close()
    pipeline.end_study()


def _observations(video: Iterable[Timed], pipeline: FramePath) -> Iterator[tuple[float, Any]]:
    """Yield each frame's time in seconds and its observation.

    Decoding and tracking run while the previous frame is drawn.
    """
    for seq, timed in enumerate(video):
        yield timed.time_s, pipeline.observe(_frame(timed, seq))


def _frame(timed: Timed, seq: int = 0) -> Frame:
    return Frame(image=timed.image, seq=seq, captured_ns=round(timed.time_s * 1e9))
