"""The one text of a result, whole: a reader sees exactly this."""

from __future__ import annotations

import dataclasses

import pytest

from lab.finding import Finding, Kind, Outcome, Result, Shrinkage, Verdict
from lab.report.style import PLAIN, Style, columns
from lab.report.terminal import again, render
from lab.search.schedule import Schedule
from lab.search.token import Origin, Source, Token
from lab.trace import Action
from tests.detect.events import in_order, step

ZOMBIE = Finding(
    Kind.ZOMBIE,
    "P1",
    "P1 exited after 0.03 s and stayed a zombie for 0.20 s; its parent P0 never waited for it.",
    processes=("P0", "P1"),
    advice="Let P0 call waitpid, or ignore SIGCHLD.",
    details=("P1: python -c pass",),
)
LEAK = Finding(Kind.LEAK, "/jobs", "The queue /jobs stayed behind.", subject="posix-mq")
FAILED = Result(
    scenario="signal.never_waits",
    mode="observed",
    verdict=Verdict.FAILED,
    runs=20,
    seconds=6.12,
    findings=(ZOMBIE,),
    seen_in=(20,),
    isolation="namespaces",
    parameters=(("delay", "0.2"),),
)


def test_the_report_of_a_failure() -> None:
    assert render(FAILED) == (
        "✗ ZOMBIE  signal.never_waits                               failed, 20 of 20 runs\n"
        "  P1 exited after 0.03 s and stayed a zombie for 0.20 s; its parent P0 never\n"
        "  waited for it.\n"
        "    P1: python -c pass\n"
        "  → Let P0 call waitpid, or ignore SIGCHLD.\n"
        "  20 runs in 6.1 s, observed, isolation by namespaces; delay=0.2"
    )


def test_each_finding_has_its_heading_with_its_own_share_of_the_runs() -> None:
    text = render(dataclasses.replace(FAILED, findings=(ZOMBIE, LEAK), seen_in=(20, 3)))
    headings = [line for line in text.splitlines() if line.startswith("✗")]
    assert [line.split("  ")[0] for line in headings] == ["✗ ZOMBIE", "✗ LEAK posix-mq"]
    assert headings[1].endswith("failed, 3 of 20 runs")
    assert all(len(line) == 80 for line in headings)


def test_the_outcome_table_says_what_is_forbidden() -> None:
    outcomes = (Outcome("15", 487, allowed=True), Outcome("14", 13, allowed=False))
    table = render(dataclasses.replace(FAILED, outcomes=outcomes)).splitlines()[-4:-1]
    assert table == [
        "  RESULT  RUNS   SHARE  EXPECT",
        "  15       487   97.4%  allowed",
        "  14        13    2.6%  FORBIDDEN",
    ]


def test_the_report_of_a_pass_states_its_scope() -> None:
    passed = Result(
        "counter.guarded", "observed", Verdict.PASSED, 1, 0.04, reason="Other orders are possible."
    )
    assert render(passed) == (
        "✓ PASSED  counter.guarded                                    no finding in 1 run\n"
        "  Other orders are possible.\n"
        "  1 run in 0.04 s, observed"
    )


@pytest.mark.parametrize("verdict", [Verdict.VACUOUS, Verdict.ERROR])
def test_the_report_of_no_decision_says_why_and_never_ticks(verdict: Verdict) -> None:
    text = render(Result("a.b", "observed", verdict, 3, 1.0, reason="ptrace was refused"))
    assert text.startswith(f"? {verdict.upper()}  a.b")
    assert text.splitlines()[0].endswith("undecided")
    assert "ptrace was refused" in text
    assert PLAIN.good not in text


def test_nothing_of_a_program_reaches_the_terminal_unescaped() -> None:
    hostile = "\x1b\x9b\u202e\r"
    finding = Finding(
        Kind.LEAK, hostile, hostile, subject=hostile, advice=hostile, details=(hostile,)
    )
    result = dataclasses.replace(
        FAILED,
        scenario=hostile,
        findings=(finding,),
        seen_in=(1,),
        notes=(hostile,),
        output=f"{hostile}\ntwo{hostile}",
        outcomes=(Outcome(hostile, 20, allowed=False),),
        parameters=(("delay", hostile),),
    )
    text = render(result)
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count("\\u202e") == 10


def test_a_megabyte_of_output_is_shown_by_its_end() -> None:
    output = "\n".join(f"line {number}\twith a tab" for number in range(50_000))
    lines = render(dataclasses.replace(FAILED, output=output)).splitlines()
    assert "  It printed (the last 12 of 50000 lines):" in lines
    assert "  │ line 49999      with a tab" in lines
    assert len(lines) < 25


def test_output_without_failure_is_not_shown() -> None:
    passed = Result("a.b", "observed", Verdict.PASSED, 1, 0.1, output="all is well")
    assert "all is well" not in render(passed)


def test_many_details_are_cut_and_the_report_says_so() -> None:
    details = tuple(f"message {number}" for number in range(100))
    finding = dataclasses.replace(ZOMBIE, details=details)
    lines = render(dataclasses.replace(FAILED, findings=(finding,))).splitlines()
    assert "    message 10" in lines
    assert "    message 11" not in lines
    assert "    (shown 11 of 100; the JSON has them all)" in lines


def test_no_line_is_longer_than_80_columns() -> None:
    long = "a command with many words " * 20
    finding = dataclasses.replace(
        ZOMBIE, summary=long, details=(long,), advice=long + "unbreakable" * 20
    )
    result = dataclasses.replace(
        FAILED,
        scenario=long,
        findings=(finding,),
        notes=(long,),
        output=long,
        outcomes=(Outcome(long, 20, allowed=True),),
    )
    assert max(columns(line) for line in render(result).splitlines()) == 80


def test_colour_changes_no_letter() -> None:
    coloured = render(FAILED, Style(colour=True))
    assert coloured.startswith("\x1b[31;1m✗ ZOMBIE\x1b[0m")
    for code in ("\x1b[31;1m", "\x1b[1m", "\x1b[2m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == render(FAILED)


def test_ascii_style_gives_ascii() -> None:
    assert render(FAILED, Style(unicode=False)).isascii()


# --- Under control -------------------------------------------------------------------------

TOKEN = str(
    Token(Origin(Source.SCENARIO, ("signal.never_waits",)), Schedule(((1, "P1"),)), max_steps=9)
)
CONTROLLED = dataclasses.replace(
    FAILED,
    mode="controlled",
    search="random, seed 0",
    findings=(
        dataclasses.replace(
            ZOMBIE,
            schedule=TOKEN,
            key_steps=(0, 1),
            steps=in_order(step("P1", Action.EXIT, "P1"), step("P0", Action.EXIT, "P0")),
        ),
    ),
)


def test_a_controlled_failure_shows_its_steps_and_how_to_see_it_again() -> None:
    lines = render(CONTROLLED).splitlines()

    assert lines[3:6] == [
        "    step │ P0                              │ P1",
        "       0 │                                 │ exit P1",
        "  !    1 │ exit P0                         │",
    ]
    assert f"  Replay: lab replay {TOKEN}" in lines
    assert "  20 runs in 6.1 s, controlled (random, seed 0), isolation by namespaces;" in lines


@pytest.mark.parametrize(
    ("shrunk", "told"),
    [
        (
            Shrinkage(41, 1, 1, 23, complete=True),
            "Shrunk from 41 choices out of turn to 1 (1 preemption) in 23 further runs",
        ),
        (
            Shrinkage(2, 0, 0, 1, complete=True),
            "It happens in the default order; found with 2 choices out of turn",
        ),
        (
            Shrinkage(3, 3, 2, 9, complete=False),
            "(2 preemptions); 9 further runs found nothing simpler, and more were not allowed",
        ),
    ],
)
def test_it_says_how_far_a_schedule_was_shrunk(shrunk: Shrinkage, told: str) -> None:
    finding = dataclasses.replace(CONTROLLED.findings[0], shrunk=shrunk)
    text = render(dataclasses.replace(CONTROLLED, findings=(finding,)))

    assert told in " ".join(text.split())


def test_what_one_run_shows_is_replayed_by_one_token() -> None:
    (finding,) = CONTROLLED.findings
    both = (finding, dataclasses.replace(LEAK, schedule=TOKEN))
    text = render(dataclasses.replace(CONTROLLED, findings=both, seen_in=(20, 20)))

    assert text.count(TOKEN) == 1
    assert "  Replay: the same run shows this too" in text


@pytest.mark.parametrize(
    ("source", "name", "how"),
    [
        (Source.SCENARIO, "counter.unguarded", "lab replay {}"),
        (Source.FUNCTION, "tests.test_shop:open", "lab replay {}"),
        (Source.FUNCTION, "tests.test_shop:test.<locals>.body", 'lab.replay("{}")'),
        (Source.FUNCTION, "__main__:body", 'lab.replay("{}")'),
        (Source.TEST, "tests/test_shop.py::test", '@pytest.mark.race(replay="{}")'),
    ],
)
def test_it_is_told_how_to_show_a_run_again(source: Source, name: str, how: str) -> None:
    token = str(Token(Origin(source, (name,)), Schedule(), max_steps=9))

    assert again(token) == how.format(token)


def test_a_schedule_that_is_no_token_is_shown_escaped() -> None:
    assert again("\x1b") == "\\x1b"


def test_a_traceback_is_not_printed_twice() -> None:
    failed = dataclasses.replace(
        LEAK, kind=Kind.INVARIANT, details=("Traceback:", "  line 7", "AssertionError")
    )
    result = dataclasses.replace(CONTROLLED, findings=(failed,), seen_in=(1,))

    once = render(dataclasses.replace(result, output="Traceback:\n  line 7\nAssertionError\n"))
    with_more = render(dataclasses.replace(result, output="hello\nTraceback:\n"))

    assert once.count("line 7") == 1
    assert "It printed" not in once
    assert "It printed" in with_more
