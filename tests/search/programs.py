"""Small random programs over everything that the toy has, and what is true of them by counting."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from lab.search.strategy import Pruned, Strategy
from tests.search.toy import (
    Body,
    Operation,
    Program,
    Run,
    Task,
    acquire,
    attempt,
    interleavings,
    read,
    receive,
    release,
    run,
    send,
    spawn,
    trace_class,
    update,
    wait,
    write,
)

_Make = Callable[[random.Random], list[Operation]]


def _memory(draw: random.Random) -> list[Operation]:
    place = draw.choice("xy")
    return [
        draw.choice([read(place), write(place, draw.randint(1, 2)), update(place, lambda n: n + 3)])
    ]


def _critical_section(draw: random.Random) -> list[Operation]:
    outer, inner = draw.sample(["m", "k"], 2)
    inside = draw.choice([[read("x")], [write("x", 5)], [acquire(inner), release(inner)]])
    return [acquire(outer), *inside, release(outer)]


def _semaphore(draw: random.Random) -> list[Operation]:
    return [draw.choice([acquire("s"), release("s"), attempt("s")])]


def _queue(draw: random.Random) -> list[Operation]:
    return [draw.choice([send("q", draw.randint(1, 3)), receive("q")])]


_KINDS: tuple[_Make, ...] = (_memory, _memory, _critical_section, _semaphore, _queue)


def random_program(seed: int) -> Program:
    """2 to 4 tasks, there from the start or spawned and at times awaited, in any mixture."""
    draw = random.Random(seed)  # noqa: S311
    kinds = draw.sample(_KINDS, draw.randint(1, 3))
    names = [f"P{number}" for number in range(draw.randint(2, 4))]
    length = draw.randint(4, 9) // len(names)
    plans: dict[str, list[Operation]] = {name: [] for name in names}
    for plan in plans.values():
        while len(plan) < max(1, length):
            plan.extend(draw.choice(kinds)(draw))
    roots = names
    if draw.random() < 0.5:
        roots = names[:1]
        for rank, name in enumerate(names[1:], start=1):
            parent = plans[draw.choice(names[:rank])]
            place = draw.randint(0, len(parent))
            parent.insert(place, spawn(name, _body(name, plans)))
            if draw.random() < 0.6:
                parent.insert(draw.randint(place + 1, len(parent)), wait(name))
    return Program(
        {name: _body(name, plans) for name in roots},
        semaphores={"s": draw.randint(0, 2)},
        capacities={"q": draw.randint(1, 2)},
    )


def _body(name: str, plans: dict[str, list[Operation]]) -> Body:
    def body() -> Task:
        heard = 0
        for operation in plans[name]:
            answer = yield operation
            heard += answer if isinstance(answer, int) else 0
        # What it does in the end depends on what it has seen.
        if heard % 3 == 2:
            yield write("x", heard)
        if heard % 2:
            yield write(f"odd {name}", 1)

    return body


@dataclass(frozen=True)
class Truth:
    """What brute force says about a program."""

    runs: tuple[Run, ...]

    @property
    def classes(self) -> set[Hashable]:
        return {trace_class(each.trace.events) for each in self.runs}

    @property
    def states(self) -> set[Hashable]:
        return {each.state for each in self.runs}


def truth(program: Program, most: int) -> Truth | None:
    """All interleavings; None if there are too many to be counted."""
    runs = []
    for each in interleavings(program):
        runs.append(each)
        if len(runs) > most:
            return None
    return Truth(tuple(runs))


def search(program: Program, strategy: Strategy, most: int = 10_000) -> list[Run]:
    """All runs that a strategy makes to their end."""
    runs: list[Run] = []
    for _ in range(most):
        if not strategy.begin():
            return runs
        try:
            each = run(program, strategy.choose)
        except Pruned:
            continue
        strategy.end(each.trace)
        runs.append(each)
    raise AssertionError(f"the search does not end in {most} runs")


def runs_to_first_bug(program: Program, strategy: Strategy, most: int = 10_000) -> int:
    """How many runs it takes until one is buggy, that one included."""
    for count in range(1, most + 1):
        assert strategy.begin()
        try:
            each = run(program, strategy.choose)
        except Pruned:
            continue
        strategy.end(each.trace)
        if each.buggy:
            return count
    raise AssertionError(f"no bug in {most} runs")
