"""The page in Chromium, opened as a file: it sorts, plays in step, and asks for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mimicam.engine.results_page.collect import Result, collect
from mimicam.engine.results_page.page import write_page
from tests.results_page.material import job, write_h264, write_record
from tests.videos import grey, write_video
from tests.web.browser import browser_with

TIMES = "videos => videos.map(video => video.currentTime)"
TOLERANCE_S = 0.11
"""One frame at 10 frames/s, and what a clock is read later."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("page")
    source = write_h264(folder / "source.mp4", frames=30)
    driver = write_h264(folder / "driver.mp4", frames=10, level=10)
    long, short = (write_h264(folder / f"{name}.mp4", frames=30) for name in ("first", "second"))
    write_record(
        folder,
        job(1, source=str(source), driver=str(driver), out=str(long), changed=30, covered={"mouth": 9}),
        job(2, source=str(source), out=str(short), changed=4, covered={"mouth": 12, "eyes": 2}),
    )
    old = Result(path=write_video(folder / "old.mp4", [grey(9)] * 3), kind="edited", source=source)
    write_page([*collect(folder), old], folder / "report.html", title="x")
    with browser_with(folder / "none.y4m") as browser:
        opened = browser.new_page(viewport={"width": 390, "height": 800}, reduced_motion="reduce")
        opened.complaints, opened.asked = [], []
        opened.on("console", lambda message: opened.complaints.append(message.text))
        opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.on("request", lambda request: opened.asked.append(request.url))
        opened.goto((folder / "report.html").as_uri())
        yield opened


def _wait(page: Any, condition: str) -> None:
    """Wait for a condition. The page's policy forbids the way that Playwright has for this."""
    for _ in range(500):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"it never came true: {condition}")


def _card(page: Any, name: str) -> Any:
    return page.locator(".card", has=page.get_by_role("heading", name=name))


@pytest.mark.parametrize(
    ("heading", "least"),
    [("Mouth covered", "first.mp4"), ("Eyes covered", "first.mp4"), ("Changed", "second.mp4")],
)
def test_a_press_on_a_heading_sorts_the_table_and_the_results(page: Any, heading: str, least: str) -> None:
    rising = sorted(["first.mp4", "second.mp4"], key=lambda name: name != least)
    for order in (rising, rising[::-1]):
        page.get_by_role("button", name=heading).press("Enter")
        rows = page.locator("#sorted tbody th").all_inner_texts()
        assert rows == [*order, "old.mp4"], "what is not known comes last both ways"
        assert page.locator("h3").all_inner_texts() == rows


def test_the_videos_of_a_result_play_stop_and_seek_together(page: Any) -> None:
    card = _card(page, "first.mp4")
    card.get_by_role("button", name="Play first.mp4").press("Space")
    _wait(page, "document.querySelector('[data-role=Driver]').currentTime > 0.2")
    card.get_by_role("button", name="Pause first.mp4").press("Space")
    _wait(page, "[...document.querySelectorAll('video')].every(video => video.paused && !video.seeking)")
    times = card.locator("video").evaluate_all(TIMES)
    assert len(times) == 3
    ends = card.locator("video").evaluate_all("videos => videos.map(video => video.duration)")
    # On a busy machine the press may come late: by then the shorter driver stays at its end.
    wanted = [min(max(times), end) for end in ends]
    assert times == pytest.approx(wanted, abs=TOLERANCE_S)
    card.get_by_role("slider").fill("2")
    _wait(page, "[...document.querySelectorAll('video')].every(video => !video.seeking)")
    source, driver, result = card.locator("video").evaluate_all(TIMES)
    assert (source, result) == pytest.approx((2, 2), abs=0.01)
    assert driver == pytest.approx(1.0, abs=TOLERANCE_S), "a shorter driver stays at its end"


def test_a_format_that_the_browser_lacks_leads_to_the_file_and_the_rest_plays(page: Any) -> None:
    card = _card(page, "old.mp4")
    card.scroll_into_view_if_needed()
    card.get_by_text("cannot play this format").wait_for()
    assert card.get_by_role("link", name="open the file").get_attribute("href") == "old.mp4"
    card.get_by_role("button", name="Play old.mp4").click()
    _wait(page, "document.querySelector('#card-3 video').currentTime > 0.1")
    card.get_by_role("button", name="Pause old.mp4").click()
    assert card.locator("video").evaluate_all("videos => videos.map(video => video.paused)") == [True]


def test_a_shorter_driver_stays_at_its_end_while_the_others_play(page: Any) -> None:
    card = _card(page, "first.mp4")
    card.get_by_role("slider").fill("1.5")
    card.get_by_role("button", name="Play first.mp4").click()
    _wait(page, "document.querySelector('#card-1 [data-role=Result]').currentTime > 1.8")
    card.get_by_role("button", name="Pause first.mp4").click()
    assert card.locator("video").evaluate_all(TIMES)[1] == pytest.approx(1.0, abs=TOLERANCE_S)


def test_the_sound_is_the_results_and_can_be_switched_off(page: Any) -> None:
    card = _card(page, "first.mp4")
    muted = "videos => videos.map(video => video.muted)"
    assert card.locator("video").evaluate_all(muted) == [True, True, False]
    card.get_by_role("button", name="Sound").click()
    assert card.locator("video").evaluate_all(muted) == [True, True, True]
    assert card.get_by_role("button", name="Sound").get_attribute("aria-pressed") == "false"


def test_a_phone_shows_it_without_scrolling_sideways(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_is_asked_of_a_network_and_nothing_fails(page: Any) -> None:
    assert page.complaints == []
    assert all(address.startswith("file:") for address in page.asked)
