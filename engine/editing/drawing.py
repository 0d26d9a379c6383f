"""Draw the frames of an edited video: pasted into the full frame, or as the face's crop alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from av import VideoFrame

from mimicam.engine.badge import CornerBadge
from mimicam.engine.editing.face_generator import FaceGenerator
from mimicam.engine.editing.native import NativeFrame, NativeFrames, look_of
from mimicam.engine.editing.paste import Edited, paste_face, window_of
from mimicam.engine.editing.person import Moment, PersonMotion
from mimicam.engine.errors import EngineError
from mimicam.engine.face.motion import between
from mimicam.engine.models.base import Model
from mimicam.engine.models.compact.eye_contact import EyeContact
from mimicam.engine.provenance import EDITED, Provenance
from mimicam.engine.sinks.video_writer import LOSSLESS, OFFLINE, VideoWriter, h264_encoder
from mimicam.engine.sources.video import VideoFile, to_picture
from mimicam.engine.stages.composite import Composite
from mimicam.engine.stages.crop import cut
from mimicam.engine.stages.eye_warp import EyeWarp
from mimicam.engine.stages.warp_composite import WarpComposite
from mimicam.engine.types import Image

_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoded:
    """One frame of the source."""

    raw: VideoFrame
    image: Image
    """Upright, RGB uint8 ``[H, W, 3]``."""
    time_s: float


class Drawing(Protocol):
    """Draws the frames of an edit, in order."""

    @property
    def end_s(self) -> float:
        """Time at which the result ends; infinite for the source's own end."""
        ...

    def open(self, out: Path, video: VideoFile, first: VideoFrame) -> VideoWriter:
        """Open the result, before any frame is drawn.

        Raises:
            EngineError: ``out`` cannot be written.
        """
        ...

    def draw(self, index: int, decoded: Decoded) -> tuple[VideoFrame, bool]:
        """Return the frame to write, and whether it was edited."""
        ...

    def without_face(self, frames: int) -> int:
        """Return how many of the first frames do not show an edited person."""
        ...


class _Person:
    """One person's edit, pasted into the source's frames."""

    def __init__(self, model: Model, motion: PersonMotion) -> None:
        self._generate, self._motion = FaceGenerator(model), motion
        self._contact = EyeContact()

    def warm_up(self, index: int, image: Image) -> None:
        """Read light and gaze of a frame that is not drawn."""
        moment = self._motion(index)
        if moment is not None:
            self._generate.warm_up(image, moment)
            amount = moment.eye_contact * moment.share
            self._contact(moment.target, round(moment.time_s * 1e9), amount, moment.seen_eyes)

    def add(self, index: int, image: Image, frame: NativeFrame) -> Image | None:
        """Add the edit to a frame that shows ``image``, and return what it shows then.

        None: nothing changes.
        """
        moment = self._motion(index)
        if moment is None or moment.share == 0.0:
            return None
        edited = self._pasted(image, moment)
        if edited is not None:
            frame.add(image, edited.image, edited.rows, edited.columns)
        picture = image if edited is None else edited.image
        turned = self._with_eyes_turned(frame, picture, moment)
        return turned if turned is not None else None if edited is None else edited.image

    def _pasted(self, image: Image, moment: Moment) -> Edited | None:
        window = window_of(moment)
        return paste_face(image, self._generate(image, moment), window) if window.opacity.any() else None

    def _with_eyes_turned(self, frame: NativeFrame, image: Image, moment: Moment) -> Image | None:
        """Add the turned eyes to a frame that shows ``image`` now; None: they stay."""
        amount, box = moment.eye_contact * moment.share, moment.box
        eyes = self._contact(moment.target, round(moment.time_s * 1e9), amount, moment.seen_eyes)
        if not eyes:
            return None
        # A copy: the difference between before and after is what goes into the source's samples.
        turned = image.copy()
        EyeWarp(left=round(box.x_px), top=round(box.y_px), side=round(box.size_px))(turned, eyes)
        rows, columns = (
            slice(min(max(round(corner), 0), limit), min(max(round(corner + box.size_px), 0), limit))
            for corner, limit in ((box.y_px, image.shape[0]), (box.x_px, image.shape[1]))
        )
        frame.add(image, turned, rows, columns)
        return turned


class PasteDrawing:
    """Pastes edited faces into the source's frames; see `Drawing`."""

    def __init__(
        self,
        model: Model,
        motions: Sequence[PersonMotion],
        encoder: str | None = None,
        *,
        provenance: Provenance = EDITED,
        badge: CornerBadge | None = None,
    ) -> None:
        """Set up for one or several people.

        Args:
            model: edits faces.
            motions: what each of them does.
            encoder: FFmpeg's name of an encoder; None takes H.264, else MPEG-4.
            provenance: marks of the result.
            badge: shown in every frame.
        """
        self._people = [_Person(model, motion) for motion in motions]
        self._motions, self._encoder = motions, encoder or h264_encoder() or "mpeg4"
        self._provenance, self._badge = provenance, badge
        self._frames: NativeFrames | None = None
        self.end_s = min(motion.end_s for motion in motions)

    def without_face(self, frames: int) -> int:
        """See `Drawing.without_face`; of several people, one who is not seen counts."""
        return sum(not all(motion.is_seen(index) for motion in self._motions) for index in range(frames))

    def warm_up(self, index: int, decoded: Decoded) -> None:
        """Read a frame before the first that is drawn, so that nothing starts anew there."""
        for person in self._people:
            person.warm_up(index, decoded.image)

    def open(
        self, out: Path, video: VideoFile, first: VideoFrame, x264: Mapping[str, str] = _NO_OPTIONS
    ) -> VideoWriter:
        """See `Drawing.open`; the result has the source's pixel format, colours and rate.

        ``x264``: further options of that encoder.
        """
        self._frames = NativeFrames(first, self._encoder)
        if self._encoder == LOSSLESS and not self._frames.keeps(first):
            raise EngineError(
                f"pixels in the format {first.format.name} cannot be kept as they are: leave out --lossless"
            )
        # The result declares the source's colours, since unedited samples are copied.
        look = look_of(video, first, self._frames.pix_fmt)
        return VideoWriter(
            out,
            size=self._frames.size,
            fps=video.fps,
            encoder=self._encoder,
            provenance=self._provenance,
            look=look,
            x264={**OFFLINE, **x264},
        )

    def draw(self, index: int, decoded: Decoded) -> tuple[VideoFrame, bool]:
        """See `Drawing.draw`."""
        assert self._frames is not None, "open comes first"
        frame, image = self._frames.start(decoded.raw), decoded.image
        for person in self._people:
            # Into what the person before left, so that faces side by side are both kept.
            edited = person.add(index, image, frame)
            image = image if edited is None else edited
        if self._badge is not None:
            # Through the same difference as the edits, so that all other samples stay.
            badged = image.copy()
            self._badge(badged)
            frame.add(image, badged, *self._badge.window(image))
        return frame.finish(), image is not decoded.image


class CropDrawing:
    """Draws the face's steady crop, in which the head may move; see `Drawing`."""

    def __init__(
        self,
        model: Model,
        motion: PersonMotion,
        *,
        side_px: int,
        provenance: Provenance = EDITED,
        badge: CornerBadge | None = None,
    ) -> None:
        self._provenance, self._badge = provenance, badge
        self._generate, self._motion, self._side_px = FaceGenerator(model), motion, side_px
        self._crop_px = model.size
        self.end_s, self.without_face = motion.end_s, motion.without_face

    def open(self, out: Path, video: VideoFile, first: VideoFrame) -> VideoWriter:  # noqa: ARG002 - pixels are new
        """See `Drawing.open`."""
        size = (self._side_px, self._side_px)
        return VideoWriter(out, size=size, fps=video.fps, provenance=self._provenance, x264=OFFLINE)

    def draw(self, index: int, decoded: Decoded) -> tuple[VideoFrame, bool]:
        """See `Drawing.draw`; frames without the face show its last place."""
        moment = self._motion(index)
        if moment is None:
            return self._frame(cut(decoded.image, self._motion.nearest_box(index), self._side_px)), False
        around = Composite(decoded.image, moment.box, (self._side_px, self._side_px))
        compose = WarpComposite(around.texture(self._crop_px), self._crop_px)
        # The crop has new pixels everywhere: it eases by the motion, not by a mask.
        eased = replace(moment, target=between(moment.source, moment.target, moment.share))
        fields = self._generate(decoded.image, eased)
        return self._frame(compose(fields)), moment.share > 0

    def _frame(self, picture: Image) -> VideoFrame:
        if self._badge is not None:
            self._badge(picture)
        return VideoFrame.from_ndarray(picture, format="rgb24")


def decode(video: VideoFile) -> Iterator[Decoded]:
    """Yield the frames of a video, raw and as pictures."""
    size: tuple[int, int] | None = None
    for raw in video.raw():
        size = size or (raw.frame.width, raw.frame.height)
        yield Decoded(raw=raw.frame, image=to_picture(raw.frame, size), time_s=raw.time_s)
