"""Run a program under control, and hold that the same choices make the same run."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Callable, Collection
from itertools import zip_longest
from typing import Any

import pytest

import lab
from lab.run.control import Runner, in_controller
from lab.run.limits import Limits
from lab.run.root import Command, Function, Program
from lab.search.dpor import Dpor
from lab.search.strategy import Pending, Point, Pruned
from lab.trace import Action, Ending, Event, Trace

Chooser = Callable[[Point], int]
MOST_STEPS = 20_000


def explore(
    program: Program | Callable[[], Any],
    schedules: int = 10,
    *,
    repeats: int = 10,
    max_steps: int = MOST_STEPS,
    **limits: Any,
) -> list[Trace]:
    """Runs of a program under random schedules, one each; the first of them is no preemption.

    Every schedule is run twice, and the second one `repeats` times: each repetition must be the
    same run, operation by operation, with the same output, processes and end.
    """

    def work(runner: Runner, _report: Callable[[object], None]) -> tuple[list[Trace], list[str]]:
        traces, unlike = [], []
        for seed in range(schedules):
            first = runner.run(_seeded(seed), max_steps=max_steps)
            traces.append(first)
            if first.ending is Ending.TIMED_OUT:
                break  # it fails anyway, and each further run would take as long
            for again in range(1, repeats if seed == 1 or schedules == 1 else 2):
                other = runner.run(_seeded(seed), max_steps=max_steps)
                if other != first:
                    unlike.append(f"schedule {seed}, run {again}: {_difference(first, other)}")
        return traces, unlike

    traces, unlike = in_controller(work, _program(program), Limits(**limits))
    if unlike:
        pytest.fail("\n".join(unlike))
    return traces


def run(
    program: Program | Callable[[], Any],
    strategy: Callable[[], Chooser] | None = None,
    *,
    max_steps: int = MOST_STEPS,
    **limits: Any,
) -> Trace:
    """One run, without preemptions or with choices of one's own; made twice, and both alike."""

    def work(runner: Runner, _report: Callable[[object], None]) -> tuple[Trace, str]:
        wanted = strategy or (lambda: _seeded(0))
        first = runner.run(wanted(), max_steps=max_steps)
        other = runner.run(wanted(), max_steps=max_steps)
        return first, "" if other == first else _difference(first, other)

    trace, unlike = in_controller(work, _program(program), Limits(**limits))
    if unlike:
        pytest.fail(unlike)
    return trace


def proved(program: Program | Callable[[], Any]) -> tuple[Dpor, list[Trace]]:
    """All runs of DPOR."""

    def work(runner: Runner, _report: Callable[[object], None]) -> tuple[Dpor, list[Trace]]:
        dpor, traces = Dpor(), []
        while dpor.begin():
            try:
                trace = runner.run(dpor.choose, max_steps=1000)
            except Pruned:
                continue
            dpor.end(trace)
            traces.append(trace)
        return dpor, traces

    return in_controller(work, _program(program), Limits())


def completed(traces: Collection[Trace]) -> None:
    """Hold that every run ended by itself, as the program meant it to."""
    for trace in traces:
        if trace.ending is not Ending.COMPLETED or trace.failure or trace.root.status:
            pytest.fail(
                f"{trace.ending} {trace.trouble} {trace.failure} status {trace.root.status} "
                f"{trace.blocked}\n{trace.output}"
            )


def endings(traces: Collection[Trace]) -> set[Ending]:
    """How the runs ended; fails where the lab itself did."""
    assert [trace.trouble for trace in traces if trace.trouble] == []
    return {trace.ending for trace in traces}


def outputs(traces: Collection[Trace]) -> set[str]:
    """What the runs printed."""
    return {trace.output for trace in traces}


def outcomes(body: Callable[[], lab.Tally]) -> set[str]:
    """Everything that can come out, by a search that runs every order of dependent steps."""
    result = lab.explore(body, strategy="dpor", schedules=60, shrinking=0)
    assert result.exhausted
    return {outcome.result for outcome in result.outcomes}


def steps(trace: Trace, *actions: Action, of: str = "") -> list[Event]:
    """The steps of a run with these actions, on objects whose names begin so."""
    return [
        event
        for event in trace.events
        if (event.action in actions or not actions) and event.object.startswith(of)
    ]


def order(*names: str) -> Callable[[], Chooser]:
    """Let the first of these tasks that can move do so; the default where none of them can."""

    def choose(point: Point) -> int:
        able = [pending.process for pending in point.enabled]
        return next((able.index(name) for name in names if name in able), point.default)

    return lambda: choose


def switch(first: str, after: Callable[[Pending], bool], *then: str) -> Callable[[], Chooser]:
    """Let one task move as long as it can, up to a certain step of it; then these, in order."""

    def strategy() -> Chooser:
        switched = False
        rest = order(*then)()

        def choose(point: Point) -> int:
            nonlocal switched
            able = [pending.process for pending in point.enabled]
            if switched or first not in able:
                return rest(point) if switched else point.default
            index = able.index(first)
            switched = after(point.enabled[index])
            return index

        return choose

    return strategy


def _seeded(seed: int) -> Chooser:
    if seed == 0:
        return lambda point: point.default
    generator = random.Random(seed)  # noqa: S311  # to be repeated, not to be secret
    return lambda point: generator.randrange(len(point.enabled))


def _program(program: Program | Callable[[], Any]) -> Program:
    if isinstance(program, Command | Function):
        return program
    return Function(getattr(program, "__name__", "body"), program)


def _difference(one: Trace, other: Trace) -> str:
    for mine, theirs in zip_longest(one.events, other.events):
        if mine != theirs:
            return f"\n    {mine}\n    {theirs}"
    return "; ".join(
        f"{field.name}: {getattr(one, field.name)!r} then {getattr(other, field.name)!r}"
        for field in dataclasses.fields(Trace)
        if field.name != "events" and getattr(one, field.name) != getattr(other, field.name)
    )


def in_children(*works: Callable[[], object]) -> None:
    """In a program: let each be done by a child of its own, and wait for all of them."""
    children = []
    for work in works:
        child = os.fork()
        if not child:
            work()
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
