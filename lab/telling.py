"""How findings are told: each by the simplest run that showed it, with its schedule and steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lab.essence import Essence, essence
from lab.finding import Finding, Kind, Shrinkage
from lab.search.schedule import Recorder, Schedule
from lab.search.shrink import Path
from lab.search.strategy import Pending
from lab.search.token import Origin, Token, fingerprint, here
from lab.trace import Event, Trace

_STEPS_KEPT = 2000

Identity: TypeAlias = tuple[Kind, str, str]
"""What is the same when the same thing goes wrong in another run: `Finding.identity`."""


@dataclass(frozen=True)
class Telling:
    """The simplest run that showed a finding."""

    finding: Finding
    token: str
    schedule: Schedule
    operations: tuple[Pending, ...]
    events: tuple[Event, ...]
    shrunk: Shrinkage | None = None

    @property
    def path(self) -> Path:
        """The run as far as shrinking needs it."""
        order = tuple(operation.process for operation in self.operations)
        key_steps = self.finding.key_steps
        return Path(self.schedule, order, key_steps[-1] if key_steps else len(self.events))


class Teller:
    """Gives each finding the schedule and the steps of the simplest run that showed it.

    Args:
        origin: the program, as tokens name it.
        max_steps: the bound that runs have.
        strict_races: a data race is a finding.
    """

    def __init__(self, origin: Origin, max_steps: int, *, strict_races: bool = False) -> None:
        self._origin, self._max_steps = origin, max_steps
        self._strict_races = strict_races
        self.told: dict[Identity, Telling] = {}

    @property
    def found(self) -> tuple[Finding, ...]:
        """All that any run has shown, each thing once."""
        return tuple(telling.finding for telling in self.told.values())

    def tell(self, trace: Trace, recorder: Recorder) -> Essence:
        """What a run has shown; with a schedule where no simpler run had shown it before."""
        run = essence(trace, strict_races=self._strict_races)
        if not run.findings:
            return run
        schedule, operations = recorder.schedule, recorder.operations(len(trace.events))
        simplest = [
            finding
            for finding in run.findings
            if finding.identity not in self.told or schedule < self.told[finding.identity].schedule
        ]
        if not simplest:
            return run
        token = str(
            Token(
                self._origin,
                schedule,
                tuple(operation.action for operation in operations),
                self._max_steps,
                fingerprint(trace),
                here(),
            )
        )
        for each in simplest:
            self.told[each.identity] = Telling(each, token, schedule, operations, trace.events)
        findings = tuple(
            with_steps(each, trace, token) if each in simplest else each for each in run.findings
        )
        return dataclasses.replace(run, findings=findings)


def with_steps(
    finding: Finding, trace: Trace, token: str, shrunk: Shrinkage | None = None
) -> Finding:
    """A finding with the run that showed it."""
    steps = _kept(trace.events, finding.key_steps)
    return dataclasses.replace(finding, schedule=token, steps=steps, shrunk=shrunk)


def _kept(events: tuple[Event, ...], key_steps: Sequence[int]) -> tuple[Event, ...]:
    """All steps; of a long run its end, or what lies before the step that did the damage."""
    end = len(events)
    if key_steps and end > _STEPS_KEPT:
        end = min(end, key_steps[-1] + 1 + _STEPS_KEPT // 20)
    return events[max(0, end - _STEPS_KEPT) : end]
