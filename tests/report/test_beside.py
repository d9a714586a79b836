"""The demo's page: bug and fix side by side, then the table of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.check import Judged, judge
from lab.finding import Finding, Kind, Outcome, Result, Verdict
from lab.report.beside import beside, closing, rule
from lab.report.style import Style, columns
from lab.scenario import declared, scenario

if TYPE_CHECKING:
    from lab.scenario import Body


@scenario(expects=["lost-update"])
def bare() -> None:
    """Increments get lost."""


@scenario(fixes="bare")
def held() -> None:
    """Each writer holds a semaphore from before the read until after the write."""


@scenario(fixes="bare")
def atomic() -> None:
    """One instruction adds."""


LOST = Finding(
    Kind.LOST_UPDATE,
    "updates",
    "9 of 15 updates were lost: the counter ended at 6.",
    advice="Hold a lock.",
    details=("one", "two", "three", "four", "five"),
)


def judged(body: Body, verdict: Verdict, *findings: Finding, reason: str = "") -> Judged:
    found = declared(body)
    assert found
    result = Result(
        found.id,
        "observed",
        verdict,
        3,
        0.5,
        findings=findings,
        seen_in=(2,) * len(findings),
        reason=reason,
        outcomes=() if findings else (Outcome("15 of 15", 3, allowed=True),),
    )
    return judge(found, result)


BUG = judged(bare, Verdict.FAILED, LOST)
FIX = judged(held, Verdict.PASSED)


def test_the_verdicts_face_each_other() -> None:
    assert beside([BUG, FIX]) == (
        "BUG bare                               │ FIX held\n"
        "Increments get lost.                   │ Each writer holds a semaphore from\n"
        "                                       │ before the read until after the write.\n"
        "✗ LOST UPDATE              2 of 3 runs │ ✓ no finding                    3 runs\n"
        "  9 of 15 updates were lost: the       │   15 of 15\n"
        "  counter ended at 6.                  │\n"
        "    one                                │\n"
        "    two                                │\n"
        "    three                              │\n"
        "    and 2 more                         │"
    )


def test_several_fixes_stand_below_each_other() -> None:
    page = beside([BUG, FIX, judged(atomic, Verdict.PASSED)])
    right = [line[41:] for line in page.splitlines()]
    assert right[right.index("FIX atomic") - 1] == ""
    assert right.count("✓ no finding                    3 runs") == 2


def test_a_bug_that_was_not_caught_says_what_was_expected() -> None:
    page = beside([judged(bare, Verdict.PASSED), FIX])
    assert "but expected lost-update" in page


def test_a_fix_that_failed_says_what_was_expected() -> None:
    page = beside([BUG, judged(held, Verdict.FAILED, LOST)])
    assert "│ but expected no finding" in page


def test_what_was_not_decided_says_why_and_gets_no_tick() -> None:
    page = beside([judged(bare, Verdict.ERROR, reason="namespaces were refused")])
    assert "? ERROR" in page
    assert "namespaces were refused" in page
    assert "✓" not in page


def test_the_page_keeps_its_width_and_escapes_what_programs_said() -> None:
    hostile = Finding(Kind.LEAK, "x", "\x1b[2J" * 30, subject="\x1b" * 30, details=("\r" * 50,))
    page = beside([judged(bare, Verdict.FAILED, hostile), FIX])
    assert all(line.isprintable() for line in page.splitlines())
    assert max(columns(line) for line in page.splitlines()) <= 80


def test_colour_does_not_move_the_columns() -> None:
    page = beside([BUG, FIX], Style(colour=True))
    for code in ("\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"):
        page = page.replace(code, "")
    assert page == beside([BUG, FIX])


def test_the_closing_table_counts_the_fixes_that_held() -> None:
    failed = judged(atomic, Verdict.FAILED, LOST)
    table = closing([[BUG, FIX], [judged(bare, Verdict.PASSED), FIX, failed], [FIX], [BUG]])
    rows = [" ".join(line.split()) for line in table.splitlines()[1:]]
    assert rows == [
        "test_beside.bare ✓ lost-update ✓ 1 of 1 held",
        "test_beside.bare ✗ passed ✗ 1 of 2 held",
        "(test_beside.bare was not run) ✓ 1 of 1 held",
        "test_beside.bare ✓ lost-update",
    ]


def test_an_undecided_row_gets_a_question_mark() -> None:
    table = closing([[judged(bare, Verdict.VACUOUS), FIX]])
    assert "? vacuous" in table


def test_a_rule_fills_the_line() -> None:
    assert rule("fifo").startswith("── fifo ───")
    assert columns(rule("fifo")) == 80
