"""Every scenario, controlled: a bug is found within some schedules, a fix holds."""

from __future__ import annotations

import pytest

import lab
from lab.catalogue import catalogue, missing
from lab.finding import Verdict
from lab.run.limits import LabError
from lab.scenario import Scenario

SCHEDULES = 200
"""Within so many each bug is to be found; nearly all take one or two."""
FEW = 3
"""A fix is run so often here, for the time that it takes."""


@pytest.fixture(autouse=True, scope="module")
def controllable() -> None:
    try:
        lab.explore(lambda: None, schedules=1)
    except LabError as refused:
        pytest.skip(str(refused))


@pytest.mark.parametrize("scenario", catalogue(), ids=lambda scenario: scenario.id)
def test_control_shows_what_a_scenario_declares(scenario: Scenario) -> None:
    if lacking := missing(scenario):
        pytest.skip(f"{scenario.id} needs {', '.join(lacking)}, which this machine lacks")
    is_bug = scenario.role == "bug"

    result = lab.explore(
        scenario.id, schedules=SCHEDULES if is_bug else FEW, stop_at_first=is_bug, shrinking=0
    )

    seen = {finding.kind for finding in result.findings}
    if is_bug:
        assert seen & scenario.expects
        assert seen <= scenario.expects | scenario.may_show
    else:
        assert not seen
        assert result.verdict in {Verdict.PASSED, Verdict.PROVED}, result.reason
