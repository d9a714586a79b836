"""The loop: search proposes, run executes, detect judges.

It knows neither processes nor strategies, only what each looks like, so a test drives it with toy
tasks. It runs where the tracer is, and hands out the essence of each run; whole traces stay behind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from lab.essence import Essence, essence
from lab.finding import Finding, Kind
from lab.search.replay import Diverged, Replay, Unlike, compare
from lab.search.schedule import Choose, Recorder, Schedule
from lab.search.strategy import Pending, Strategy
from lab.search.token import Origin, Token, fingerprint, here
from lab.trace import Event, Trace

MOST_STEPS = 10_000
"""Steps after which a run counts as one without end."""
_STEPS_KEPT = 2000


class Runner(Protocol):
    """Runs one program, again and again from the same start."""

    def run(self, choose: Choose, *, max_steps: int) -> Trace:
        """One run, in which `choose` says who moves. Raises what that raises."""


@dataclass(frozen=True)
class Plan:
    """How far to search."""

    schedules: int = 100
    max_steps: int = MOST_STEPS
    stop_at_first: bool = False
    """End with the first run that shows a finding."""


def search(
    runner: Runner,
    strategy: Strategy,
    plan: Plan,
    origin: Origin,
    report: Callable[[Essence], None],
) -> tuple[bool, tuple[str, ...]]:
    """Run one schedule after another.

    Each finding is told with its schedule and its steps by the simplest run that showed it. What
    was so told is replayed once in the end: a schedule that does not lead there again is no
    evidence that a reader could use.

    Args:
        runner: of the program.
        strategy: chooses the schedules.
        plan: how far to search.
        origin: the program, as tokens name it.
        report: is given each run when it is over.

    Returns whether there is no other schedule, and what a reader should know.
    """
    teller = _Teller(plan, origin)
    exhausted = False
    for _ in range(plan.schedules):
        if not strategy.begin():
            exhausted = True
            break
        recorder = Recorder(strategy.choose)
        trace = runner.run(recorder, max_steps=plan.max_steps)
        strategy.end(trace)
        run = teller.tell(trace, recorder)
        report(run)
        if plan.stop_at_first and run.findings:
            break
    else:
        exhausted = not strategy.begin()
    return exhausted, tuple(_not_replayed(runner, plan, teller.told.values()))


def replay(runner: Runner, token: Token, recorded: Sequence[Event] = ()) -> Essence:
    """The run of a token, once more.

    Args:
        runner: of the program.
        token: the run.
        recorded: its steps, from the first, where they are known.

    Raises Diverged at the first step at which it is known to be another run.
    """
    following = Replay(token.schedule, token.actions)
    trace = runner.run(following.choose, max_steps=token.max_steps)
    following.end(trace)
    compare(recorded, trace.events[: len(recorded)])
    if fingerprint(trace) != token.fingerprint:
        raise Unlike(len(trace.events))
    run = essence(trace)
    findings = (
        dataclasses.replace(each, schedule=str(token), steps=_kept(trace.events, each.key_steps))
        for each in run.findings
    )
    return dataclasses.replace(run, findings=tuple(findings))


@dataclass(frozen=True)
class _Telling:
    """The simplest run that showed a finding."""

    finding: Finding
    schedule: Schedule
    operations: tuple[Pending, ...]
    events: tuple[Event, ...]


class _Teller:
    """Gives each finding the schedule and the steps of the simplest run that showed it."""

    def __init__(self, plan: Plan, origin: Origin) -> None:
        self._plan, self._origin = plan, origin
        self.told: dict[tuple[Kind, str, str], _Telling] = {}

    def tell(self, trace: Trace, recorder: Recorder) -> Essence:
        """What a run has shown; with a schedule where no simpler run had shown it before."""
        run = essence(trace)
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
        token = Token(
            self._origin,
            schedule,
            tuple(operation.action for operation in operations),
            self._plan.max_steps,
            fingerprint(trace),
            here(),
        )
        findings = []
        for finding in run.findings:
            if finding in simplest:
                self.told[finding.identity] = _Telling(finding, schedule, operations, trace.events)
                steps = _kept(trace.events, finding.key_steps)
                findings.append(dataclasses.replace(finding, schedule=str(token), steps=steps))
            else:
                findings.append(finding)
        return dataclasses.replace(run, findings=tuple(findings))


def _not_replayed(runner: Runner, plan: Plan, told: Iterable[_Telling]) -> Iterator[str]:
    # Findings of one run share its schedule, and one replay serves them all.
    for each in {telling.schedule: telling for telling in told}.values():
        following = Replay(each.schedule, each.operations)
        try:
            trace = runner.run(following.choose, max_steps=plan.max_steps)
            following.end(trace)
            compare(each.events, trace.events)
        except Diverged as diverged:
            yield (
                f"the schedule of {each.finding.kind} in {each.finding.object} did not lead there "
                f"again: {diverged}. Something in the program does not depend on the schedule "
                "alone: a clock, a random number, what an earlier run left behind"
            )


def _kept(events: tuple[Event, ...], key_steps: Sequence[int]) -> tuple[Event, ...]:
    """All steps; of a long run its end, or what lies before the step that did the damage."""
    end = len(events)
    if key_steps and end > _STEPS_KEPT:
        end = min(end, key_steps[-1] + 1 + _STEPS_KEPT // 20)
    return events[max(0, end - _STEPS_KEPT) : end]
