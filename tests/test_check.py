"""The gate: what counts as a difference between a declaration and a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.check import Check, Checked, differences, exit_status, judge
from lab.finding import Finding, Kind, Result, Verdict
from lab.report.check import line, summary
from lab.scenario import Scenario, declared, scenario

if TYPE_CHECKING:
    from collections.abc import Iterable


@scenario(expects=["zombie", "leak"], may_show=["hang"])
def sloppy() -> None:
    """Leaves everything behind."""


@scenario(fixes="sloppy")
def tidy() -> None:
    """Leaves nothing behind."""


def bug() -> Scenario:
    found = declared(sloppy)
    assert found
    return found


def fix() -> Scenario:
    found = declared(tidy)
    assert found
    return found


def failed(kinds: Iterable[str], *, seen_in: int = 3) -> Result:
    findings = tuple(Finding(Kind(kind), "/jobs", "It went wrong.") for kind in kinds)
    return Result(
        scenario="any",
        mode="observed",
        verdict=Verdict.FAILED,
        runs=3,
        seconds=1.0,
        findings=findings,
        seen_in=(seen_in,) * len(findings),
    )


def without_finding(verdict: Verdict, reason: str = "") -> Result:
    return Result("any", "observed", verdict, 3, 1.0, reason=reason)


def test_a_bug_that_shows_all_it_expects_is_as_declared() -> None:
    assert differences(bug(), failed(["zombie", "leak"])) == ()


def test_a_bug_may_show_what_it_may_show() -> None:
    assert differences(bug(), failed(["zombie", "leak", "hang"])) == ()


def test_a_bug_is_caught_if_one_run_of_several_shows_it() -> None:
    assert differences(bug(), failed(["zombie", "leak"], seen_in=1)) == ()


def test_a_bug_that_lacks_one_expected_kind_differs_by_that_kind() -> None:
    (line,) = differences(bug(), failed(["zombie"]))
    assert line == (
        "test_check.sloppy: expected leak; seen zombie in 3 runs. "
        "Look closer: lab run test_check.sloppy"
    )


def test_a_bug_that_passes_differs_by_every_kind() -> None:
    lines = differences(bug(), without_finding(Verdict.PASSED))
    assert [line.partition(";")[0] for line in lines] == [
        "test_check.sloppy: expected leak",
        "test_check.sloppy: expected zombie",
    ]
    assert all("seen no finding in 3 runs" in line for line in lines)


def test_a_bug_that_shows_something_else_as_well_differs() -> None:
    (line,) = differences(bug(), failed(["zombie", "leak", "crash"], seen_in=1))
    assert "expected hang, leak, zombie and nothing else" in line
    assert "seen crash of /jobs in 1 of 3 runs" in line


def test_a_fix_without_finding_is_as_declared() -> None:
    assert differences(fix(), without_finding(Verdict.PASSED)) == ()
    assert differences(fix(), without_finding(Verdict.PROVED)) == ()


def test_a_fix_with_two_findings_differs_twice() -> None:
    lines = differences(fix(), failed(["zombie", "leak"]))
    assert len(lines) == 2
    assert all("test_check.tidy: expected no finding; seen" in line for line in lines)


@pytest.mark.parametrize("verdict", [Verdict.VACUOUS, Verdict.ERROR])
def test_an_undecided_result_is_a_difference_for_bug_and_fix(verdict: Verdict) -> None:
    result = without_finding(verdict, "ptrace was refused")
    for each in (bug(), fix()):
        (line,) = differences(each, result)
        assert f"seen {verdict}, because ptrace was refused" in line
        assert judge(each, result).undecided


def test_all_as_declared_exits_0() -> None:
    assert exit_status([judge(fix(), without_finding(Verdict.PASSED))]) == 0


def test_a_difference_exits_1_and_an_undecided_scenario_3() -> None:
    assert exit_status([judge(fix(), failed(["leak"]))]) == 1
    assert exit_status([judge(fix(), without_finding(Verdict.ERROR))]) == 3


def test_a_known_difference_outweighs_an_undecided_scenario() -> None:
    undecided = judge(fix(), without_finding(Verdict.ERROR))
    assert exit_status([undecided, judge(fix(), failed(["leak"])), undecided]) == 1


def skipped() -> Result:
    return Result("sloppy", "observed", Verdict.ERROR, 0, 0.0, reason="it needs x", lacking=("x",))


def test_what_was_skipped_is_neither_passed_nor_undecided() -> None:
    both = judge(bug(), skipped())
    assert both.skipped
    assert not both.undecided
    assert not both.differs
    check = Check((Checked(bug(), (both,)),), wanted=1)
    assert (len(check.skipped), check.undecided, check.differing) == (1, (), ())


def test_what_was_skipped_decides_nothing_unless_all_was() -> None:
    held = judge(fix(), Result("tidy", "observed", Verdict.PASSED, 3, 0.1))
    assert exit_status([judge(bug(), skipped()), held]) == 0
    assert exit_status([judge(bug(), skipped())]) == 3
    assert exit_status([judge(bug(), skipped()), judge(fix(), failed(["leak"]))]) == 1


def test_a_check_says_what_was_skipped_and_what_for() -> None:
    checked = Checked(bug(), (judge(bug(), skipped()), judge(bug(), skipped())))
    assert line(checked).startswith("? skipped bug")
    told = summary(Check((checked,), wanted=1))
    assert told.splitlines()[1:] == ["Skipped: what needs x", "1 scenario checked: 1 skipped."]
