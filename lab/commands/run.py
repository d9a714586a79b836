"""`lab run`: run scenarios and tell everything about each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.catalogue import select
from lab.commands.output import Output
from lab.commands.running import Plan, exit_status, observed, reported, settings, story
from lab.report.terminal import render
from lab.run.limits import Isolation

if TYPE_CHECKING:
    import argparse

    from lab.finding import Verdict


def execute(arguments: argparse.Namespace) -> int:
    """Run what was asked for; the exit status is the worst verdict's."""
    output = Output.asked(arguments)
    scenarios = select(arguments.ids)
    plan = Plan(
        runs=arguments.runs,
        isolation=Isolation(arguments.isolation),
        time_limit=arguments.time_limit,
        settings=settings(arguments.settings, scenarios),
    )
    verdicts: list[Verdict] = []
    with reported(output) as stories:
        for scenario in scenarios:
            for result in observed(scenario, plan, output.progress):
                if verdicts:
                    output.say()
                output.say(render(result, output.style))
                verdicts.append(result.verdict)
                stories.append(story(scenario, result))
    return exit_status(verdicts)
