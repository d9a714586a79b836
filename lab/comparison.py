"""Compare: the schedule of a bug, on the program that is said to mend it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.essence import Essence, essence
from lab.finding import Finding, Result
from lab.operation import awaited, operation
from lab.report.steps import last_steps
from lab.search.guided import Guided, Wait
from lab.target import Target
from lab.trace import Action, Event
from lab.verdict import Series

if TYPE_CHECKING:
    from lab.run.control import Runner


@dataclass(frozen=True)
class Guidance:
    """One run of the fix, along the steps of the bug."""

    result: Result
    events: tuple[Event, ...]
    waits: tuple[Wait, ...]
    """Where it could not follow."""


def guided(fix: Target, finding: Finding, *, max_steps: int) -> Guidance:
    """Lead the fix through the steps that make the finding.

    Args:
        fix: the program to be led.
        finding: of the bug, with its steps.
        max_steps: steps after which the run counts as endless.

    Raises LabError where control is refused.
    """
    from lab.run.control import in_controller

    began = time.monotonic()
    steps = guiding(finding)

    def work(
        runner: Runner, _report: Callable[[object], None]
    ) -> tuple[Essence, tuple[Event, ...], tuple[Wait, ...]]:
        strategy = Guided(steps)
        trace = runner.run(strategy.choose, max_steps=max_steps)
        # Once more for the lines: to record them is work that the program would not do, so that
        # run may decide nothing, and counts only if it took the same steps.
        lined = runner.run(Guided(steps).choose, max_steps=max_steps, with_lines=True)
        return essence(trace), _with_lines(trace.events, lined.events), tuple(strategy.waits)

    run, events, waits = in_controller(work, fix.program, fix.limits)
    series = Series()
    series.add(run)
    result = series.conclude(
        scenario=fix.name,
        seconds=time.monotonic() - began,
        parameters=fix.parameters,
        search="the schedule of the bug",
    )
    return Guidance(
        dataclasses.replace(result, notes=(*result.notes, *map(_told, waits))), events, waits
    )


def _with_lines(events: tuple[Event, ...], lined: tuple[Event, ...]) -> tuple[Event, ...]:
    if [*map(operation, events)] != [*map(operation, lined)]:
        return events
    return tuple(
        dataclasses.replace(event, where=other.where)
        for event, other in zip(events, lined, strict=True)
    )


def leading(found: Result) -> Finding | None:
    """What a fix is led along: steps that conflict, or else those to the end of the run."""
    with_steps = [each for each in found.findings if each.steps]
    return next((each for each in with_steps if each.key_steps), next(iter(with_steps), None))


def guiding(finding: Finding) -> tuple[Event, ...]:
    """The steps that a fix is led through: all that touch what the conflicting ones touch.

    Where none conflict, as in most deadlocks, it is what was done to the things concerned.
    """
    if not finding.key_steps:
        things = {event.object for event in last_steps(finding)}
        return tuple(event for event in finding.steps if event.object in things)
    keys = [event for event in finding.steps if event.step in finding.key_steps]
    # An exit is a step of its own process; what else concerns that process is its parent's.
    things = {event.object for event in keys if event.action is not Action.EXIT}
    last = max(finding.key_steps, default=-1)
    return tuple(
        event
        for event in finding.steps
        if event.step <= last and (event.object in things or event.step in finding.key_steps)
    )


def _told(wait: Wait) -> str:
    return f"at step {wait.step} {wait.pending.process} waits {awaited(wait.pending)}"
