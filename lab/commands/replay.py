"""`lab replay`: the run of a token, once more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab.commands.output import Output, UsageError
from lab.commands.running import demand_linux, exit_status, look_here, reported
from lab.corpus import BadFile, read
from lab.report.compare import listing
from lab.report.story import Story
from lab.report.terminal import render
from lab.search.token import BadToken

if TYPE_CHECKING:
    import argparse


def execute(arguments: argparse.Namespace) -> int:
    """Replay and report; a replay that goes another way is undecided, whatever came of it."""
    output = Output.asked(arguments)
    demand_linux()
    from lab.exploration import replay

    look_here()
    with reported(output) as stories:
        try:
            result = replay(
                token_of(arguments.token),
                strict_races=arguments.strict_races,
                time_limit=arguments.time_limit,
            )
        except (BadToken, BadFile) as bad:
            raise UsageError(f"lab replay: {bad}") from bad
        if arguments.until is not None:
            steps = next((finding.steps for finding in result.findings if finding.steps), ())
            shown = listing([event for event in steps if event.step <= arguments.until])
            output.say(shown or "  No steps to show: the run showed no finding that has them.")
        output.say(render(result, output.style))
        stories.append(Story(result))
    return exit_status([result.verdict])


def token_of(text: str) -> str:
    """The token itself, or the one in the file of that name."""
    path = Path(text)
    # No token holds a dot or a slash.
    return str(read(path).token) if path.suffix or "/" in text else text
