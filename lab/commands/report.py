"""`lab report`: a saved report in another form, so that a CI keeps one file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from lab.catalogue import UnknownName, select
from lab.check import judge
from lab.commands.baselining import Gate
from lab.commands.output import Output, UsageError
from lab.report.load import from_json
from lab.report.plain import BadData
from lab.report.story import Report, Story, exit_status, shown
from lab.report.style import wrapped
from lab.report.terminal import render

if TYPE_CHECKING:
    import argparse


def execute(arguments: argparse.Namespace) -> int:
    """Show what was saved, or write it as asked; nothing is run, and nothing is judged anew.

    But with a baseline: then the exit status is that of a gate.
    """
    output, gate = Output.asked(arguments), Gate(arguments)
    report = _read(arguments.file)
    if gate.there:
        stories = tuple(_against(story, gate) for story in report.stories)
        report = dataclasses.replace(
            report, stories=stories, gone=() if report.stopped else gate.gone
        )
    if output.asks_for_nothing:
        for number, story in enumerate(report.stories):
            if number:
                output.say()
            output.say(shown(story, output.style))
            for led in story.led:
                output.say(render(led.result, output.style))
            for difference in story.differences or ():
                output.say(wrapped(difference))
        if report.stopped:
            output.say(wrapped(f"stopped before everything was done: {report.stopped}"))
        for line in () if gate.there else report.absences:
            output.say(wrapped(line))
    output.report(report)
    if not gate.there:
        return 0
    gate.close(output)
    return exit_status(report.stories) or (3 if report.stopped else 0)


def _against(story: Story, gate: Gate) -> Story:
    """A saved story as its command would have told it with this baseline."""
    if story.differences is None:
        return gate.told(story)
    gate.judged(story.result)
    try:
        (scenario,) = select([story.result.scenario])
    except (UnknownName, ValueError):
        return story  # nobody here knows what it declares: what differed then does so still
    judged = judge(scenario, story.result, gate.knows)
    return dataclasses.replace(
        story,
        differences=judged.differences,
        undecided=judged.undecided,
        known=judged.known,
    )


def _read(name: str) -> Report:
    try:
        return from_json(Path(name).read_text(encoding="utf-8"))
    except UnicodeDecodeError as bad:
        raise UsageError(f"lab report: {name}: it is no text; give what --json wrote") from bad
    except OSError as error:
        raise UsageError(f"lab report: {name}: {error.strerror}") from error
    except BadData as bad:
        raise UsageError(f"lab report: {name}: {bad}") from bad
