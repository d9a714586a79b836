"""Every scenario of the catalogue, controlled: a bug shows what it declares, and a fix nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest

from lab.catalogue import catalogue, missing
from lab.detect import findings
from lab.finding import Kind
from lab.run.control import Runner, in_controller
from lab.run.limits import Limits
from lab.run.root import Function
from lab.scenario import Scenario

SCHEDULES = 4
"""The default order, which shows nearly every bug, and some by chance."""
SMALL = {"writers": 2, "clients": 2, "increments": 2}
"""A race takes two, and each costs time."""


@pytest.mark.parametrize("scenario", catalogue(), ids=lambda scenario: scenario.id)
def test_a_scenario_does_what_it_declares_under_any_schedule(scenario: Scenario) -> None:
    def work(runner: Runner, _report: Callable[[object], None]) -> list[tuple[str, set[Kind]]]:
        chance = random.Random(scenario.id)  # noqa: S311  # to be repeated, not to be secret
        traces = [runner.run(lambda point: point.default, max_steps=5000)]
        traces += [
            runner.run(lambda point: chance.randrange(len(point.enabled)), max_steps=5000)
            for _ in range(SCHEDULES - 1)
        ]
        return [(trace.trouble, {found.kind for found in findings(trace)}) for trace in traces]

    if lacking := missing(scenario):
        pytest.skip(f"{scenario.id} needs {', '.join(lacking)}")
    names = {parameter.name for parameter in scenario.parameters}
    body = partial(scenario.body, **{name: SMALL[name] for name in SMALL.keys() & names})
    limits = Limits(zombie_after=scenario.zombie_after, seconds=30)
    runs = in_controller(work, Function(scenario.id, body, scenario.server), limits)

    found = {kind for _, kinds in runs for kind in kinds}
    assert {trouble for trouble, _ in runs} == {""}
    assert scenario.expects <= found <= scenario.expects | scenario.may_show
