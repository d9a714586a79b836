"""Markdown: a table, the bad first, and no markup by a program under test."""

from __future__ import annotations

import re

from hypothesis import given

from lab.report.markdown import inline, render
from lab.report.story import Report
from tests.report.reports import FEW, reports, texts
from tests.report.samples import ALL, FAILED, GONE, KNOWN, PARTLY_KNOWN, PASSED


def test_what_is_bad_comes_first_and_is_told_in_full() -> None:
    text = render(Report((PASSED, FAILED)))
    assert text.startswith("## race-lab: 1 failed, of 2\n")
    assert text.index("| ✗ | counter.unguarded | failed | 5 | lost-update |") < text.index(
        "| ✓ | counter.guarded | passed | 5 |  |"
    )
    assert "✗ LOST UPDATE" in text
    assert text.count("```") == 2  # the good one needs no more than its row


def test_the_heading_counts_what_is_undecided_apart() -> None:
    assert render(ALL).startswith("## race-lab: 4 failed, 3 undecided, 2 known, 1 skipped, of 12\n")
    assert render(Report((PASSED,))).startswith("## race-lab: all good, of 1\n")


def test_what_is_known_and_what_is_gone_are_lines_and_no_failure() -> None:
    text = render(Report((KNOWN,), gone=GONE))
    assert text.startswith("## race-lab: 1 known, of 1\n")
    assert "| ~ | counter.unguarded | failed | 5 | lost-update |" in text
    assert r"- known\: lost-update of /counter in counter.unguarded" in text
    assert r"- gone\: leak posix-shm of /jobs in counter.guarded" in text
    assert "✗" not in text


def test_one_that_is_new_is_told_with_what_is_known() -> None:
    text = render(Report((PARTLY_KNOWN,)))
    assert text.startswith("## race-lab: 1 failed, of 1\n")
    _, _, section = text.partition("### ✗")
    assert "LEAK posix-shm" in section
    assert "known: lost-update of /counter" in section


def test_a_report_that_was_stopped_says_so() -> None:
    assert "**Stopped before everything was done:** Ctrl-C" in render(Report((), stopped="Ctrl-C"))


def test_a_long_table_is_cut_with_a_count() -> None:
    text = render(Report((PASSED,) * 250))
    assert text.count("| ✓ |") == 200
    assert "Shown 200 of 250." in text


@FEW
@given(texts)
def test_a_text_stays_text(text: str) -> None:
    shown = inline(text)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)[*_\[\]#!]", re.sub(r"&#\d+;", "", shown))
    assert not set(shown) & set("<>|`@")


@FEW
@given(reports)
def test_outside_the_fences_is_no_markup_of_a_program(report: Report) -> None:
    fence, outside, rows = "", [], 0
    for line in render(report).split("\n"):
        if fence:
            fence = "" if line == fence else fence
        elif opened := re.fullmatch("(`{3,})text", line):
            fence = opened[1]
        else:
            outside.append(line)
            rows += line.startswith("|")
    assert not fence
    assert rows == 2 + len(report.stories)
    assert not re.search("[<>`@]", "\n".join(outside))
    assert not [line for line in outside if line.startswith("|") and line.count("|") != 6]
