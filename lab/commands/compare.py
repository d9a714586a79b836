"""`lab compare`: the schedule of a bug on its fix, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.catalogue import select
from lab.commands.output import Output, UsageError
from lab.commands.running import demand_linux, exit_status, look_here, reported, settings
from lab.corpus import BadFile, Corpus
from lab.loop import Plan
from lab.replayable import only, token
from lab.report.compare import compare
from lab.report.story import Led, Story
from lab.report.style import wrapped
from lab.report.terminal import render
from lab.search.named import UnknownStrategy, WrongSetting
from lab.search.token import BadToken, Token

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from lab.finding import Result
    from lab.target import Target


def execute(arguments: argparse.Namespace) -> int:
    """Find the bug's schedule, lead the fix along it; the exit status is the fix's."""
    output = Output.asked(arguments)
    demand_linux()
    from lab.comparison import guided, leading

    look_here()
    names = [each for each in (arguments.bug, arguments.fix) if not _is_run(each)]
    arguments.given = settings(arguments.settings, select(names))
    fix = _target(arguments.fix, arguments, _parameters(arguments.bug))
    with reported(output) as stories:
        found = _found(arguments, output)
        finding = leading(found)
        if finding is None:
            stories.append(Story(found))
            output.say(render(found, output.style))
            output.say(
                "  Nothing to compare: it showed nothing; try more with --schedules, or another "
                "--seed"
            )
            return 3
        guidance = guided(fix, finding, max_steps=arguments.max_steps)
        led = Led(guidance.result, guidance.events, guidance.waits)
        stories.append(Story(found, finding, (led,)))
        output.say(wrapped(finding.summary, indent=""))
        if not finding.key_steps:
            for detail in finding.details:
                output.say(wrapped(detail, hang="    "))
        sides = (found.scenario, guidance.result.scenario)
        output.say(compare(sides, finding, guidance.events, guidance.waits, output.style))
        output.say(render(guidance.result, output.style))
    return exit_status([guidance.result.verdict])


def _parameters(bug: str) -> dict[str, str]:
    """What the run of a bug was made with, if a run is what was given."""
    return dict(_token(bug).origin.parameters) if _is_run(bug) else {}


def _token(text: str) -> Token:
    try:
        return Token.read(token(only(text)))
    except (BadToken, BadFile) as mistake:
        raise UsageError(f"lab compare: {mistake}") from mistake


def _target(
    name: str, arguments: argparse.Namespace, inherited: Mapping[str, str] | None = None
) -> Target:
    from lab.target import target

    scenarios = select([name])
    if len(scenarios) > 1:
        ids = ", ".join(scenario.id for scenario in scenarios)
        raise UsageError(f"{name} is a family; compare takes one bug and one fix, of: {ids}")
    own = {parameter.name for parameter in scenarios[0].parameters}
    settings = {**(inherited or {}), **arguments.given}
    given = {key: text for key, text in settings.items() if key in own}
    return target(scenarios[0].body, given, time_limit=arguments.time_limit)


def _found(arguments: argparse.Namespace, output: Output) -> Result:
    """The bug, seen: by its token, or by a search that begins with what is saved."""
    from lab.exploration import explored, replay

    text = arguments.bug
    try:
        if _is_run(text):
            return replay(str(_token(text)), time_limit=arguments.time_limit)
        (found,) = explored(
            _target(text, arguments),
            Plan(arguments.schedules, arguments.max_steps, stop_at_first=True),
            strategy=arguments.strategy,
            seed=arguments.seed,
            depth=arguments.depth,
            preemptions=arguments.preemptions,
            corpus=Corpus(keep=False),
            progress=output.progress,
        )
    except (BadFile, UnknownStrategy, WrongSetting) as mistake:
        raise UsageError(f"lab compare: {mistake}") from mistake
    return found


def _is_run(text: str) -> bool:
    """A token or a file; a scenario has a dot in its name, and neither a slash nor an ending."""
    return "." not in text or "/" in text or text.endswith(".json")
