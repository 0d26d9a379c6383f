"""Presets together, and their way in and out by the frames' times."""

from __future__ import annotations

import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.presets.mix import NO_MIX, PresetMixer, mix_presets
from mimicam.engine.presets.preset import Preset

JAW = BLENDSHAPE_NAMES.index("jawOpen")
OPEN = Preset(name="open", blendshapes={"jawOpen": 0.5}, attack_s=0.2, release_s=0.4)
CALM = Preset(name="calm", replaces=True)
WINK = Preset(name="wink", blendshapes={"jawOpen": 0.8}, attack_s=0.1, release_s=0.2, hold_s=0.3)


def jaws(mixer: PresetMixer, *times_s: float) -> list[float]:
    return [float(mixer.at(round(time_s * 1e9)).added[JAW]) for time_s in times_s]


def test_amounts_add_up() -> None:
    mix = mix_presets([(OPEN, 1.0), (WINK, -0.5)])
    assert mix.added[JAW] == pytest.approx(0.5 - 0.4)
    assert mix.calm == 0.0


def test_presets_that_replace_together_never_exceed_everything() -> None:
    assert mix_presets([(CALM, 0.5), (Preset(name="b", replaces=True), 0.5)]).calm == pytest.approx(0.75)
    assert mix_presets([(CALM, 2.0)]).calm == 1.0
    assert mix_presets([(CALM, -1.0)]).calm == 0.0


def test_eye_contact_stays_within_its_range() -> None:
    contact = Preset(name="contact", eye_contact=0.8)
    amounts = [mix_presets([(contact, amount)]).eye_contact for amount in (0.5, 2.0, -1.0)]
    assert amounts == pytest.approx([0.4, 1.0, 0.0])


def test_nothing_is_no_mix_so_that_frames_without_presets_stay_as_they_were() -> None:
    assert mix_presets([(OPEN, 0.0)]) is NO_MIX
    mixer = PresetMixer([OPEN])
    assert mixer.at(0) is NO_MIX
    mixer.set("open", 1.0)
    jaws(mixer, 1.0, 2.0)
    mixer.set("open", 0.0)
    jaws(mixer, 3.0)
    assert mixer.at(4_000_000_000) is NO_MIX, "also when it has gone again"


def test_a_preset_eases_in_and_out_within_its_times() -> None:
    mixer = PresetMixer([OPEN])
    jaws(mixer, 9.0)
    mixer.set("open", 1.0)
    rising = jaws(mixer, 10.0, 10.1, 10.2, 12.0)
    assert rising == pytest.approx([0.0, 0.25, 0.5, 0.5])
    mixer.set("open", 0.0)
    assert jaws(mixer, 13.0, 13.2, 13.4) == pytest.approx([0.5, 0.25, 0.0])


def test_the_way_does_not_depend_on_the_frame_rate() -> None:
    slow, quick = PresetMixer([OPEN]), PresetMixer([OPEN])
    for mixer in (slow, quick):
        mixer.set("open", 1.0)
        jaws(mixer, 0.0)
    assert jaws(quick, 0.02, 0.04, 0.06, 0.08, 0.1)[-1] == pytest.approx(jaws(slow, 0.1)[0])


def test_a_change_on_the_way_goes_on_from_there() -> None:
    mixer = PresetMixer([OPEN])
    mixer.set("open", 1.0)
    jaws(mixer, 0.0, 0.1)
    mixer.set("open", 0.0)
    assert jaws(mixer, 0.1, 0.5) == pytest.approx([0.25, 0.0])


def test_a_hotkey_switches_on_and_off_again() -> None:
    mixer = PresetMixer([OPEN, CALM])
    mixer.press("open")
    assert jaws(mixer, 0.0, 1.0) == pytest.approx([0.0, 0.5])
    assert mixer.active == ("open",)
    mixer.press("open")
    assert jaws(mixer, 2.0, 3.0) == pytest.approx([0.5, 0.0])
    assert mixer.active == ()


def test_two_presses_between_two_frames_cancel_each_other() -> None:
    mixer = PresetMixer([OPEN])
    mixer.press("open")
    mixer.press("open")
    assert jaws(mixer, 0.0, 1.0) == [0.0, 0.0]


def test_a_preset_with_a_hold_time_leaves_by_itself() -> None:
    mixer = PresetMixer([WINK])
    mixer.press("wink")
    shown = jaws(mixer, 0.0, 0.1, 0.39, 0.41, 0.51, 0.7)
    assert shown == pytest.approx([0.0, 0.8, 0.8, 0.8, 0.4, 0.0], abs=1e-6)


def test_a_slider_keeps_a_preset_that_a_key_would_let_go() -> None:
    mixer = PresetMixer([WINK])
    mixer.set("wink", 1.0)
    assert jaws(mixer, 0.0, 5.0, 60.0)[1:] == pytest.approx([0.8, 0.8])


def test_wrong_names_and_amounts_are_refused() -> None:
    mixer = PresetMixer([OPEN])
    with pytest.raises(EngineError, match="there is no preset 'shut' here: choose one of open"):
        mixer.press("shut")
    with pytest.raises(EngineError, match="open must lie between -2 and 2, not 3"):
        mixer.set("open", 3.0)
    with pytest.raises(EngineError, match="open must lie"):
        mixer.set("open", float("nan"))
    with pytest.raises(EngineError, match="this model takes no presets"):
        PresetMixer().press("open")


def test_a_flood_between_two_frames_is_bounded() -> None:
    mixer = PresetMixer([OPEN])
    for step in range(10_000):
        mixer.set("open", step / 10_000)
    assert jaws(mixer, 0.0, 1.0)[-1] == pytest.approx(0.5, abs=1e-3), "the newest counts"
    assert len(mixer._asked) == 0
