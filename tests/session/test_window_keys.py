"""Keys of the window and their effect."""

from typing import Any

import pytest

from mimicam.engine.gallery import Gallery
from mimicam.engine.presets.mix import PresetMixer
from mimicam.engine.presets.preset import Preset
from mimicam.engine.types import EditSettings, Mode
from mimicam.engine.window_keys import WindowKeys


class FakePipeline:
    """Records the calls of the controls."""

    def __init__(self) -> None:
        self.edit = EditSettings()
        self.modes: tuple[Mode, ...] = (Mode.EXP, Mode.POSE, Mode.BOTH)
        self.asked: list[Any] = []

    def set_edit(self, edit: EditSettings) -> None:
        self.asked.append(edit)  # applied at the next step, so ``edit`` stays

    def set_portrait(self, portrait: Any) -> None:
        self.asked.append(portrait)

    def calibrate(self) -> None:
        self.asked.append("calibrate")

    def select_next_face(self) -> None:
        self.asked.append("next face")

    def set_standby(self, on: bool) -> None:
        self.asked.append(("standby", on))


def _press(keys: str) -> list[Any]:
    pipeline = FakePipeline()
    gallery = Gallery(["first", "second"])  # type: ignore[list-item]
    stop = lambda: pipeline.asked.append("stop")  # noqa: E731
    controls = WindowKeys(pipeline, gallery, presets=PresetMixer(), stop=stop)
    for key in keys:
        controls.key(key)
    return pipeline.asked


def test_m_cycles_modes_even_if_keys_come_faster_than_frames() -> None:
    assert [edit.mode for edit in _press("mmm")] == [Mode.EXP, Mode.POSE, Mode.BOTH]


def test_m_offers_only_modes_of_the_model() -> None:
    pipeline = FakePipeline()
    pipeline.modes = (Mode.BOTH,)
    WindowKeys(pipeline, Gallery([]), presets=PresetMixer(), stop=lambda: None).key("m")
    assert [edit.mode for edit in pipeline.asked] == [Mode.BOTH]


def test_digits_choose_portraits_and_missing_ones_do_nothing() -> None:
    assert _press("2190") == ["second", "first"]


def test_n_goes_on_to_the_next_portrait_and_round_again() -> None:
    assert _press("nnn2n") == ["second", "first", "second", "second", "first"]


def test_space_toggles_standby_and_c_calibrates() -> None:
    assert _press("t") == ["next face"]
    assert _press(" c ") == [("standby", True), "calibrate", ("standby", False)]


def test_gains_stop_at_their_limits() -> None:
    high = _press("+" * 30)[-1]
    low = _press("-" * 30)[-1]
    assert (high.expression_gain, high.pose_gain) == (2.0, 1.5)
    assert (low.expression_gain, low.pose_gain) == (0.0, 0.0)


@pytest.mark.parametrize("key", ["q", "\x1b"])
def test_q_and_escape_stop(key: str) -> None:
    assert _press(key) == ["stop"]


def test_a_preset_s_key_switches_it_and_the_last_of_two_counts() -> None:
    bundled, own = (Preset(name=name, key="x", attack_s=0.0, blendshapes={"jawOpen": 1}) for name in "ab")
    presets = PresetMixer([bundled, own])
    controls = WindowKeys(FakePipeline(), Gallery([]), presets=presets, stop=lambda: None)
    controls.key("x")
    presets.at(0)
    assert controls.describe() == "both  expression x1.0  pose x1.0  b"


def test_n_does_nothing_where_there_are_no_portraits() -> None:
    pipeline = FakePipeline()
    WindowKeys(pipeline, Gallery([]), presets=PresetMixer(), stop=lambda: None).key("n")
    assert pipeline.asked == []


def test_other_keys_do_nothing() -> None:
    assert _press("xyz%") == []
