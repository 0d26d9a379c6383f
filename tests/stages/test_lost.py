"""What is shown when the face is gone, by the frames' own times."""

import numpy as np
import pytest

from mimicam.engine.models.compact.conditioning import Conditioning, build_conditioning
from mimicam.engine.stages.lost import CARD_S, EASE_S, HOLD_S, RETURN_S, LostFace
from tests.stages.material import SECOND_NS, motion, pose

OWN = motion()
REST = build_conditioning(OWN, OWN)
MOVED = build_conditioning(OWN, motion(pose(yaw=25, at=(0.1, -0.1)), jawOpen=0.8))
OTHER = build_conditioning(OWN, motion(pose(yaw=-25), jawOpen=0.1))


def _ns(seconds: float) -> int:
    return round(seconds * SECOND_NS)


def _jaw(drive: Conditioning) -> float:
    return float(drive.expression[1, 25])


def _same(a: Conditioning, b: Conditioning) -> bool:
    return all((array == b.tensors()[name]).all() for name, array in a.tensors().items())


@pytest.fixture
def lost() -> LostFace:
    """A face was followed until time 0."""
    made = LostFace()
    made.follow(MOVED, -1)
    return made


def test_before_the_first_face_there_is_the_card() -> None:
    lost = LostFace()
    assert lost.state == "standby"
    assert _same(lost.missing(REST, 0), REST)
    assert lost.state == "standby"


def test_the_first_face_is_followed_at_once() -> None:
    lost = LostFace()
    assert _same(lost.follow(MOVED, 0), MOVED)
    assert lost.state == "tracking"


def test_a_first_face_after_the_card_is_eased_in() -> None:
    lost = LostFace()
    lost.missing(REST, 0)
    assert _same(lost.follow(MOVED, _ns(1.0)), REST)
    assert lost.state == "tracking"


def test_a_lost_face_holds_its_last_pose(lost: LostFace) -> None:
    for seconds in (0.0, 0.2, HOLD_S - 0.01):
        assert _same(lost.missing(REST, _ns(seconds)), MOVED)
        assert lost.state == "holding"


def test_then_it_eases_to_neutral_without_a_jump(lost: LostFace) -> None:
    lost.missing(REST, 0)
    times = np.linspace(HOLD_S, HOLD_S + EASE_S, 31)
    jaws = [_jaw(lost.missing(REST, _ns(t))) for t in times]
    assert lost.state == "easing"
    assert jaws[0] == pytest.approx(0.8, abs=1e-5)
    assert jaws[-1] == pytest.approx(0.0, abs=1e-5)
    assert (np.diff(jaws) <= 1e-6).all()
    assert np.abs(np.diff(jaws)).max() < 0.06


def test_then_it_waits_at_rest_and_shows_the_card(lost: LostFace) -> None:
    lost.missing(REST, 0)
    assert _jaw(lost.missing(REST, _ns(CARD_S - 0.01))) == pytest.approx(0.0, abs=1e-6)
    assert lost.state == "easing"
    assert _same(lost.missing(REST, _ns(CARD_S)), REST)
    assert lost.state == "standby"


def test_phases_follow_the_frames_times_and_not_their_number(lost: LostFace) -> None:
    for _ in range(1000):
        lost.missing(REST, 0)
    assert lost.state == "holding"
    lost.missing(REST, _ns(CARD_S))
    assert lost.state == "standby"


def test_a_face_that_comes_back_is_eased_in(lost: LostFace) -> None:
    for seconds in (0.0, CARD_S):
        lost.missing(REST, _ns(seconds))
    back = CARD_S + 1.0
    jaws = [_jaw(lost.follow(MOVED, _ns(back + t))) for t in np.linspace(0, RETURN_S, 9)]
    assert lost.state == "tracking"
    assert jaws[0] == pytest.approx(0.0, abs=1e-6)
    assert jaws[-1] == pytest.approx(0.8, abs=1e-6)
    assert (np.diff(jaws) >= 0).all()
    assert _same(lost.follow(OTHER, _ns(back + 2 * RETURN_S)), OTHER), "once back it is followed at once"


def test_what_follows_another_neutral_is_eased_in(lost: LostFace) -> None:
    lost.ease(0)
    jaws = [_jaw(lost.follow(OTHER, _ns(t))) for t in np.linspace(0, RETURN_S, 9)]
    assert jaws[0] == pytest.approx(0.8, abs=1e-6)
    assert jaws[-1] == pytest.approx(0.1, abs=1e-6)
    assert (np.diff(jaws) <= 0).all()


def test_a_neutral_that_is_still_being_found_holds_nothing_up(lost: LostFace) -> None:
    for t in np.linspace(0, RETURN_S, 9):
        lost.ease(_ns(t))
        shown = lost.follow(OTHER, _ns(t))
    assert _same(shown, OTHER)


def test_a_face_lost_again_while_it_comes_back_holds_what_was_shown(lost: LostFace) -> None:
    lost.missing(REST, 0)
    lost.missing(REST, _ns(2.0))
    shown = lost.follow(MOVED, _ns(2.1))
    shown = lost.follow(MOVED, _ns(2.1 + RETURN_S / 2))
    assert 0 < _jaw(shown) < 0.8
    assert _same(lost.missing(REST, _ns(2.4)), shown)
    assert lost.state == "holding"


def test_standby_by_key_rests_at_once(lost: LostFace) -> None:
    assert _same(lost.missing(REST, 0, at_once=True), REST)
    assert lost.state == "standby"


def test_another_portrait_never_gets_the_first_ones_points(lost: LostFace) -> None:
    lost.portrait_changed()
    assert _same(lost.missing(REST, 0), REST)
    lost.portrait_changed()
    assert _same(lost.follow(OTHER, _ns(0.1)), OTHER)


def test_the_card_is_darker_than_the_picture() -> None:
    card = np.full((120, 160, 3), 200, np.uint8)
    LostFace.draw_card(card)
    assert (card[:90] == 120).all()
    assert card.max() > 220, "the sign"


def test_every_grey_level_is_dimmed_to_three_fifths() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
    card = np.tile(ramp, (100, 1, 1))
    LostFace.draw_card(card)
    assert (card[:80] == ramp.astype(int) * 3 // 5).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (16, 16)], ids=str)
def test_the_card_takes_small_pictures(size: tuple[int, int]) -> None:
    card = np.full((*size, 3), 100, np.uint8)
    LostFace.draw_card(card)
    assert card[0, 0].tolist() in ([60] * 3, [235] * 3)
