"""The pytest door: what a test may claim of a program, and what its author sees if it is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab.finding import Finding, Kind, Result, Verdict
from lab.pytest_plugin import Observe, Observed
from lab.scenario import declared, scenario
from lab.trace import Tally

SCENARIOS = Path(__file__).with_name("test_scenarios.py")
PROGRAMS = """
from lab import Tally

def short_of_two():
    return Tally(expected=15, actual=13)

def complete():
    return Tally(expected=15, actual=15)
"""


@scenario(expects=["lost-update"])
def bug() -> None:
    """Loses."""


@scenario(fixes="bug")
def fix() -> None:
    """Loses nothing."""


def observed(verdict: Verdict, *kinds: Kind, reason: str = "", of: object = bug) -> Observed:
    found = tuple(Finding(kind, "counter", f"A {kind} was seen.") for kind in kinds)
    declaration = declared(of)
    assert declaration
    result = Result(
        declaration.id, "observed", verdict, 3, 0.5, found, (2,) * len(found), reason=reason
    )
    return Observed(result, declaration)


@pytest.mark.parametrize("verdict", [Verdict.PASSED, Verdict.PROVED])
def test_what_passed_is_clean(verdict: Verdict) -> None:
    observed(verdict).assert_clean()


def test_what_has_a_finding_is_not_clean_and_the_finding_is_told() -> None:
    with pytest.raises(AssertionError) as failure:
        observed(Verdict.FAILED, Kind.ZOMBIE).assert_clean()
    assert str(failure.value) == (
        "test_pytest_plugin.bug: expected no finding; seen:\n"
        "  zombie in 2 of 3 runs: A zombie was seen."
    )


@pytest.mark.parametrize("verdict", [Verdict.VACUOUS, Verdict.ERROR])
def test_what_was_not_decided_is_not_clean(verdict: Verdict) -> None:
    with pytest.raises(AssertionError, match=f"the verdict is {verdict}: nobody looked"):
        observed(verdict, reason="nobody looked").assert_clean()


def test_what_was_found_may_be_claimed_one_by_one() -> None:
    seen = observed(Verdict.FAILED, Kind.ZOMBIE, Kind.LEAK)
    seen.assert_finds("zombie")
    seen.assert_finds("leak", "zombie")


def test_a_claim_of_a_kind_that_was_not_found_fails_by_its_name() -> None:
    with pytest.raises(AssertionError, match="expected orphan; seen:\n  zombie in 2 of 3"):
        observed(Verdict.FAILED, Kind.ZOMBIE).assert_finds("zombie", "orphan")
    with pytest.raises(AssertionError, match="expected orphan; the verdict is passed: 3 runs"):
        observed(Verdict.PASSED, reason="3 runs").assert_finds("orphan")


def test_a_claim_of_nothing_holds_of_nothing() -> None:
    with pytest.raises(AssertionError, match="expected a finding"):
        observed(Verdict.PASSED).assert_finds()


def test_a_claim_of_no_known_kind_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"'zombies' is no kind of finding; .*lost-update"):
        observed(Verdict.FAILED, Kind.ZOMBIE).assert_finds("zombies")


def test_a_bug_is_as_declared_if_it_shows_what_it_expects() -> None:
    observed(Verdict.FAILED, Kind.LOST_UPDATE).assert_as_declared()
    with pytest.raises(AssertionError, match="expected lost-update; seen no finding in 3 runs"):
        observed(Verdict.PASSED).assert_as_declared()


def test_a_fix_is_as_declared_if_it_shows_nothing() -> None:
    observed(Verdict.PASSED, of=fix).assert_as_declared()
    with pytest.raises(AssertionError, match="expected no finding; seen lost-update of counter"):
        observed(Verdict.FAILED, Kind.LOST_UPDATE, of=fix).assert_as_declared()


def test_a_function_that_declares_nothing_cannot_be_as_declared(observe: Observe) -> None:
    with pytest.raises(ValueError, match="lonely declares nothing to compare with"):
        observe(lonely, runs=1).assert_as_declared()


def test_a_program_that_shares_nothing_is_vacuous(observe: Observe) -> None:
    assert observe(lonely, runs=1).verdict is Verdict.VACUOUS


def test_a_scenario_is_found_by_its_id_and_takes_parameters(observe: Observe) -> None:
    seen = observe("counter.posix_guarded", runs=1, writers=2, increments=1, window=0.0)
    seen.assert_clean()
    assert [outcome.result for outcome in seen.result.outcomes] == ["2 of 2 updates"]
    assert dict(seen.result.parameters) == {"writers": "2", "increments": "1", "window": "0.0"}


def test_a_function_takes_any_value_as_parameter(observe: Observe) -> None:
    seen = observe(counts_lines, runs=1, lines=["a", "b"])
    assert [outcome.result for outcome in seen.result.outcomes] == ["2 of 3 lines"]


def test_an_unknown_id_gets_the_nearest(observe: Observe) -> None:
    with pytest.raises(LookupError, match=r"nearest: counter\.posix_guarded"):
        observe("counter.posix_gaurded")


def test_a_family_is_refused_with_its_members(observe: Observe) -> None:
    with pytest.raises(LookupError, match=r"signal is a family; .* signal\.waitpid"):
        observe("signal")


def test_a_run_can_do_without_namespaces(observe: Observe) -> None:
    seen = observe("counter.posix_guarded", runs=1, isolation="snapshots", increments=1)
    seen.assert_clean()
    assert seen.result.isolation == "snapshots"


def test_a_failing_test_shows_the_report_as_a_section_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_counter=PROGRAMS
        + """
def test_counter(observe):
    observe(short_of_two, runs=2).assert_clean()
"""
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*observe(short_of_two, runs=2).assert_clean()",
            "E*AssertionError: test_counter.short_of_two: expected no finding; seen:",
            "E*lost-update in 2 of 2 runs: 2 of 15 updates lost: 13 came out.",
            "*- lab: test_counter.short_of_two -*",
            "*LOST UPDATE  test_counter.short_of_two *failed, 2 of 2 runs",
            "*13 of 15 updates *FORBIDDEN",
        ]
    )
    # The lab's own frames are no place for a test's author to look.
    result.stdout.no_fnmatch_line("*pytest_plugin.py:*")


def test_a_plain_assert_shows_the_report_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_counter=PROGRAMS
        + """
def test_counter(observe):
    assert observe(short_of_two, runs=1).verdict == "passed"
"""
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- lab: test_counter.short_of_two -*", "*LOST UPDATE *"])


def test_a_worker_of_xdist_hands_the_report_over(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_counter=PROGRAMS
        + """
def test_counter(observe):
    observe(short_of_two, runs=1).assert_clean()
"""
    )
    result = run_pytest("-n", "2", cwd=pytester.path)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert "LOST UPDATE" in result.stdout


def test_a_passing_test_shows_no_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_counter=PROGRAMS
        + """
def test_counter(observe):
    observe(complete, runs=1).assert_clean()
"""
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*lab: *")


def test_the_command_line_says_how_often_where_the_test_does_not(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_counter=PROGRAMS
        + """
def test_default(observe):
    assert observe(complete).result.runs == 2
    assert observe(complete, runs=1).result.runs == 1
"""
    )
    pytester.runpytest("-p", "no:cacheprovider", "--lab-runs", "2").assert_outcomes(passed=1)


def test_no_runs_at_all_are_not_clean(observe: Observe) -> None:
    with pytest.raises(AssertionError, match="no run was made"):
        observe(lonely, runs=0).assert_clean()


def test_a_scenario_that_needs_what_is_not_here_is_skipped(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from lab import scenario

        @scenario(expects=["leak"], needs=["no_such_library"])
        def needy():
            "Needs much."

        def test_needy(observe):
            observe(needy).assert_as_declared()
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*needs no_such_library, which this machine lacks*"])


def test_the_plugin_loads_nothing_that_costs_a_session_that_does_not_use_it() -> None:
    heavy = ["psutil", "posix_ipc", "sysv_ipc", "lab.run.observe", "lab.commands", "scenarios"]
    program = (
        "import sys; import pytest; before = set(sys.modules); import lab.pytest_plugin;"
        f"print([name for name in {heavy} if name in sys.modules and name not in before])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "[]\n"


def test_eight_workers_come_to_the_same_verdicts_as_none(tmp_path: Path) -> None:
    alone, together = (verdicts(tmp_path / f"{workers}.xml", workers) for workers in ("0", "8"))
    assert alone
    assert together == alone


def verdicts(junit: Path, workers: str) -> dict[str, str]:
    """The verdict of each scenario, and whether its test passed, as a JUnit file has them."""
    # From the root of the checkout, so that its settings are those of this very session.
    root = SCENARIOS.parents[1]
    families = "counter or fifo or message_queue or signal"
    run_pytest(
        *("-n", workers, "--lab-runs", "1", f"--junitxml={junit}", "-k", families, str(SCENARIOS)),
        cwd=root,
    )
    return {
        case.attrib["name"]: " ".join(
            [prop.attrib["value"] for prop in case.iter("property")]
            + [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
        )
        for case in ET.parse(junit).iter("testcase")  # noqa: S314  # our own file
    }


def run_pytest(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    # A session of its own, and no worker of the one that runs this test.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments],
        cwd=cwd,
        env=inherited,
        capture_output=True,
        text=True,
        check=False,
    )


def lonely() -> None:
    """Neither forks nor shares."""


def counts_lines(lines: list[str]) -> Tally:
    return Tally(expected=3, actual=len(lines), what="lines")
