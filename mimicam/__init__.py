"""A face drives a portrait: expression, head pose, or both.

Load a model, enroll a portrait with it, then draw frames or render a file::

    from pathlib import Path

    import mimicam

    model = mimicam.load_model("compact")
    portrait = mimicam.load_portrait(mimicam.portrait_path(Path("astronaut")), model=model)
    mimicam.render(portrait, Path("driver.mp4"), Path("out.mp4"), model=model)

Frames of a camera go through a pipeline. It remembers the driver, so give it frames in order::

    edit = mimicam.EditSettings(mode=mimicam.Mode.EXP)
    pipeline = mimicam.Pipeline(model=model, portrait=portrait, edit=edit, size=(640, 480))
    for seq, rgb in enumerate(frames):                    # uint8 [height, width, 3]
        frame = mimicam.Frame(image=rgb, seq=seq, captured_ns=time.monotonic_ns())
        result = pipeline.step(frame).image               # uint8 [480, 640, 3]

The expression of a person in a video is edited in place; only the face changes::

    plan = mimicam.Plan(changes=mimicam.Changes(presets={"smile": 0.6}))
    mimicam.edit_video(Path("talk.mp4"), Path("out.mp4"), model=model, plan=plan)

Long work can be iterated. It yields its progress, and has its result at the end::

    steps = mimicam.iter_render(portrait, Path("driver.mp4"), Path("out.mp4"), model=model)
    for progress in steps:
        print(progress.step, progress.done, progress.total, progress.seconds)
    print(steps.result().frames)

Pictures with the expression and head pose of another one are found in a folder::

    found = mimicam.retrieve(Path("me.jpg"), Path("photos"), by="tracker")
    print([match.path for match in found.matches])

Results carry marks: what made them, the digital source type, and hashes of source, driver and
model. They can be removed or forged, so they are not signatures::

    print(mimicam.verify(Path("out.mp4"), source=Path("talk.mp4")).comparisons)

Every failure that a user can act on is an `EngineError`: one line with its remedy. Names that are
not listed in ``mimicam.__all__`` are internal and may change with any release.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimicam.engine.assets_manifest import portrait_path
    from mimicam.engine.badge import corner_badge
    from mimicam.engine.concurrency.steps import Progress, Steps
    from mimicam.engine.editing.channels import Changes
    from mimicam.engine.editing.plan import Plan
    from mimicam.engine.editing.video import EditedVideo, edit_video, iter_edit_video
    from mimicam.engine.errors import EngineError
    from mimicam.engine.models.base import Model
    from mimicam.engine.models.load import load_model
    from mimicam.engine.pipeline import Pipeline
    from mimicam.engine.portrait import Portrait, enroll, load_portrait, save_portrait
    from mimicam.engine.render import Rendered, iter_render, render
    from mimicam.engine.retrieval.index import Match
    from mimicam.engine.retrieval.retrieve import Retrieved, iter_retrieve, retrieve
    from mimicam.engine.types import Covered, EditSettings, Frame, Mode, MotionReference, Response
    from mimicam.engine.verify import Verified, verify

__all__ = [
    "Changes",
    "Covered",
    "EditSettings",
    "EditedVideo",
    "EngineError",
    "Frame",
    "Match",
    "Mode",
    "Model",
    "MotionReference",
    "Pipeline",
    "Plan",
    "Portrait",
    "Progress",
    "Rendered",
    "Response",
    "Retrieved",
    "Steps",
    "Verified",
    "corner_badge",
    "edit_video",
    "enroll",
    "iter_edit_video",
    "iter_render",
    "iter_retrieve",
    "load_model",
    "load_portrait",
    "portrait_path",
    "render",
    "retrieve",
    "save_portrait",
    "verify",
]

_MODULES = {
    "Changes": "editing.channels",
    "Covered": "types",
    "EditSettings": "types",
    "EditedVideo": "editing.video",
    "EngineError": "errors",
    "Frame": "types",
    "Match": "retrieval.index",
    "Model": "models.base",
    "Mode": "types",
    "MotionReference": "types",
    "Pipeline": "pipeline",
    "Plan": "editing.plan",
    "Portrait": "portrait",
    "Progress": "concurrency.steps",
    "Rendered": "render",
    "Response": "types",
    "Retrieved": "retrieval.retrieve",
    "Steps": "concurrency.steps",
    "Verified": "verify",
    "corner_badge": "badge",
    "edit_video": "editing.video",
    "enroll": "portrait",
    "iter_edit_video": "editing.video",
    "iter_render": "render",
    "iter_retrieve": "retrieval.retrieve",
    "load_model": "models.load",
    "load_portrait": "portrait",
    "portrait_path": "assets_manifest",
    "render": "render",
    "retrieve": "retrieval.retrieve",
    "save_portrait": "portrait",
    "verify": "verify",
}
"""Module of each public name, below ``mimicam.engine``. Loaded on first use, so that ``import
mimicam`` is instant."""

if not (Path(__file__).parent / "engine").exists():
    # In a checkout the packages are beside this folder; an installed wheel has them inside.
    __path__.append(str(Path(__file__).resolve().parents[1]))


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'mimicam' has no attribute '{name}'")
    value = getattr(import_module(f"mimicam.engine.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
