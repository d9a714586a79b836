"""The page in a real browser: Debian's Chromium, driven by Playwright, without any network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.report.html import page
from lab.report.story import Story
from tests.report.html.pages import beside, long_and_evil
from tests.report.samples import KNOWN

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium in PATH; on Debian: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield started
        started.close()


class Opened:
    """A page in the browser, and what went wrong in it."""

    def __init__(self, browser: Any, folder: Path, stories: list[Story], **look: Any) -> None:
        self.page = browser.new_page(**look)
        self.page.set_default_timeout(20_000)
        self.troubles: list[str] = []
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", self._asked)
        file = folder / "report.html"
        file.write_text(page(stories, sources={"scenarios/counter.py": {164: "counter += 1"}}))
        self.page.goto(file.as_uri())

    def _asked(self, request: Any) -> None:
        if not request.url.startswith("file:"):
            self.troubles.append(f"asked for {request.url}")

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))


def test_a_known_finding_looks_like_no_failure(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path, [KNOWN])
    assert opened.text("h1").startswith("~")
    assert "Known: the baseline has it, so it is no failure." in opened.text("main")
    assert opened.troubles == []


def test_a_reader_sees_the_verdict_and_steps_through_bug_and_fix(
    browser: Any, tmp_path: Path
) -> None:
    opened = Opened(browser, tmp_path, [beside()], viewport={"width": 1280, "height": 900})
    assert "Lost update" in opened.text("h1")
    first = ".run:first-child .step"
    # It begins where the damage is done, with its source, and the fix at the same step.
    assert "step 8 P1 write /n = 5" in opened.text(first)
    assert "counter += 1" in opened.text(first)
    assert "P1 write /n = 5" in opened.text(".run:last-child .step")
    opened.page.keyboard.press("ArrowLeft")
    assert "step 7 P2 write /n = 5" in opened.text(first)
    opened.page.click("#on")
    opened.page.click("#on")
    assert "step 9 P1 exits" in opened.text(first)
    opened.page.keyboard.press("Home")
    opened.page.keyboard.press("n")
    assert "step 4 P1 read /n -> 4" in opened.text(first)
    # The step that touches nothing shared is there when all are asked for.
    opened.page.keyboard.press("ArrowLeft")
    assert "step 3 P1 begins" in opened.text(first)
    opened.page.keyboard.press("a")
    opened.page.keyboard.press("ArrowLeft")
    assert "step 2 P0 close pipe:1" in opened.text(first)
    opened.page.keyboard.press("t")
    assert opened.page.get_attribute("#time", "aria-pressed") == "true"
    assert "500 ms" in str(opened.page.text_content(".run:first-child svg.lanes"))
    opened.page.keyboard.press("t")
    opened.page.keyboard.press("f")
    # A click on a mark goes there, as does one on a line of the list.
    opened.page.click('.run:first-child .mark[data-i="8"]')
    assert "does the damage" in opened.text(first)
    opened.page.fill("#search", "p2 write")
    assert opened.text(".count") == "1 step"
    opened.page.click('.list [data-i="7"]')
    assert "step 7" in opened.text(first)
    assert opened.troubles == []


def test_20_000_steps_open_at_once_and_nothing_that_a_program_says_is_run(
    browser: Any, tmp_path: Path
) -> None:
    opened = Opened(
        browser, tmp_path, [long_and_evil(20_000)], viewport={"width": 900, "height": 700}
    )
    assert "shown 300 of 20,000" in opened.text(".count")
    opened.page.keyboard.press("f")  # the whole run
    opened.page.wait_for_function(
        "document.querySelector('.shown').textContent.includes(' of 20,000')"
    )
    # Zoomed out as far as this, what is drawn depends on the window and not on the run.
    assert opened.page.evaluate("document.querySelectorAll('svg.lanes *').length") < 2000
    opened.page.keyboard.press("ArrowRight")
    assert opened.page.evaluate("typeof window.injected") == "undefined"
    assert opened.page.evaluate("document.images.length") == 0
    assert opened.troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_by_day_and_by_night(browser: Any, tmp_path: Path, scheme: str) -> None:
    look = {"viewport": {"width": 400, "height": 800}, "color_scheme": scheme}
    opened = Opened(browser, tmp_path, [beside()], **look)
    wide = "document.documentElement.scrollWidth"
    assert opened.page.evaluate(wide) == 400  # nothing sticks out
    colour = "getComputedStyle(document.body).backgroundColor"
    before = opened.page.evaluate(colour)
    opened.page.click("#theme")
    assert (opened.page.evaluate(colour) == before) is False
    assert opened.troubles == []
