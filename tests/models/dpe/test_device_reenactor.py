"""Codes on the device equal codes on the host, throughout a session."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, product
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the device's arithmetic is PyTorch's")

from mimicam.benchmarks.host_gpu import HostGpu  # noqa: E402
from mimicam.engine.models.base import Features, LatentCodes, check_own  # noqa: E402
from mimicam.engine.models.dpe.gpu.code_state import CodeState  # noqa: E402
from mimicam.engine.models.dpe.gpu.device_reenactor import (  # noqa: E402
    BlendHistory,
    DeviceEdit,
    DeviceEncoder,
    DeviceReenactor,
)
from mimicam.engine.models.dpe.model import portrait_codes  # noqa: E402
from mimicam.engine.models.frame_graph import FrameRequest  # noqa: E402
from mimicam.engine.models.hot_swap import HotSwapModel, Progress  # noqa: E402
from mimicam.engine.pipeline import Pipeline  # noqa: E402
from mimicam.engine.portrait import Portrait  # noqa: E402
from mimicam.engine.stages.composite import Composite, CopyResult  # noqa: E402
from mimicam.engine.stages.crop import (  # noqa: E402
    Crop,
    cut,
    image_from_crop,
)
from mimicam.engine.stages.surroundings import OutputCanvas  # noqa: E402
from mimicam.engine.types import CropBox, EditSettings, Face, Float, Frame, Image, Mode, MotionReference  # noqa: E402
from tests.models.fakes import ImageDriven  # noqa: E402
from tests.stages.material import SECOND_NS, face_at, shapes  # noqa: E402

SIDE, L = 64, 6
LIMIT = 1e-5
"""Tolerance relative to the codes' magnitude. Largest measured: 6e-7 (x86-64, 2026-11)."""


class CodeModel(ImageDriven):
    """Model whose codes depend on the whole picture. Draws grey and records its inputs."""

    name, backend, sha256, size = "codes", "host", "0" * 64, SIDE

    def __init__(self) -> None:
        self.targets: list[tuple[Float | None, ...]] = []
        self._mix = np.random.default_rng(1).normal(size=(2 * L, SIDE)).astype(np.float32)

    def encode(self, crop: Image) -> Features:
        codes = self.read_motion(crop)
        own = {
            "latent": np.zeros((1, L), np.float32),
            "expression_code": codes.expression[None],
            "pose_code": codes.pose[None],
        }
        return Features(arrays=own, model=self.sha256)

    def read_motion(self, crop: Image) -> LatentCodes:
        both = self._mix @ (crop.mean(axis=(0, 2)).astype(np.float32) / 100)
        return LatentCodes(expression=both[:L], pose=both[L:])

    def own_codes(self, features: Features) -> LatentCodes:
        check_own(features, self.sha256)
        return portrait_codes(features)

    def generate(self, _features: Features, *, expression: Float | None, pose: Float | None) -> Image:
        self.targets.append(tuple(None if code is None else code.copy() for code in (expression, pose)))
        return np.full((SIDE, SIDE, 3), 128, np.uint8)


class DeviceModel(CodeModel):
    """The same model with its codes on a device, which is the processor."""

    def reenactor(self, *, smooth: bool, previous: Any = None) -> DeviceReenactor:
        neutral = None if previous is None else previous.neutral
        return DeviceReenactor(self, self.open_frames(), smooth=smooth, neutral=neutral)

    def open_frames(self) -> EditOnly:
        return EditOnly(self)


class EditOnly:
    """Frame graph that edits codes and records what it would draw."""

    wants_crop = True

    def __init__(self, model: DeviceModel) -> None:
        self._model, self._codes = model, CodeState(HostGpu(), 1, L)
        self._entered: Features | None = None

    def enter(self, features: Features, _canvas: OutputCanvas) -> None:
        if features is not self._entered:
            self._codes.enter(0, features)
            self._entered = features

    def set_neutral(self, codes: LatentCodes) -> None:
        self._codes.set_neutral(0, codes)

    def __call__(self, frame: FrameRequest) -> Image:
        read = (torch.full((1, L), torch.nan),) * 2  # no face: these values must not count
        if frame.image is not None:
            codes = self._model.read_motion(frame.image)
            read = tuple(torch.from_numpy(code)[None] for code in (codes.expression, codes.pose))
        self._codes.write(0, frame.edit)
        self._codes.enqueue_numbers()
        self._codes.enqueue(*read)
        expression, pose = (half.copy() for half in np.split(self._codes.out[0].numpy(), 2))
        target = (
            None if frame.mode is Mode.POSE else expression,
            None if frame.mode is Mode.EXP else pose,
        )
        self._model.targets.append(target)
        return np.full((SIDE, SIDE, 3), 128, np.uint8)


class Track:
    """Tracker that returns the faces of a test."""

    face: Face | None = None
    person = 0

    def __call__(self, _image: Image, _captured_ns: int) -> Face | None:
        return self.face


def events(pipeline: Pipeline, other: Portrait) -> dict[int, Any]:
    """Return a session's changes by frame number."""
    return {
        9: lambda: pipeline.set_edit(replace(pipeline.edit, mode=Mode.EXP, expression_gain=1.5)),
        14: pipeline.calibrate,
        20: lambda: pipeline.set_portrait(other),
        26: lambda: pipeline.set_edit(replace(pipeline.edit, mode=Mode.POSE, pose_gain=0.5)),
        33: lambda: pipeline.set_edit(replace(pipeline.edit, mode=Mode.BOTH, mirror=True)),
        40: lambda: pipeline.set_standby(True),
        43: lambda: pipeline.set_standby(False),
        52: lambda: pipeline.set_edit(replace(pipeline.edit, mode=Mode.EXP, mirror=True)),
    }


LOST = {*range(17, 19), *range(23, 28), *range(47, 51), *range(58, 64), 66}
"""Frames without a face: a short gap, which is held, and a long one, which ends while easing."""


def script() -> Iterator[tuple[float, Image, Face | None]]:
    rng = np.random.default_rng(4)
    seconds, soft = 0.0, rng.normal(128, 40, (SIDE + 16, SIDE + 32, 3))
    for index in range(72):
        seconds += 0.0 if index in (5, 30) else float(rng.choice([0.02, 0.033, 0.3]))
        soft += rng.normal(0, 6, soft.shape) + 3 * np.sin(index / 3)
        jaw = float(rng.uniform(0, 0.6)) if index > 2 else 0.5
        landmarks = face_at(40 + rng.normal(0, 1), 40, 14).landmarks
        face = Face(landmarks=landmarks, blendshapes=shapes(jawOpen=jaw), presence=1.0)
        yield seconds, soft.clip(0, 255).astype(np.uint8), None if index in LOST else face


def run(
    model: CodeModel, *, motion: tuple[MotionReference, MotionReference], smooth: bool
) -> list[tuple[Float | None, ...]]:
    portraits = [portrait(model, level) for level in (60, 190)]
    track = Track()
    pipeline = Pipeline(
        model=model, portrait=portraits[0], smooth=smooth, track=track,  # type: ignore[arg-type]
        edit=EditSettings(expression_motion=motion[0], pose_motion=motion[1]),
    )  # fmt: skip
    asked = events(pipeline, portraits[1])
    for seq, (seconds, image, face) in enumerate(script()):
        if seq in asked:
            asked[seq]()
        track.face = face
        pipeline.step(Frame(image=image, seq=seq, captured_ns=round(seconds * SECOND_NS)))
    return model.targets


def portrait(model: CodeModel, level: int) -> Portrait:
    crop = np.random.default_rng(level).integers(0, level, (SIDE, SIDE, 3), np.uint8)
    box = CropBox(x_px=0.0, y_px=0.0, size_px=float(SIDE))
    return Portrait(
        name=str(level), picture=crop, box=box, crop=crop, motion=None, features=model.encode(crop)
    )


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("motion", list(product(MotionReference, repeat=2)))
def test_a_session_on_the_device_is_the_session_on_the_host(
    motion: tuple[MotionReference, MotionReference], smooth: bool
) -> None:
    host = run(CodeModel(), motion=motion, smooth=smooth)
    device = run(DeviceModel(), motion=motion, smooth=smooth)
    size = max(float(np.abs(code).max()) for target in host for code in target if code is not None)
    assert len(host) == len(device) == 72
    for index, (want, got) in enumerate(zip(host, device, strict=True)):
        for branch, (a, b) in enumerate(zip(want, got, strict=True)):
            assert (a is None) == (b is None), f"frame {index}: other branches run"
            if a is not None and b is not None:
                assert np.abs(a - b).max() <= LIMIT * size, f"frame {index}, branch {branch}"


def test_the_scripted_session_exercises_every_feature() -> None:
    """Removing any one decision changes the result."""
    whole = run(DeviceModel(), motion=(MotionReference.RELATIVE,) * 2, smooth=True)
    for name, off in {"keep": False, "take_neutral": False, "expression_share": 1.0, "seconds": 0.02,
                      "pose_share": 1.0, "fresh": False, "expression_gain": 1.0, "pose_gain": 1.0}.items():  # fmt: skip
        changed = run(_Without(name, off), motion=(MotionReference.RELATIVE,) * 2, smooth=True)
        apart = [
            np.abs(a - b).max()
            for want, got in zip(whole, changed, strict=True)
            for a, b in zip(want, got, strict=True)
            if a is not None and b is not None
        ]
        assert max(apart) > 1e-2, f"nothing depends on {name}"


def test_the_hosts_neutral_is_kept_when_the_device_takes_over() -> None:
    may_finish, host, device = threading.Event(), CodeModel(), DeviceModel()

    def build(_progress: Progress) -> DeviceModel:
        assert may_finish.wait(10)
        return device

    model = HotSwapModel(host, build)  # type: ignore[arg-type]
    pipeline, track = _neutral_taken(model)
    neutral = pipeline._reenactor.neutral.codes
    may_finish.set()
    assert model.finished.wait(10)
    image = np.random.default_rng(8).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    track.face = Face(landmarks=face_at(32, 34, 14).landmarks, blendshapes=shapes(), presence=1.0)
    pipeline.step(Frame(image=image, seq=1, captured_ns=9 * SECOND_NS))
    assert pipeline.status.face == "tracking"
    own = device.encode(portrait(device, 60).crop)
    seen = device.read_motion(_crop_of(image, track.face))
    want = own.arrays["expression_code"][0] + seen.expression - neutral.expression
    got = device.targets[-1][0]
    assert len(host.targets) == len(device.targets) == 1
    assert got is not None
    assert np.abs(got - want).max() < 1e-4


def test_a_target_that_was_never_drawn_cannot_be_eased_from() -> None:
    edit = DeviceEdit(count())
    stranger, now = edit.rest(EditSettings()), edit.rest(EditSettings())
    with pytest.raises(ValueError, match="must be what was shown last"):
        BlendHistory().next(stranger.towards(now, 0.5))


def test_eased_targets_hold_no_older_targets() -> None:
    """Many losses and returns of the face take no more memory than one."""
    shown, edit = BlendHistory(), DeviceEdit(count())
    target = edit.rest(EditSettings())
    for _ in range(5):
        shown.next(target)
        target = target.towards(edit.rest(EditSettings()), 0.5)
        assert not hasattr(target.past, "past")


@pytest.mark.parametrize("mirror", [False, True])
def test_the_devices_crop_is_where_the_hosts_is(mirror: bool) -> None:
    from mimicam.kernels.crop_normalize import crop_normalize

    rng = np.random.default_rng(2)
    image = np.repeat(np.repeat(rng.integers(0, 255, (20, 24, 3), np.uint8), 8, 0), 8, 1)
    box = CropBox(x_px=11.0, y_px=-9.5, size_px=50.0)
    want = cut(image, box, SIDE)
    want = want[:, ::-1] if mirror else want
    matrix = torch.from_numpy(image_from_crop(box, SIDE, mirror=mirror))[None]
    out = crop_normalize(
        torch.from_numpy(image)[None], matrix, out=torch.empty(1, 3, SIDE, SIDE), scale=1, shift=0
    )
    got = out[0].permute(1, 2, 0).numpy()
    assert np.abs(got - want).mean() < 2.0, (
        "the kernel does not alias, OpenCV's bilinear sampling does a little"
    )
    assert np.abs(got - np.roll(want, 1, 1)).mean() > 4


@pytest.mark.parametrize("size", [None, (96, 64), (64, 100), (128, 72)])
def test_the_devices_paste_is_where_the_hosts_is(size: tuple[int, int] | None) -> None:
    from mimicam.kernels.paste_back import paste_back

    rng = np.random.default_rng(3)
    picture = np.repeat(np.repeat(rng.integers(0, 255, (12, 12, 3), np.uint8), 10, 0), 10, 1)
    face = np.repeat(np.repeat(rng.integers(0, 255, (8, 8, 3), np.uint8), 8, 0), 8, 1)
    composite = Composite(picture, CropBox(x_px=20, y_px=15, size_px=80), size)
    canvas = composite.on_device(SIDE)
    under = torch.from_numpy(np.ascontiguousarray(canvas.picture))[None]
    tensors = (torch.from_numpy(canvas.mask), torch.from_numpy(canvas.crop_from_image)[None])
    network = torch.from_numpy(face).permute(2, 0, 1)[None].contiguous().float() / 127.5 - 1
    got = paste_back(under, network, *tensors, out=torch.empty_like(under))
    want = composite(face)
    apart = np.abs(got[0].numpy().astype(int) - want)
    assert got.shape[1:] == want.shape
    # Unscaled, both round alike. Enlarged, bilinear is softer than cubic.
    assert apart.mean() < (0.6 if size is None or min(size) == SIDE else 4.0)
    assert np.abs(np.roll(got[0].numpy().astype(int), 2, 1) - want).mean() > 5


def test_a_finished_picture_belongs_to_the_caller() -> None:
    fetched, buffer = CopyResult(), np.full((4, 6, 3), 7, np.uint8)
    first = fetched(buffer)
    buffer.fill(9)
    second = fetched(buffer)
    assert (first == 7).all()
    assert (second == 9).all()


def test_the_device_encoder_counts_time_as_the_filter_does() -> None:
    encode = DeviceEncoder(SIDE, crops=False)
    image, box = np.zeros((SIDE, SIDE, 3), np.uint8), CropBox(x_px=0.0, y_px=0.0, size_px=64.0)

    def at(seconds: float, **options: Any) -> tuple[bool, float]:
        crop = Crop(image=image, box=box, face=None, captured_ns=round(seconds * SECOND_NS), **options)
        motion = encode(crop)
        return motion.fresh, round(motion.seconds, 6)

    assert [at(1.0), at(1.5), at(1.5), at(1.2), at(1.6)] == [
        (True, 0), (False, 0.5), (False, 0), (False, 0), (False, 0.1)
    ]  # fmt: skip
    assert at(2.0, mirror=True) == (True, 0)
    encode.reset()
    assert at(3.0, mirror=True) == (True, 0)


class _Without(DeviceModel):
    """A device that receives one wrong number."""

    def __init__(self, name: str, value: float) -> None:
        super().__init__()
        self._change = {name: value}

    def open_frames(self) -> EditOnly:
        change = self._change

        class Wrong(EditOnly):
            def __call__(self, frame: FrameRequest) -> Image:
                edit = frame.edit
                if hasattr(edit, next(iter(change))):
                    edit = replace(edit, **change)  # type: ignore[arg-type]
                else:
                    edit = replace(edit, settings=replace(edit.settings, **change))  # type: ignore[arg-type]
                return super().__call__(replace(frame, edit=edit))

        return Wrong(self)


def _neutral_taken(model: Any) -> tuple[Pipeline, Track]:
    track = Track()
    edit = EditSettings(expression_motion=MotionReference.RELATIVE)
    pipeline = Pipeline(model=model, portrait=portrait(model, 60), edit=edit, track=track)  # type: ignore[arg-type]
    track.face = Face(landmarks=face_at(32, 34, 14).landmarks, blendshapes=shapes(), presence=1.0)
    image = np.random.default_rng(7).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    pipeline.step(Frame(image=image, seq=0, captured_ns=SECOND_NS))
    return pipeline, track


def _crop_of(image: Image, face: Face) -> Image:
    from mimicam.engine.stages.crop import portrait_box

    return cut(image, portrait_box(face), SIDE)
