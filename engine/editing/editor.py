"""Edit one frame: encode its own crop, generate the target, paste the face back."""

from __future__ import annotations

from mimicam.engine.editing.paste import Edited, edit_window, paste_face
from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import place
from mimicam.engine.models.base import Model, TrackerDrivenModel
from mimicam.engine.models.compact.conditioning import ConditioningBuilder, read_mouth_colours
from mimicam.engine.models.compact.mouth_colours import MouthColours
from mimicam.engine.stages.crop import Cutter
from mimicam.engine.types import CropBox, Image, MotionCode

_COLOUR_S = 0.5
"""Seconds. Time constant with which the colours of teeth and gums follow the light."""


class FrameEditor:
    """Edits the frames of one person in order. Not thread-safe."""

    def __init__(self, model: Model) -> None:
        """Set up for a model.

        Raises:
            EngineError: the model is not driven by the tracker.
        """
        if not isinstance(model, TrackerDrivenModel):
            raise EngineError(f"{model.name} cannot edit videos: use --model compact, or a bundle of it")
        self._model = model
        self._cut = Cutter(model.size)
        self._colours: MouthColours | None = None
        self._last_s = 0.0

    def __call__(
        self,
        frame: Image,
        box: CropBox,
        source: MotionCode,
        target: MotionCode,
        *,
        time_s: float,
        share: float,
    ) -> Edited | None:
        """Return the frame with the target's expression; None: nothing would change.

        Args:
            frame: uint8 ``[H, W, 3]``.
            box: the face's box, on whole pixels.
            source: motion of the face in the box.
            target: the same pose with another expression.
            time_s: time of the frame, later than the one before.
            share: 1 applies the edit, 0 keeps the frame.
        """
        before, after = (place(motion.shape, motion.pose) for motion in (source, target))
        window = edit_window(box, before, after, share)
        if not window.opacity.any():
            return None
        crop = self._cut(frame, box)
        colours = self._smooth(read_mouth_colours(source, crop), time_s)
        target_row = ConditioningBuilder(source, map_px=self._model.size // 2, colours=colours)(target)
        fields = self._model.generate(self._model.encode(crop), target_row.tensors())
        target_row.mouth.cover(fields.inpaint)
        return paste_face(frame, fields, window)

    def _smooth(self, colours: MouthColours, time_s: float) -> MouthColours:
        share = min(max(time_s - self._last_s, 0.0) / _COLOUR_S, 1.0)
        self._last_s = time_s
        if self._colours is not None:
            old, colours = self._colours, colours
            colours = MouthColours(
                teeth=old.teeth + share * (colours.teeth - old.teeth),
                gums=old.gums + share * (colours.gums - old.gums),
            )
        self._colours = colours
        return colours
