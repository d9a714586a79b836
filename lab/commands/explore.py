"""`lab explore`: run scenarios and functions under control, each time with another schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.catalogue import select
from lab.commands.baselining import Gate
from lab.commands.output import Output, UsageError
from lab.commands.running import demand_linux, look_here, reported, settings
from lab.corpus import BadFile, Corpus
from lab.loop import Plan
from lab.report.story import Story, exit_status, shown
from lab.run.limits import LabError
from lab.search.named import UnknownStrategy, WrongSetting

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from lab.target import Target


def execute(arguments: argparse.Namespace) -> int:
    """Explore what was asked for; the exit status is the worst result's."""
    demand_linux()
    from lab.target import function, target

    names = [name for name in arguments.ids if ":" in name]
    ids = [name for name in arguments.ids if ":" not in name]
    scenarios = select(ids) if ids or not names else ()
    given = settings(arguments.settings, scenarios)
    targets = []
    for scenario in scenarios:
        own = {parameter.name for parameter in scenario.parameters}
        chosen = {name: text for name, text in given.items() if name in own}
        targets.append(target(scenario.body, chosen, time_limit=arguments.time_limit))
    look_here()
    try:
        bodies = [function(name) for name in names]
    except LabError as error:
        raise UsageError(f"{error}; a function is given as MODULE:NAME") from error
    targets += (target(body, time_limit=arguments.time_limit) for body in bodies)
    return explore(targets, arguments, Output.asked(arguments), arguments.schedules)


def explore(
    targets: Iterable[Target], arguments: argparse.Namespace, output: Output, schedules: int
) -> int:
    """Explore one target after the other and report on each as soon as it is done."""
    demand_linux()
    from lab.exploration import explored
    from lab.target import begins

    plan = Plan(
        schedules,
        arguments.max_steps,
        arguments.stop_at_first,
        arguments.shrink,
        arguments.strict_races,
    )
    gate = Gate(arguments)
    with reported(output, gate) as stories:
        for wanted in targets:
            results = explored(
                wanted,
                plan,
                strategy=arguments.strategy,
                seed=arguments.seed,
                depth=arguments.depth,
                preemptions=arguments.preemptions,
                jobs=arguments.jobs,
                cluster=arguments.cluster,
                corpus=Corpus(keep=not arguments.no_save),
                progress=output.progress,
            )
            try:
                for result in results:
                    if stories:
                        output.say()
                    stories.append(gate.told(Story(result, where=begins(wanted))))
                    output.say(shown(stories[-1], output.style))
            except BadFile as bad:
                raise UsageError(str(bad)) from bad
            except (UnknownStrategy, WrongSetting) as mistake:
                raise UsageError(f"--strategy {arguments.strategy}: {mistake}") from mistake
    gate.close(output)
    return exit_status(stories)


def of_command(program: Sequence[str], arguments: argparse.Namespace) -> int:
    """Explore a command; its output is captured, so the report may go to standard output."""
    from lab.target import target

    wanted = target(tuple(program), time_limit=arguments.time_limit)
    return explore([wanted], arguments, Output.asked(arguments), arguments.explore)
