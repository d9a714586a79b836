"""`lab replay`: the run of a token, once more."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from lab.commands.exec import refuse_unrunnable
from lab.commands.output import Output, UsageError
from lab.commands.running import demand_linux, exit_status, look_here, reported
from lab.corpus import BadFile
from lab.replayable import replayable, token
from lab.report.compare import listing
from lab.report.story import Story
from lab.report.terminal import render
from lab.search.token import BadToken, Source, Token

if TYPE_CHECKING:
    import argparse

    from lab.finding import Result


def execute(arguments: argparse.Namespace) -> int:
    """Replay and report; a replay that goes another way is undecided, whatever came of it.

    Of a file with several schedules, each is replayed.
    """
    output = Output.asked(arguments)
    demand_linux()
    from lab.exploration import replay

    look_here()
    try:
        runs = replayable(arguments.token)
        of_tests = [run for run in runs if Token.read(token(run)).origin.source is Source.TEST]
        with reported(output) as stories:
            for run in runs:
                if run in of_tests:
                    continue
                origin = Token.read(token(run)).origin
                if origin.source is Source.COMMAND:
                    refuse_unrunnable("replay", origin.words[0])
                if stories:
                    output.say()
                result = replay(
                    run, strict_races=arguments.strict_races, time_limit=arguments.time_limit
                )
                if arguments.until is not None:
                    _say_steps(result, arguments.until, output)
                output.say(render(result, output.style))
                stories.append(Story(result))
    except (BadToken, BadFile) as bad:
        raise UsageError(f"lab replay: {bad}") from bad
    statuses = {exit_status(story.result.verdict for story in stories)}
    statuses |= {_in_pytest(token(run), output) for run in of_tests}
    return next((status for status in (1, 3) if status in statuses), 0)


def _say_steps(result: Result, until: int, output: Output) -> None:
    steps = next((finding.steps for finding in result.findings if finding.steps), ())
    shown = listing([event for event in steps if event.step <= until])
    output.say(shown or "  No steps to show: the run showed no finding that has them.")


def _in_pytest(text: str, output: Output) -> int:
    """A test is nothing without its fixtures: pytest runs it."""
    test = Token.read(text).origin.name
    output.say(f"pytest --lab-replay ... {test}")
    command = [sys.executable, "-m", "pytest", "-q", "--lab-strict", "--lab-replay", text, test]
    status = subprocess.run(command, check=False).returncode
    return status if status in (0, 1) else 3
