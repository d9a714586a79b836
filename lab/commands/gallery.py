"""`lab gallery DIR`: the whole catalogue as pages to look at, or to send to somebody."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.catalogue import Case, cases, catalogue, missing, select
from lab.commands.checking import committed
from lab.commands.output import Output, UsageError
from lab.commands.running import demand_linux, reported
from lab.corpus import BadFile, Corpus
from lab.excerpts import excerpts
from lab.exhibition import differences_of
from lab.finding import Result, Verdict
from lab.loop import MOST_STEPS, Plan
from lab.progress import Stage
from lab.report.html import page
from lab.report.html.gallery import Card, index
from lab.report.json import write
from lab.report.pictures import pictured, small
from lab.report.story import Code, Led, Story
from lab.report.style import wrapped
from lab.report.terminal import count
from lab.search.named import DEFAULT
from lab.source import explanation

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from lab.scenario import Scenario


def execute(arguments: argparse.Namespace) -> int:
    """Catch each bug, lead its fixes along, and write a page of it; 1 if one was not caught.

    Bugs that need what this machine lacks are left out, and counted; 3 if those are all.
    """
    output = Output.asked(arguments)
    demand_linux()
    everything = catalogue()
    asked = set(select(arguments.ids))
    # Whole cases, of a bug or a fix alone too: they are there to be compared.
    whole = [c for c in cases(everything) if c.bug and not asked.isdisjoint(c.members)]
    needs = dict.fromkeys(need for each in whole if each.bug for need in missing(each.bug))
    wanted = [each for each in whole if each.bug and not missing(each.bug)]
    folder = _made(Path(arguments.folder))
    began = time.monotonic()
    cards: list[Card] = []
    amiss: list[str] = []
    with reported(output) as stories:
        for number, case in enumerate(wanted, 1):
            assert case.bug
            text = f"{number} of {len(wanted)}: {case.bug.id}"
            output.progress(Stage(text, number - 1, len(wanted)))
            story = _story(case, everything, arguments.schedules)
            stories.append(story)
            cards.append(_hung(folder, case.bug, story))
            amiss += unlike(case, story)
            _write(folder / "index.html", index(cards))
    output.say(
        f"{folder / 'index.html'}: {count(len(cards), 'bug')} with "
        f"{count(sum(len(each.story.led) for each in cards), 'fix', 'fixes')}, in "
        f"{time.monotonic() - began:.0f} s"
    )
    if needs:
        skipped = count(len(whole) - len(wanted), "bug")
        output.say(wrapped(f"skipped: {skipped}, for want of {'; and '.join(needs)}"))
    for line in amiss:
        output.say(wrapped(line))
    if not wanted:
        return 3
    return 1 if amiss else 0


def _made(folder: Path) -> Path:
    try:
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"lab gallery: {folder}: {error.strerror}; give a directory") from error
    return folder


def _write(path: Path, text: str) -> None:
    try:
        write(path, text)
    except OSError as error:
        raise UsageError(f"lab gallery: {path}: {error.strerror}") from error


def _story(case: Case, everything: Sequence[Scenario], schedules: int) -> Story:
    from lab.comparison import guided, leading
    from lab.target import target

    assert case.bug
    found = _found(case.bug, schedules)
    finding = leading(found)
    led = []
    for fix in case.fixes if finding else ():
        if not missing(fix):
            assert finding
            guidance = guided(target(fix.body), finding, max_steps=MOST_STEPS)
            led.append(Led(guidance.result, guidance.events, guidance.waits))
    differences = differences_of(case, [each for each in everything if each.family == case.family])
    return Story(
        found,
        finding,
        tuple(led),
        case.bug.summary,
        tuple(Code(fix.id, differences[fix.id].lines, explanation(fix)) for fix in case.fixes),
    )


def _found(bug: Scenario, schedules: int) -> Result:
    from lab.exploration import explored
    from lab.target import target

    try:
        (found,) = explored(
            target(bug.body),
            Plan(schedules, MOST_STEPS),
            strategy=DEFAULT,
            seed=0,
            corpus=Corpus(committed(), keep=False),
        )
    except BadFile as bad:
        raise UsageError(f"lab gallery: {bad}") from bad
    return found


def _hung(folder: Path, bug: Scenario, story: Story) -> Card:
    """Its page and its picture, written."""
    sources = excerpts(story.events)
    _write(folder / f"{bug.id}.html", page([story], sources=sources, home="index.html"))
    for name, drawn in ((bug.id, pictured(story)), (f"{bug.id}.small", small(story))):
        if drawn:
            _write(folder / "pictures" / f"{name}.svg", drawn)
    picture = f"pictures/{bug.id}.small.svg" if story.leading else ""
    return Card(bug.family, story, f"{bug.id}.html", picture)


def unlike(case: Case, story: Story) -> Iterator[str]:
    """What is not to be shown to anybody: a bug that was not caught, a fix that did not hold.

    That a bug does more harm than it declares is for `lab check` to say, which stops sooner.
    """
    assert case.bug
    absent = case.bug.expects - {finding.kind for finding in story.result.findings}
    if absent:
        kinds = ", ".join(sorted(absent))
        why = f": {story.result.reason}" if story.result.reason else ""
        yield f"{case.bug.id}: {kinds} was not seen in {count(story.result.runs, 'run')}{why}"
    for led in story.led:
        if led.result.verdict not in (Verdict.PASSED, Verdict.PROVED):
            yield f"{led.result.scenario}: {led.result.verdict} on the schedule of its bug"
