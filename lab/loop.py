"""The loop: search proposes, run executes, detect judges.

It knows neither processes nor strategies, only what each looks like, so a test drives it with toy
tasks. It runs where the tracer is, and hands out the essence of each run; whole traces stay behind.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lab.detect.wording import listed
from lab.essence import Essence, essence
from lab.finding import Finding, Kind
from lab.search.replay import Diverged, Replay, Unlike, compare, named_by
from lab.search.schedule import Choose, Recorder
from lab.search.shrink import Loosely
from lab.search.strategy import Pruned, Strategy, Systematic
from lab.search.token import Origin, Token, fingerprint
from lab.shrinking import shrink_told
from lab.telling import Teller, Telling, with_steps
from lab.trace import Event, Trace

MOST_STEPS = 10_000
"""Steps after which a run counts as one without end."""
_WHY = (
    "Something in the program does not depend on the schedule alone: a clock, a random number, "
    "what an earlier run left behind"
)
_PRUNED_EACH = 10
"""A search may abandon so many runs for each that it was to make."""


class Runner(Protocol):
    """Runs one program, again and again from the same start."""

    def run(self, choose: Choose, *, max_steps: int, with_lines: bool = False) -> Trace:
        """One run, in which `choose` says who moves. Raises what that raises.

        With lines it takes longer, and each step tells at which line the program was.
        """


@dataclass(frozen=True)
class Plan:
    """How far to search."""

    schedules: int = 100
    max_steps: int = MOST_STEPS
    stop_at_first: bool = False
    """End with the first run that shows a finding."""
    shrinking: int = 200
    """Further runs that may be made for each finding, to show it by a simpler schedule."""
    strict_races: bool = False
    """A data race is a finding, and not just worth a note."""
    until: frozenset[Kind] = frozenset()
    """End when all of these kinds were found; none: they are no reason to end."""

    def satisfied(self, found: Iterable[Finding]) -> bool:
        """Whether what was found is all that was looked for."""
        kinds = {finding.kind for finding in found}
        return (self.stop_at_first and bool(kinds)) or (bool(self.until) and self.until <= kinds)


@dataclass(frozen=True)
class Outcome:
    """What is known when a search is over, beside its runs."""

    proved_for: str = ""
    """The scope in which no interleaving was left out; "" if some were."""
    pruned: int = 0
    """Runs that were abandoned, since they would have repeated others."""
    findings: tuple[Finding, ...] = ()
    """Once more those that were told with a schedule, now with the lines of the program."""
    notes: tuple[str, ...] = ()
    stale: tuple[int, ...] = ()
    """Which of the saved runs, by their place among them, turned out to be other runs now."""
    astray: str = ""
    """Why the search had to end: a schedule that was run again led elsewhere."""


def search(
    runner: Runner,
    strategy: Strategy,
    plan: Plan,
    origin: Origin,
    report: Callable[[Essence], None],
    saved: Sequence[Token] = (),
) -> Outcome:
    """Run one schedule after another.

    Each finding is told with its schedule and its steps by the simplest run that showed it, and
    its schedule is shrunk when the search is over. What was so told is replayed in the end: it
    shows at which lines it happened, and a schedule that does not lead there again is no evidence
    that a reader could use.

    Args:
        runner: of the program.
        strategy: chooses the schedules.
        plan: how far to search.
        origin: the program, as tokens name it.
        report: is given each run when it is over.
        saved: runs of the same program that were known before; they come first.
    """
    teller = Teller(origin, plan.max_steps, strict_races=plan.strict_races)
    stale = rerun(runner, plan, teller, saved, report)
    runs = pruned = 0
    astray = ""
    over = plan.satisfied(teller.found)
    while not over and runs < plan.schedules and pruned < _PRUNED_EACH * plan.schedules:
        if not strategy.begin():
            break
        recorder = Recorder(strategy.choose)
        try:
            trace = runner.run(recorder, max_steps=plan.max_steps)
        except Pruned:
            pruned += 1
            continue
        except Diverged as diverged:
            astray = f"the beginning of a run could not be repeated: {diverged}. {_WHY}"
            break
        runs += 1
        strategy.end(trace)
        run = teller.tell(trace, recorder)
        report(run)
        over = plan.satisfied(teller.found)
    findings, notes = finish(runner, plan, teller, report)
    proved_for = _scope(strategy, over=over or bool(astray))
    return Outcome(proved_for, pruned, findings, notes, stale, astray)


def rerun(
    runner: Runner,
    plan: Plan,
    teller: Teller,
    saved: Sequence[Token],
    report: Callable[[Essence], None],
) -> tuple[int, ...]:
    """Run what is saved, as far as it can be followed; gives what turned out to be other runs."""
    stale = []
    for index, token in enumerate(saved):
        recorder = Recorder(Loosely(token.schedule.deviations))
        trace = runner.run(recorder, max_steps=plan.max_steps)
        if fingerprint(trace) != token.fingerprint:
            stale.append(index)
        report(teller.tell(trace, recorder))
    return tuple(stale)


def finish(
    runner: Runner, plan: Plan, teller: Teller, report: Callable[[Essence], None]
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """When a search is over: shrink and replay what it told; gives the findings, and notes."""
    if plan.shrinking:
        shrink_told(runner, teller, most=plan.shrinking, max_steps=plan.max_steps, report=report)
    return _explained(runner, plan, teller.told.values())


def _scope(strategy: Strategy, *, over: bool) -> str:
    """What a strategy has exhausted. Only to be asked for one run more may tell it so."""
    if over or not isinstance(strategy, Systematic) or strategy.begin():
        return ""
    return strategy.scope if strategy.exhausted else ""


def replay(
    runner: Runner, token: Token, recorded: Sequence[Event] = (), *, strict_races: bool = False
) -> Essence:
    """The run of a token, once more.

    Args:
        runner: of the program.
        token: the run.
        recorded: its steps, from the first, where they are known.
        strict_races: a data race is a finding.

    Raises Diverged at the first step at which it is known to be another run.
    """

    def followed(*, with_lines: bool) -> Trace:
        following = Replay(token.schedule, token.actions)
        trace = runner.run(following.choose, max_steps=token.max_steps, with_lines=with_lines)
        following.end(trace)
        compare(recorded, trace.events[: len(recorded)])
        if fingerprint(trace) != token.fingerprint:
            raise Unlike(len(trace.events))
        return trace

    try:
        trace = followed(with_lines=False)
    except Diverged as diverged:
        raise named_by(recorded, diverged) from None
    # To record lines is work that the program would not do, so it must not decide.
    with contextlib.suppress(Diverged):
        trace = followed(with_lines=True)
    run = essence(trace, strict_races=strict_races)
    findings = tuple(with_steps(each, trace, str(token)) for each in run.findings)
    return dataclasses.replace(run, findings=findings)


def _explained(
    runner: Runner, plan: Plan, told: Iterable[Telling]
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Replay what was told: the findings with lines, and a note where that led elsewhere."""
    findings: list[Finding] = []
    notes: list[str] = []
    by_run: dict[str, list[Telling]] = {}
    for telling in told:
        by_run.setdefault(telling.token, []).append(telling)
    for token, tellings in by_run.items():
        try:
            trace = _again(runner, plan, tellings[0])
        except Diverged as diverged:
            notes.append(
                f"the schedule of {listed([str(each.finding.kind) for each in tellings])} did not "
                f"lead there again: {diverged}. {_WHY}"
            )
            continue
        wanted = {each.finding.identity: each.shrunk for each in tellings}
        findings.extend(
            with_steps(each, trace, token, wanted[each.identity])
            for each in essence(trace, strict_races=plan.strict_races).findings
            if each.identity in wanted
        )
    return tuple(findings), tuple(notes)


def _again(runner: Runner, plan: Plan, telling: Telling) -> Trace:
    def followed(*, with_lines: bool) -> Trace:
        following = Replay(telling.schedule, telling.operations)
        trace = runner.run(following.choose, max_steps=plan.max_steps, with_lines=with_lines)
        following.end(trace)
        compare(telling.events, trace.events)
        return trace

    try:
        return followed(with_lines=True)
    except Diverged:  # perhaps by the work of recording lines
        return followed(with_lines=False)
