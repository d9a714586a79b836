"""The picture of a bug and its fix, one below the other: for the gallery and the README."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.finding import Verdict
from lab.report.picture import draw, picture
from lab.report.svg import Panel, svg

if TYPE_CHECKING:
    from lab.finding import Finding
    from lab.report.story import Story


_SMALL = 9
"""Steps in a small picture."""


def small(story: Story) -> str:
    """The finding alone and close up, for a place where a picture is small; "" without steps."""
    finding = story.leading
    if finding is None or not finding.steps:
        return ""
    return svg([Panel("", picture(finding))], alternative=_in_words(story, finding), most=_SMALL)


def pictured(story: Story) -> str:
    """The finding that the fixes were led along, above the first of them; "" without steps."""
    finding = story.leading
    if finding is None or not finding.steps:
        return ""
    kind = finding.kind.replace("-", " ")
    panels = [Panel(f"{story.result.scenario}: {kind}", picture(finding))]
    for led in story.led[:1]:
        drawn = draw(led.events, named=finding.object, processes=finding.processes, waits=led.waits)
        held = led.result.verdict in (Verdict.PASSED, Verdict.PROVED)
        title = f"{led.result.scenario}: {'' if held else f'{led.result.verdict} '}along the same"
        panels.append(Panel(f"{title} schedule", drawn, led.result.verdict))
    return svg(panels, alternative=_in_words(story, finding))


def _in_words(story: Story, finding: Finding) -> str:
    # Not the finding's own summary: that names commands and PIDs of one machine.
    return f"{story.result.scenario}: {finding.kind.replace('-', ' ')}. {story.summary}".strip()
