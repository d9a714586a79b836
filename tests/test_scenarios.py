"""Every scenario of the catalogue, observed: bugs show what they expect, fixes show nothing."""

from __future__ import annotations

import pytest

from lab.catalogue import catalogue
from lab.pytest_plugin import Observe
from lab.scenario import Scenario


@pytest.mark.parametrize("scenario", catalogue(), ids=lambda scenario: scenario.id)
def test_a_scenario_does_what_it_declares(scenario: Scenario, observe: Observe) -> None:
    observe(scenario.body, runs=3).assert_as_declared()
