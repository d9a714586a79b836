"""What a report tells: results, each with its fixes led along, and the lines of the programs.

Every format is made from a `Report` and from nothing else, and a saved one can be read back: so CI
keeps one file, and whoever looks at it later chooses the form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lab.finding import Finding, Result
from lab.search.guided import Wait
from lab.trace import Event

Sources = Mapping[str, Mapping[int, str]]
"""For each file, lines of it by their numbers."""


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
