"""What a report tells: results, each with its fixes led along, and the lines of the programs.

Every format is made from a `Report` and from nothing else, and a saved one can be read back: so CI
keeps one file, and whoever looks at it later chooses the form.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lab.finding import Finding, Result
from lab.known import Known
from lab.report.style import PLAIN, Style, wrapped
from lab.report.terminal import render, title
from lab.search.guided import Wait
from lab.trace import Event

Sources = Mapping[str, Mapping[int, str]]
"""For each file, lines of it by their numbers."""


class Standing(enum.Enum):
    """What is to be done about a story."""

    GOOD = "good"
    BAD = "bad"
    UNDECIDED = "undecided"
    KNOWN = "known"
    """All that is wrong with it a baseline has: a gate lets it pass, and every form says so."""
    SKIPPED = "skipped"
    """It was not run: the machine lacks what it needs. No pass, and no failure of the program."""


_STANDING = {0: Standing.GOOD, 1: Standing.BAD, 3: Standing.UNDECIDED}


def located(where: str) -> tuple[str, int] | None:
    """File and line of "file:line"; None for what is not so."""
    file, _, line = where.rpartition(":")
    is_line = line.isascii() and line.isdigit() and 0 < len(line) <= _DIGITS and int(line) > 0
    return (file, int(line)) if file and is_line else None


_DIGITS = 7


@dataclass(frozen=True)
class Led:
    """A fix, led along the schedule of a bug."""

    result: Result
    events: tuple[Event, ...]
    waits: tuple[Wait, ...]
    """Where it could not follow."""


@dataclass(frozen=True)
class Code:
    """How a fix differs from its bug."""

    fix: str
    lines: tuple[str, ...]
    """Of both, each after its sign: "-" of the bug alone, "+" of the fix alone, " " of both."""
    explanation: str = ""
    """What the fix changes, in words."""


@dataclass(frozen=True)
class Story:
    """A result and, where a finding of it was tried on fixes, what these did."""

    result: Result
    leading: Finding | None = None
    """The finding of it that the fixes were led along; one of the result's own."""
    led: tuple[Led, ...] = ()
    summary: str = ""
    """What the program is, in a sentence."""
    code: tuple[Code, ...] = ()
    """How each fix differs from it."""
    where: str = ""
    """"file:line" at which the program begins, where known."""
    differences: tuple[str, ...] | None = None
    """In what the result differs from what its scenario declares; None: nobody compared them."""
    undecided: bool = False
    """It was compared, and the lab could not tell: the differences are why."""
    known: tuple[Finding, ...] = ()
    """Those of the result's findings that are no failure, since a baseline has them."""

    @property
    def standing(self) -> Standing:
        """What a CI makes of it: what it shows, or how it compares with what it declares.

        In both a finding that is known does not count. This is the one place that says so: an exit
        status and every form of a report follow it.
        """
        if self.differences is None:
            if self.known and not self.new:
                return Standing.KNOWN
            return _STANDING[self.result.verdict.exit_status]
        if self.result.lacking:
            return Standing.SKIPPED
        if not self.differences:
            return Standing.KNOWN if self.known else Standing.GOOD
        return Standing.UNDECIDED if self.undecided else Standing.BAD

    @property
    def new(self) -> tuple[Finding, ...]:
        """Its findings without those that are known."""
        return tuple(each for each in self.result.findings if each not in self.known)

    @property
    def allowances(self) -> tuple[str, ...]:
        """What of it is known, one line each."""
        program = self.result.scenario
        return tuple(f"known: {Known.of(program, each)}" for each in self.known)

    @property
    def complaints(self) -> tuple[str, ...]:
        """Why it is not good, one line each."""
        if self.standing is Standing.SKIPPED:
            return (f"skipped: it needs {'; and '.join(self.result.lacking)}",)
        if self.differences:
            return self.differences
        if self.differences is not None:
            return self.allowances
        if self.new:
            return tuple(f"{title(each)}: {each.summary}" for each in self.new)
        if self.known:
            return self.allowances
        undecided = self.standing is Standing.UNDECIDED
        return (f"{self.result.verdict}: {self.result.reason}",) if undecided else ()

    def place_of(self, finding: Finding | None) -> tuple[str, int] | None:
        """File and line to show it at: of the step that does the damage, else of the program."""
        steps = {event.step: event.where for event in finding.steps} if finding else {}
        keys = [steps.get(step, "") for step in reversed(finding.key_steps)] if finding else []
        return next((at for where in (*keys, self.where) if (at := located(where))), None)

    @property
    def events(self) -> Iterator[Event]:
        """Every step that is shown."""
        for finding in self.result.findings:
            yield from finding.steps
        for led in self.led:
            yield from led.events

    @property
    def results(self) -> tuple[Result, ...]:
        """Its own and those of the fixes."""
        return (self.result, *(led.result for led in self.led))


@dataclass(frozen=True)
class Report:
    """All that a command came to know."""

    stories: tuple[Story, ...]
    sources: Sources = field(default_factory=dict)
    """Lines of the programs, at the steps and next to them, as they were at the time."""
    stopped: str = ""
    """Why it does not tell everything; "" if it does."""
    gone: tuple[Known, ...] | None = None
    """What a baseline has of these programs and nobody saw; None: there was no baseline."""

    @property
    def absences(self) -> tuple[str, ...]:
        """What is gone, one line each."""
        return tuple(f"gone: {each}" for each in self.gone or ())


def shown(story: Story, style: Style = PLAIN) -> str:
    """Its result as text, and what of it is known."""
    return "\n".join((render(story.result, style), *map(wrapped, story.allowances)))


def exit_status(stories: Iterable[Story]) -> int:
    """0: nothing is to be done; 1: something is wrong that is not known; 3: it was not decided.

    1 beats 3, as it does for verdicts: what is known to be wrong outweighs what is not known.
    """
    stories = tuple(stories)
    standings = {story.standing for story in stories}
    standings |= {
        _STANDING[led.result.verdict.exit_status] for story in stories for led in story.led
    }
    if Standing.BAD in standings:
        return 1
    return 3 if Standing.UNDECIDED in standings or standings == {Standing.SKIPPED} else 0
