"""Annotations: on the right line, and no command by a program under test."""

from __future__ import annotations

import re

from hypothesis import given

from lab.finding import Finding, Kind, Result, Verdict
from lab.report.github import paused, render, resumed
from lab.report.story import Report, Story
from tests.report.reports import FEW, reports
from tests.report.samples import (
    DECLARED,
    DIFFERS,
    FAILED,
    GONE,
    KNOWN,
    KNOWN_BESIDE,
    PARTLY_KNOWN,
    PASSED,
    SKIPPED,
    UNDECIDED,
    VACUOUS,
)


def test_a_finding_marks_the_line_that_does_the_damage() -> None:
    assert render(Report((FAILED,))) == (
        "::error file=scenarios/counter.py,line=34,title=LOST UPDATE counter.unguarded::"
        "Two processes read 4 and both wrote 5.%0AReplay: 1token%0A"
        "Hold a lock from the read to the write."
    )


def test_a_difference_marks_the_scenario_and_what_is_as_declared_nothing() -> None:
    assert render(Report((DECLARED, PASSED))) == ""
    assert render(Report((DIFFERS,))).startswith(
        "::error file=scenarios/counter.py,line=50,title=counter.guarded::counter.guarded: expected"
    )


def test_what_is_undecided_is_a_warning() -> None:
    lines = render(Report((UNDECIDED, VACUOUS))).splitlines()
    assert [line.split()[0] for line in lines] == ["::warning", "::warning"]


def test_what_was_skipped_is_a_notice() -> None:
    assert render(Report((SKIPPED,))) == (
        "::notice title=redis_lock.late::skipped: it needs a server"
    )


def test_what_is_known_is_a_notice_on_the_same_line() -> None:
    assert render(Report((KNOWN,))).startswith(
        "::notice file=scenarios/counter.py,line=34,title=LOST UPDATE counter.unguarded::"
        "Known: the baseline has it.%0ATwo processes read 4"
    )
    assert render(Report((KNOWN_BESIDE,))) == (
        "::notice file=scenarios/counter.py,line=20,title=counter.unguarded::"
        "known: lost-update of /counter in counter.unguarded"
    )


def test_what_is_new_comes_before_what_is_known_and_gone() -> None:
    lines = render(Report((PARTLY_KNOWN, KNOWN, FAILED), gone=GONE)).splitlines()
    assert [line.split()[0] for line in lines] == ["::error"] * 2 + ["::notice"] * 3
    assert lines[-1].endswith("::gone: leak posix-shm of /jobs in counter.guarded")


def test_of_too_many_notices_none_takes_the_place_of_an_error() -> None:
    lines = render(Report((*(KNOWN,) * 12, FAILED))).splitlines()
    assert [line.split()[0] for line in lines] == ["::error"] + ["::notice"] * 9
    assert lines[-1].endswith("shown 9 of 13; the log has them all")


def test_a_stopped_command_is_an_error() -> None:
    assert render(Report((), stopped="Ctrl-C")) == "::error title=race-lab::stopped: Ctrl-C"


def test_no_more_than_github_shows_and_the_last_says_so() -> None:
    lines = render(Report((FAILED,) * 12)).splitlines()
    assert len(lines) == 10
    assert lines[-1].endswith("shown 9 of 12; the log has them all")


def test_a_name_cannot_end_its_property_nor_a_message_its_line() -> None:
    finding = Finding(Kind.LEAK, "/q", "50% gone\n::error::x\r\x1b[2J")
    result = Result("a,file=b::c%0A", "observed", Verdict.FAILED, 1, 0.1, (finding,), (1,))
    assert render(Report((Story(result),))) == (
        "::error title=LEAK a%2Cfile=b%3A%3Ac%250A::50%25 gone\\n::error::x\\r\\x1b[2J"
    )


def test_between_paused_and_resumed_no_line_of_a_program_is_a_command() -> None:
    assert (paused("secret"), resumed("secret")) == ("::stop-commands::secret", "::secret::")


@FEW
@given(reports)
def test_each_line_is_one_command_whatever_a_program_says(report: Report) -> None:
    for line in render(report).split("\n"):
        assert re.fullmatch(
            r"(::(error|warning|notice) (file=[^,:]*,line=\d+,)?title=[^,:]*::[^\r\n\x00-\x1f]*)?",
            line,
        )
