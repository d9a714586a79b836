"""`lab check`: the gate of a CI run. Every bug must show itself, every fix must hold."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lab.catalogue import select
from lab.check import Check, Checked
from lab.commands import saving
from lab.commands.baselining import Gate
from lab.commands.checking import Effort, checked
from lab.commands.output import Output, UsageError
from lab.commands.running import judged_story, reported
from lab.report.check import effort_table, line, summary
from lab.run.limits import Isolation

if TYPE_CHECKING:
    import argparse


def execute(arguments: argparse.Namespace) -> int:
    """Check what was asked for: 0 all as declared, 1 something differs, 3 something undecided."""
    output = Output.asked(arguments)
    scenarios = select(arguments.ids)
    if arguments.save:
        return saving.execute(scenarios, output, everything=not arguments.ids)
    effort, gate = _effort(arguments), Gate(arguments)
    done: list[Checked] = []
    try:
        with reported(output, gate) as stories:
            for scenario in scenarios:
                for each in checked(scenario, effort, output.progress, gate.knows):
                    done.append(each)
                    for judged in each.judged:
                        gate.judged(judged.result)
                    stories.extend(map(judged_story, each.told))
                    output.say(line(each, output.style))
    finally:
        # However it ends, what is known is said.
        check = Check(tuple(done), wanted=len(scenarios))
        if arguments.full and done:
            output.say(f"\n{effort_table(check, output.style)}")
        output.say(summary(check))
    gate.close(output)
    return check.exit_status


def _effort(arguments: argparse.Namespace) -> Effort:
    isolation = Isolation(arguments.isolation)
    if isolation is Isolation.SNAPSHOTS and not arguments.observed:
        raise UsageError("lab check: control needs namespaces; add --observed to do without both")
    effort = Effort(arguments.runs, isolation, not arguments.observed, jobs=arguments.jobs)
    if arguments.full:
        return dataclasses.replace(effort, replayed=False, fix=500, seeds=20)
    return effort
