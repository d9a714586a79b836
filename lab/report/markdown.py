"""Markdown, as GitHub and GitLab show it: a table of all results, then each that is not good.

What is known, and what is gone, are lines between the two.
Text of a program never stands where it could be markup: in the table it is escaped character by
character, and the report about it is in a fence longer than any within.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from lab.report.story import Standing, shown
from lab.report.style import cut, printable
from lab.report.terminal import kinds
from lab.report.terminal import render as told

if TYPE_CHECKING:
    from lab.report.story import Report, Story

_MOST = 200
"""Results that the table has."""
_TOLD = 20
"""Results that are told in full."""
_GLYPHS = {
    Standing.BAD: "✗",
    Standing.UNDECIDED: "?",
    Standing.KNOWN: "~",
    Standing.SKIPPED: "-",
    Standing.GOOD: "✓",
}
"""In the order of the table."""
_COUNTED = {
    Standing.BAD: "failed",
    Standing.UNDECIDED: "undecided",
    Standing.KNOWN: "known",
    Standing.SKIPPED: "skipped",
}
_MARKUP = re.compile(r"([^\w\s./,;'=-]|_)", re.ASCII)


def render(report: Report) -> str:
    """The whole report."""
    stories = report.stories
    of = {
        standing: [story for story in stories if story.standing is standing] for standing in _GLYPHS
    }
    counts = [f"{len(of[standing])} {name}" for standing, name in _COUNTED.items() if of[standing]]
    lines = [
        f"## race-lab: {', '.join(counts) or 'all good'}, of {len(stories)}",
        "",
        "|   | program | verdict | runs | found |",
        "|---|---------|---------|-----:|-------|",
        *(_row(story) for story in list(chain(*of.values()))[:_MOST]),
    ]
    if len(stories) > _MOST:
        lines += ["", f"Shown {_MOST} of {len(stories)}."]
    if report.stopped:
        lines += ["", f"**Stopped before everything was done:** {inline(report.stopped)}"]
    allowed = [line for story in stories for line in story.allowances]
    if both := (*allowed, *report.absences):
        lines += ["", *(f"- {inline(line)}" for line in both[:_MOST])]
    told_of = [*of[Standing.BAD], *of[Standing.UNDECIDED]]
    for story in told_of[:_TOLD]:
        lines += ["", *_section(story)]
    if len(told_of) > _TOLD:
        lines += ["", f"Told {_TOLD} of {len(told_of)}; the JSON has them all."]
    return "\n".join(lines) + "\n"


def inline(text: str, width: int = 300) -> str:
    """A text on one line in which nothing is markup, cut if it is long."""
    return _MARKUP.sub(_escaped, cut(text, width))


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    # Letters of other scripts are no markup; what HTML would take is written as an entity.
    if not character.isascii():
        return character
    return f"&#{ord(character)};" if character in "<>&@|`" else f"\\{character}"


def _row(story: Story) -> str:
    result = story.result
    return (
        f"| {_GLYPHS[story.standing]} | {inline(result.scenario, 100)} | {result.verdict}"
        f" | {result.runs} | {kinds(result)} |"
    )


def _section(story: Story) -> list[str]:
    lines = [f"### {_GLYPHS[story.standing]} {inline(story.result.scenario, 100)}", ""]
    lines += [f"- {inline(line)}" for line in story.differences or ()]
    lines += [""] if story.differences else []
    lines += _fenced(shown(story))
    for led in story.led:
        lines += ["", "The fix, along the same schedule:", "", *_fenced(told(led.result))]
    return lines


def _fenced(text: str) -> list[str]:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *(printable(line) for line in text.split("\n")), fence]
