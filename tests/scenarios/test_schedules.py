"""The saved schedules of the catalogue: each bug has one, and it shows the bug on every Python."""

from __future__ import annotations

from collections import defaultdict

import pytest

from lab.catalogue import catalogue, saved_schedules
from lab.corpus import Corpus, read
from lab.exploration import explored
from lab.finding import Kind
from lab.loop import Plan
from lab.scenario import Scenario
from lab.target import target

BUGS = [scenario for scenario in catalogue() if scenario.expects]


def test_each_bug_has_a_schedule_for_all_that_it_declares_and_nothing_else_has() -> None:
    saved: dict[str, set[Kind]] = defaultdict(set)
    for path in saved_schedules().glob("*.json"):
        schedule = read(path)
        saved[schedule.token.origin.name].add(schedule.identity[0])

    declared = {bug.id: set(bug.expects) for bug in BUGS}
    assert dict(saved) == declared, "make them anew: lab check --save"


@pytest.mark.usefixtures("control")
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.id)
def test_the_saved_schedule_alone_shows_the_bug(bug: Scenario) -> None:
    wanted = target(bug.body)
    if wanted.lacking:
        pytest.skip(f"{bug.id} needs {', '.join(wanted.lacking)}")
    corpus = Corpus(saved_schedules(), keep=False)
    plan = Plan(schedules=1, shrinking=0, until=bug.expects)

    (result,) = explored(wanted, plan, strategy="random", seed=0, corpus=corpus)

    assert result.runs == result.saved, f"make it anew: lab check --save {bug.id}"
    assert {finding.kind for finding in result.findings} >= bug.expects
