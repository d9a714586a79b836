"""Every scenario of the catalogue, observed: bugs show what they expect, fixes show nothing."""

from __future__ import annotations

import pytest

from lab.catalogue import catalogue
from lab.pytest_plugin import Observe
from lab.scenario import Scenario


@pytest.mark.parametrize("scenario", catalogue(), ids=lambda scenario: scenario.id)
def test_a_scenario_does_what_it_declares(scenario: Scenario, observe: Observe) -> None:
    # Here a fix runs once: under control it runs by one schedule after another.
    observe(scenario.body, runs=3 if scenario.expects else 1).assert_as_declared()
