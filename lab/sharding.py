"""A search in several tracer processes at once, with the answer that one would have given.

Each shard makes its runs and reports them with their numbers. Here they are put in order again, and
in that order they are counted, told and held against `stop_at_first`: so whoever was faster decides
nothing. What comes after the search, shrinking and the last replay, is one process's work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.essence import Essence
from lab.finding import Finding
from lab.loop import Outcome, Plan, finish, rerun
from lab.search.schedule import Recorder
from lab.search.shard import Shard
from lab.search.strategy import Strategy
from lab.search.token import Token
from lab.target import Target
from lab.telling import Identity, Teller, Telling

if TYPE_CHECKING:
    from lab.run.control import Runner


@dataclass(frozen=True)
class Numbered:
    """A run of a shard."""

    number: int
    """In the whole search."""
    run: Essence
    tellings: tuple[Telling, ...]
    """Of the findings that it showed more simply than any run of its shard before."""


class Ordered:
    """Takes runs as they come and hands them on in order, as one search would have shown them.

    Args:
        told: how findings are told so far.
        report: is given each run.
        stop_at_first: hand on no more after a run that shows a finding.
    """

    def __init__(
        self,
        told: dict[Identity, Telling],
        report: Callable[[Essence], None],
        *,
        stop_at_first: bool = False,
    ) -> None:
        self.told = told
        self.over = False
        self._report, self._stop_at_first = report, stop_at_first
        self._early: dict[int, Numbered] = {}
        self._next = 0

    def add(self, numbered: Numbered) -> bool:
        """Take one more; whether the search is over with it."""
        self._early[numbered.number] = numbered
        while not self.over and self._next in self._early:
            self._hand_on(self._early.pop(self._next))
            self._next += 1
        return self.over

    def flush(self) -> None:
        """Hand on what came too early, since what is missing will not come any more."""
        for number in sorted(self._early):
            if not self.over:
                self._hand_on(self._early.pop(number))

    def _hand_on(self, numbered: Numbered) -> None:
        simpler = {
            telling.finding.identity: telling
            for telling in numbered.tellings
            if telling.finding.identity not in self.told
            or telling.schedule < self.told[telling.finding.identity].schedule
        }
        self.told |= simpler
        findings = tuple(
            each if each.identity in simpler else _plain(each) for each in numbered.run.findings
        )
        self._report(dataclasses.replace(numbered.run, findings=findings))
        self.over = self._stop_at_first and bool(findings)


def sharded(
    wanted: Target,
    plan: Plan,
    strategies: Sequence[Strategy],
    saved: Sequence[Token],
    heard: Callable[[Essence], None],
) -> Outcome:
    """Search with as many tracer processes as there are strategies.

    Args:
        wanted: what is explored.
        plan: how far.
        strategies: alike and divisible, one for each process.
        saved: runs that were known before; they come first.
        heard: is given each run, in order.

    Raises as `lab.run.control.in_controllers` does; what had come by then was heard.
    """
    from lab.run.control import in_controller, in_controllers

    def first(
        runner: Runner, report: Callable[[object], None]
    ) -> tuple[tuple[int, ...], dict[Identity, Telling]]:
        teller = Teller(wanted.origin, plan.max_steps, strict_races=plan.strict_races)
        return rerun(runner, plan, teller, saved, report), teller.told

    def last(
        runner: Runner, report: Callable[[object], None]
    ) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
        teller = Teller(wanted.origin, plan.max_steps, strict_races=plan.strict_races)
        teller.told = ordered.told
        return finish(runner, plan, teller, report)

    def of_essence(run: object) -> None:
        assert isinstance(run, Essence)
        heard(run)

    stale: tuple[int, ...] = ()
    told: dict[Identity, Telling] = {}
    if saved:
        stale, told = in_controller(first, wanted.program, wanted.limits, heard=of_essence)
    ordered = Ordered(told, heard, stop_at_first=plan.stop_at_first)

    def of_shard(numbered: object) -> bool:
        assert isinstance(numbered, Numbered)
        return ordered.add(numbered)

    if not (plan.stop_at_first and told):
        works = [
            _Work(wanted, plan, Shard(strategy, index, len(strategies)))
            for index, strategy in enumerate(strategies)
        ]
        try:
            in_controllers(works, wanted.program, wanted.limits, heard=of_shard)
        finally:
            ordered.flush()
    if not ordered.told:
        return Outcome(stale=stale)
    findings, notes = in_controller(last, wanted.program, wanted.limits, heard=of_essence)
    return Outcome(findings=findings, notes=notes, stale=stale)


@dataclass(frozen=True)
class _Work:
    """What one shard does."""

    wanted: Target
    plan: Plan
    shard: Shard

    def __call__(self, runner: Runner, report: Callable[[object], None]) -> None:
        plan, shard = self.plan, self.shard
        teller = Teller(self.wanted.origin, plan.max_steps, strict_races=plan.strict_races)
        while shard.begin() and shard.run < plan.schedules:
            recorder = Recorder(shard.choose)
            trace = runner.run(recorder, max_steps=plan.max_steps)
            shard.end(trace)
            before = dict(teller.told)
            run = teller.tell(trace, recorder)
            tellings = tuple(
                now for identity, now in teller.told.items() if now is not before.get(identity)
            )
            report(Numbered(shard.run, run, tellings))
            if plan.stop_at_first and run.findings:
                return


def _plain(finding: Finding) -> Finding:
    """Without a run: a simpler one is told already."""
    return dataclasses.replace(finding, schedule="", steps=())
