"""The page as text: what it holds, and what nothing that a program says can make of it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from typing import Any

import pytest

from lab.finding import Finding, Kind, Result, Verdict
from lab.report.html import page, render
from lab.report.html.gallery import Card, index
from lab.report.html.story import align, story_object
from lab.report.pictures import pictured
from lab.report.story import Report, Story
from tests.detect.events import in_order, read, write
from tests.report.html.pages import EVIL, beside, long_and_evil
from tests.report.samples import GONE, KNOWN, PARTLY_KNOWN


def _data(text: str) -> Any:
    (block,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL
    )
    return json.loads(block)


def test_it_holds_the_finding_with_its_steps_and_the_fix_beside_it() -> None:
    (story,) = _data(page([beside()]))["stories"]
    bug, fix = story["views"][0]["runs"]
    assert (bug["role"], fix["role"]) == ("bug", "fix")
    assert bug["steps"][8] | {"time": 0} == {
        "step": 8,
        "process": "P1",
        "call": "store",
        "object": "posix-shm:/n",
        "where": "scenarios/counter.py:164",
        "time": 0,
    }
    assert story["result"]["outcomes"][0] == {"result": "14 of 15", "runs": 97, "allowed": False}
    assert story["result"]["findings"][0]["replay"] == "token"


def test_the_script_that_runs_is_the_one_whose_hash_is_allowed_and_no_connection_is() -> None:
    text = page([beside()])
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert policy
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]


def test_nothing_is_loaded_from_anywhere() -> None:
    text = page([beside()])
    assert not re.search(r"""(src|href)=|url\(|@import|fetch\(|XMLHttpRequest""", text)
    assert set(re.findall(r"https?://[^\"'\s]*", text)) == {"http://www.w3.org/2000/svg"}


def test_what_a_program_says_stays_data() -> None:
    text = page([long_and_evil(20)])
    assert text.count("<script") == text.count("</script") == 2  # the page's own
    assert "<img" not in text
    assert _data(text)["stories"][0]["result"]["scenario"] == EVIL


def test_a_finding_of_a_free_run_is_told_though_it_has_no_steps() -> None:
    finding = Finding(Kind.LEAK, "/q", "It was left.")
    story = Story(Result("x", "observed", Verdict.FAILED, 1, 0.1, (finding,), (1,)))
    (view,) = story_object(story)["views"]
    assert (view["finding"], view["runs"]) == (0, [])


def test_what_is_known_and_what_is_gone_are_told() -> None:
    text = render(Report((KNOWN, PARTLY_KNOWN), gone=GONE))
    known, partly = _data(text)["stories"]
    assert (known["known"], partly["known"]) == (True, False)
    assert [each["known"] for each in partly["result"]["findings"]] == [True, False]
    assert _data(text)["absences"] == ["gone: leak posix-shm of /jobs in counter.guarded"]
    assert "known: lost-update of /counter" in text.partition("<script")[0]


def test_bytes_that_are_no_text_become_text() -> None:
    result = Result("\udcff", "observed", Verdict.PASSED, 1, 0.1)
    page([Story(result)]).encode()


def test_a_fix_that_fails_too_is_no_good_one() -> None:
    story = beside()
    bad = dataclasses.replace(story.led[0], result=dataclasses.replace(story.result, scenario="x"))
    (view,) = story_object(dataclasses.replace(story, led=(bad,)))["views"]
    assert view["runs"][1]["verdict"] == "failed"
    assert view["runs"][1]["note"] == (
        "failed along the same schedule: P1 read 4 at step 4 and wrote 5 at step 8."
    )
    drawn = pictured(dataclasses.replace(story, led=(bad,)))
    assert "✗ x: failed along the same schedule" in drawn
    assert "✓" not in drawn


def test_what_is_not_as_declared_is_told() -> None:
    story = dataclasses.replace(beside(), differences=("x: expected no finding",))
    assert _data(page([story]))["stories"][0]["differences"] == ["x: expected no finding"]


def test_without_a_script_the_text_report_is_there() -> None:
    assert re.search(r"<noscript><pre>[^<]*LOST UPDATE", page([beside()]))


def test_the_fix_is_shown_at_the_same_step_of_the_same_process() -> None:
    bug = in_order(read("P1", 0), read("P2", 0), write("P2", 0, 1), write("P1", 1, 1))
    fix = in_order(read("P1", 0), write("P1", 0, 1), read("P2", 1), write("P2", 1, 2))
    assert align(bug, fix) == [0, 2, 3, 1]
    assert align(bug, fix[:2]) == [0, 0, 0, 1]


@pytest.mark.parametrize("picture", ["", "pictures/x.svg"])
def test_the_index_leads_to_each_page_and_escapes_what_it_shows(picture: str) -> None:
    story = Story(beside().result, led=beside().led, summary=f"`open` hangs {EVIL}")
    text = index([Card("counter", story, "counter.bug.html", picture)])
    assert 'href="counter.bug.html"' in text
    assert (f'src="{picture}"' in text) is bool(picture)
    assert "<code>open</code>" in text
    assert "<script" not in text
    assert "1 of 1 were caught, and 1 of 1 fix held" in text
