"""The page of `freshet demo` in a real Chromium, while the demo runs."""

import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from models.behavior import Behavior
from stream.demo import TRAINED_SHARE
from stream.page_server import PageServer
from stream.simulation import SimulationConfig, simulate
from tests.support.browser import Browser, Theme, axe_source
from tests.support.documents import missing, samples
from tests.support.kafka_broker import PROJECT
from tests.support.live import Shop
from tests.support.recommenders import small_recommender
from tests.support.worker_process import FRESHET, eventually, read_metrics

EVENTS = 5_000
RATE = 8  # a second, so that the last fifth lasts longer than the tests
HOSTILE_USER = "<img src=x onerror=document.title=1>"
HOSTILE_ITEM = "<b onclick='x'>&amp;"
WIDTHS_PX = (360, 1440)
THEMES: tuple[Theme, ...] = ("light", "dark")
SHOTS = PROJECT / "build" / "screenshots"
TUTORIAL = PROJECT / "docs" / "tutorial.md"
TABS_MOST = 20
TRAINED_WITHIN_S = 150  # seconds where nothing else runs
MINUS = "\N{MINUS SIGN}"
NO_FIGURE = "\N{EN DASH}"


class Demo(NamedTuple):
    """A running demo: where its page is, and what its process wrote."""

    url: str
    log: Path


def write_events(file: Path) -> None:
    """Write a file in which the first user to be fed, and the item of that event, have hostile ids."""
    events = simulate(SimulationConfig(events=EVENTS, users=150, items=400, seed=3)).events
    first = events.row(int(EVENTS * TRAINED_SHARE), named=True)
    for column, hostile in (("user_id", HOSTILE_USER), ("item_id", HOSTILE_ITEM)):
        events = events.with_columns(pl.col(column).replace(first[column], hostile))
    words = {int(behavior): behavior.name.lower() for behavior in Behavior}
    events.with_columns(pl.col("behavior").replace_strict(words, return_dtype=pl.String)).write_csv(file)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all of these tests."""
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def demo(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo as its command starts it, once there is a browser to look at it with."""
    folder = tmp_path_factory.mktemp("demo")
    data, log = folder / "events.csv", folder / "demo.log"
    write_events(data)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*FRESHET, "demo", "--data", str(data), "--rate", str(RATE)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        first = eventually(lambda: log.read_text().partition("\n")[1] and log.read_text(), "the demo speaks")
        url = re.match(r"live page: (\S+)\n", first)
        assert url is not None, first
        yield Demo(url[1], log)
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@pytest.fixture
def page(browser: Browser, demo: Demo) -> Iterator[Browser]:
    """The page with a user shown; whatever the test did, the console stays empty."""
    browser.look(1440, "light")
    browser.driver.get(demo.url)
    eventually(lambda: browser.text("#segment tbody"), "a user's segment is shown", within_s=TRAINED_WITHIN_S)
    yield browser
    assert browser.complaints() == []


def in_focus(page: Browser) -> str:
    """Return the id of the element that has the keyboard."""
    return str(page.driver.execute_script("return document.activeElement.id"))


def press(page: Browser, *keys: str) -> None:
    """Press keys, one after the other, wherever the focus is."""
    from selenium.webdriver import ActionChains

    ActionChains(page.driver).send_keys(*keys).perform()


def tab_to(page: Browser, element_id: str) -> None:
    """Go to an element with the Tab key alone."""
    from selenium.webdriver import Keys

    for _ in range(TABS_MOST):
        if in_focus(page) == element_id:
            return
        press(page, Keys.TAB)
    pytest.fail(f"{TABS_MOST} times Tab do not lead to #{element_id}")


#: Whether the list on the page is the same element a second later: one that comes replaces it.
STANDS_STILL = """
const done = arguments[0], first = () => document.querySelector("#list > li"), before = first();
setTimeout(() => done(before !== null && before === first()), 1000);
"""

#: The user of the oldest event shown, read at once: rows are replaced each second.
OLDEST_USER = "return [...document.querySelectorAll('#events tbody td:first-child')].at(-1).textContent"


def pause(page: Browser) -> None:
    """Hold the page by keyboard; what was asked for before may still come, so wait until nothing does."""
    from selenium.webdriver import Keys

    page.driver.execute_script("document.getElementById('pause').focus()")
    press(page, Keys.SPACE)
    eventually(lambda: page.driver.execute_async_script(STANDS_STILL), "the page stands still")


def choose(page: Browser, user_id: str) -> None:
    """Choose a user by keyboard."""
    from selenium.webdriver import Keys

    tab_to(page, "user-id")
    page.driver.execute_script("document.activeElement.select()")
    press(page, user_id, Keys.ENTER)


def test_the_figures_are_those_of_the_metrics(page: Browser) -> None:
    """The hit rate on the page lies between those of /metrics before and after."""
    eventually(lambda: re.fullmatch(r"0\.\d{3}", page.text("#hit-rate .number")), "a hit rate")
    link = page.driver.find_element("css selector", "#metrics").get_attribute("href")

    def metrics() -> tuple[float, float]:
        with urllib.request.urlopen(str(link), timeout=10) as answer:
            series = read_metrics(answer.read().decode())
        return (
            series.total("freshet_prequential_events_total"),
            series.total("freshet_prequential_hits_total", cutoff="20"),
        )

    events, hits = metrics()
    lists = page.text("#rate .beside")
    eventually(lambda: page.text("#rate .beside") != lists, "a later sample")
    shown = float(page.text("#hit-rate .number"))
    later_events, later_hits = metrics()
    assert hits / later_events - 0.001 <= shown <= later_hits / events + 0.001
    assert re.fullmatch(r"popularity 0\.\d{3}", page.text("#hit-rate .beside"))
    assert re.search(r"Weights in force: \d{8}T\d{6}Z-[0-9a-f]{8}, trained at", page.text("#weights"))


def test_the_terminal_says_what_the_tutorial_shows(page: Browser, demo: Demo) -> None:
    """Of its demo; numbers, users and items apart."""
    (sample,) = (text for typed, text in samples(TUTORIAL).items() if typed.startswith("make demo"))
    eventually(lambda: missing(sample, demo.log.read_text()) == [], "all of it is said")


def test_a_user_is_chosen_and_an_item_explained_by_keyboard(page: Browser) -> None:
    """The segment and the list of the user, and for the item its parts and what carried it."""
    from selenium.webdriver import Keys

    user = str(page.driver.execute_script(OLDEST_USER))
    choose(page, user)
    eventually(lambda: page.text("#segment-title") == f"Segment of {user}", "the user is shown")
    pause(page)
    assert page.text("#list-title") == f"List of {user}"
    assert len(page.driver.find_elements("css selector", "#list > li")) == 20
    buttons = page.driver.find_elements("css selector", "#list button")
    # One is open: the first, or the one that was open in the list before.
    assert sorted(button.get_attribute("aria-expanded") for button in buttons) == ["false"] * 19 + ["true"]
    if buttons[1].get_attribute("aria-expanded") == "false":
        page.driver.execute_script("arguments[0].focus()", buttons[1])
        press(page, Keys.ENTER)
    assert buttons[1].get_attribute("aria-expanded") == "true"
    assert page.text("#carried") == page.text("#list > li:nth-child(2) .id")
    parts = page.driver.find_elements("css selector", "#list > li:nth-child(2) dd")
    values = [float(part.text.replace(MINUS, "-")) for part in parts]
    assert sum(values) == pytest.approx(float(page.text("#list > li:nth-child(2) .score")), abs=0.03)
    carries = page.driver.find_elements("css selector", "#segment td .bar")
    assert any(float(one.text.replace(MINUS, "-")) for one in carries)


def test_ids_are_text_and_never_markup(page: Browser) -> None:
    """The ids of a user and of an item in the user's segment would run a script if they were."""
    choose(page, HOSTILE_USER)
    eventually(lambda: page.text("#segment-title") == f"Segment of {HOSTILE_USER}", "the user is shown")
    everything = page.driver.find_element("css selector", "body").text
    assert HOSTILE_USER in everything
    assert HOSTILE_ITEM in everything
    assert page.driver.find_elements("css selector", "body img, body b[onclick]") == []
    assert page.driver.title == "freshet, live"


def test_a_user_without_a_list_is_told(page: Browser) -> None:
    """In words, beside the field."""
    choose(page, "nobody")
    eventually(lambda: page.text("#user-note") == "The worker holds no list of nobody.", "it is said")


def test_a_paused_page_stands_still(page: Browser) -> None:
    """Everything that moves can be held by keyboard, and goes on afterwards."""
    from selenium.webdriver import Keys

    eventually(lambda: page.text("#rate .beside") != NO_FIGURE, "lists are counted")
    pause(page)
    held = page.text("main")
    page.driver.execute_async_script("setTimeout(arguments[0], 2000)")
    assert page.text("main") == held
    press(page, Keys.SPACE)
    eventually(lambda: page.text("main") != held, "the page goes on")


def test_it_can_be_read_at_every_width_and_in_both_themes(page: Browser) -> None:
    """Nothing reaches beyond the width; the newest screenshots are kept, outside git."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    eventually(lambda: page.number("document.querySelectorAll('polyline').length") >= 6, "curves are drawn")
    for theme in THEMES:
        for width_px in WIDTHS_PX:
            page.look(width_px, theme)
            assert page.number("innerWidth") == width_px
            assert page.number("document.documentElement.scrollWidth") <= width_px
            page.screenshot(SHOTS / f"{theme}-{width_px}.png")


def test_a_hand_over_is_a_mark_on_every_curve(browser: Browser) -> None:
    """At the first weights and where others came in force, which are named."""
    shop = Shop()
    shop.begin()
    browser.look(1440, "light")
    with PageServer(shop.live) as server:
        browser.driver.get(server.url)
        for seed in (0, 7):
            shop.serve(small_recommender(seed=seed, blended=True))
            shop.run(("u", "i1"), ("v", "i2"))
            shop.sample()
        eventually(lambda: browser.number("document.querySelectorAll('line.mark').length") == 8, "marks")
        assert re.match(
            r"Weights in force: gru-7, trained at .*; handed over at 0:\d\d$", browser.text("#weights")
        )
        assert browser.complaints() == []


def test_axe_finds_nothing(page: Browser, tmp_path: Path) -> None:
    """At both widths, in both themes."""
    axe = axe_source(tmp_path)
    for theme in THEMES:
        for width_px in WIDTHS_PX:
            page.look(width_px, theme)
            assert page.violations(axe) == [], (theme, width_px)


def test_the_end_of_the_demo_is_told(page: Browser) -> None:
    """Where nothing answers any more, the last figures stay and the page says so."""
    eventually(lambda: page.text("#hit-rate .number") != NO_FIGURE, "figures are shown")
    figure = page.text("#hit-rate .number")
    page.offline(offline=True)
    try:
        eventually(lambda: "The demo has ended" in page.text("#status"), "the end is told")
        assert page.text("#hit-rate .number") == figure != NO_FIGURE
    finally:
        page.offline(offline=False)
    # The browser itself notes that it reached nobody.
    assert all("ERR_INTERNET_DISCONNECTED" in one for one in page.complaints())
