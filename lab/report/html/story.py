"""What one page tells: a result, the run that shows each of its findings, and how a fix fared."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

from lab.finding import Verdict
from lab.report.json import result_object
from lab.report.picture import Picture, draw, picture
from lab.report.story import Standing
from lab.report.terminal import shrunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.finding import Finding, Result
    from lab.report.story import Story
    from lab.trace import Event


def story_object(story: Story) -> dict[str, Any]:
    """The story as plain data, for the script of the page."""
    facts = result_object(story.result, story.known)
    views = []
    for index, finding in enumerate(story.result.findings):
        facts["findings"][index].pop("steps")  # each run has its own
        views.append(_view(story, index, finding))
    # What a fix was compared with is what a reader came for.
    views.sort(key=lambda view: -len(view["runs"]))
    return {
        "result": facts,
        "views": views,
        "summary": story.summary,
        "code": [dataclasses.asdict(each) for each in story.code],
        "differences": story.differences or (),
        "known": story.standing is Standing.KNOWN,
    }


def _view(story: Story, index: int, finding: Finding) -> dict[str, Any]:
    led = story.led if finding == story.leading else ()
    runs = []
    if finding.steps:
        role = "bug" if led else ""
        runs.append(_run(story.result.scenario, role, finding.steps, picture(finding)))
    for fix in led:
        drawn = draw(fix.events, named=finding.object, processes=finding.processes, waits=fix.waits)
        run = _run(fix.result.scenario, "fix", fix.events, drawn)
        own = {"verdict": fix.result.verdict, "note": _fared(fix.result)}
        runs.append(run | own | {"align": align(finding.steps, fix.events)})
    return {
        "finding": index,
        "runs": runs,
        "shrunk": shrunk(finding.shrunk) if finding.shrunk else "",
    }


def _fared(fix: Result) -> str:
    """How a fix fared, and what was wrong with it if anything was."""
    wrong = fix.findings[0].summary if fix.findings else ""
    if fix.verdict in (Verdict.ERROR, Verdict.VACUOUS):
        wrong = fix.reason
    return f"{fix.verdict} along the same schedule{f': {wrong}' if wrong else ''}"


def _run(title: str, role: str, events: Sequence[Event], drawn: Picture) -> dict[str, Any]:
    return {
        "title": title,
        "role": role,
        "steps": [_step(event) for event in events],
        "picture": _plain(drawn),
    }


def _plain(drawn: Any) -> Any:
    """Records as plain data, without what is not so: of 20,000 marks most are nothing special."""
    if isinstance(drawn, tuple):
        return [_plain(each) for each in drawn]
    if dataclasses.is_dataclass(drawn):
        return {
            name: _plain(value)
            for name, value in vars(drawn).items()
            if value is not False and value != ""
        }
    return drawn


def align(bug: Sequence[Event], fix: Sequence[Event]) -> list[int]:
    """For each step of a bug, the same step of its fix; where it has none, the one before.

    The same is what the same process does to the same thing for the same time, as the fix was led.
    """
    at: dict[tuple[str, str, str, int], int] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    for index, event in enumerate(fix):
        key = (event.process, event.action, event.object)
        counts[key] += 1
        at[*key, counts[key]] = index
    counts.clear()
    reached, reach = 0, []
    for event in bug:
        key = (event.process, event.action, event.object)
        counts[key] += 1
        reached = at.get((*key, counts[key]), reached)
        reach.append(reached)
    return reach


def _step(event: Event) -> dict[str, Any]:
    """The facts of a step that the page shows or searches; the rest is in its picture."""
    return {
        "step": event.step,
        "process": event.process,
        "call": event.call,
        "object": event.object,
        "where": event.where,
        "time": event.time,
    }
