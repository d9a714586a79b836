"""`lab report`: a saved report in another form, so that a CI keeps one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab.commands.output import Output, UsageError
from lab.report.load import from_json
from lab.report.plain import BadData
from lab.report.style import wrapped
from lab.report.terminal import render

if TYPE_CHECKING:
    import argparse

    from lab.report.story import Report


def execute(arguments: argparse.Namespace) -> int:
    """Show what was saved, or write it as asked; nothing is run, and nothing is judged anew."""
    output = Output.asked(arguments)
    report = _read(arguments.file)
    if output.asks_for_nothing:
        for number, story in enumerate(report.stories):
            if number:
                output.say()
            for result in story.results:
                output.say(render(result, output.style))
            for difference in story.differences or ():
                output.say(wrapped(difference))
        if report.stopped:
            output.say(wrapped(f"stopped before everything was done: {report.stopped}"))
    output.report(report)
    return 0


def _read(name: str) -> Report:
    try:
        return from_json(Path(name).read_text(encoding="utf-8"))
    except UnicodeDecodeError as bad:
        raise UsageError(f"lab report: {name}: it is no text; give what --json wrote") from bad
    except OSError as error:
        raise UsageError(f"lab report: {name}: {error.strerror}") from error
    except BadData as bad:
        raise UsageError(f"lab report: {name}: {bad}") from bad
