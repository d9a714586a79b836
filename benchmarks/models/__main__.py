"""Hold the strategies to what is known of small models; the exit status is 1 where they differ.

    python -m benchmarks.models first-bug --seeds 2000
    python -m benchmarks.models traces --programs 2000

`first-bug` prints the mean number of schedules to the first bug beside the expected one. `traces`
compares DPOR on random programs with brute force: as many executions as inequivalent traces, each
once, with the same final states.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from lab.search.dpor import Dpor
from lab.search.pct import Pct
from lab.search.pos import Pos
from lab.search.random import Random
from lab.search.strategy import Strategy
from tests.search import models
from tests.search.programs import random_program, runs_to_first_bug, search, truth
from tests.search.toy import Program, trace_class

MODELS: dict[str, tuple[Program, int, tuple[float, float, float, float]]] = {
    "deadlock01": (models.deadlock01(), 12, (2, 12, 6.2, 3.0)),
    "account": (models.account(), 14, (3, 3, 3, 3)),
    "twostage": (models.twostage(), 14, (64, 9.4, 6.2, 11.7)),
    "reorder_3": (models.reorder(3), 8, (20.2, 24, 13.3, 10.1)),
    "reorder_5": (models.reorder(5), 12, (33.1, 60, 34, 15.7)),
    "wronglock_3": (models.wronglock(3), 18, (2.7, 12.0, 7.5, 2.7)),
}
"""Steps, and the expected means in the order of `STRATEGIES`."""

STRATEGIES: dict[str, Callable[[int, int], Strategy]] = {
    "random": lambda seed, _: Random(seed),
    "pct d=2": lambda seed, steps: Pct(seed, 2, steps),
    "pct d=3": lambda seed, steps: Pct(seed, 3, steps),
    "pos": lambda seed, _: Pos(seed),
}
_TOLERANCE = 0.1


def first_bug(seeds: int) -> bool:
    """Print the table; whether every mean is within a tenth of the expected one."""
    good = True
    _say(f"{'':12}", *(f"{name:>18}" for name in STRATEGIES))
    for name, (program, steps, expected) in MODELS.items():
        cells = []
        for make, known in zip(STRATEGIES.values(), expected, strict=True):
            runs = sum(runs_to_first_bug(program, make(seed, steps)) for seed in range(seeds))
            off = runs / seeds / known - 1
            good &= abs(off) <= _TOLERANCE
            cells.append(f"{runs / seeds:8.2f} {known:4g} {off:+4.0%}")
        _say(f"{name:12}", *(f"{cell:>18}" for cell in cells))
    return good


def traces(programs: int, most: int) -> bool:
    """Compare DPOR with brute force; whether they agree on every program."""
    compared = executions = redundant = wrong = 0
    for seed in range(programs):
        program = random_program(seed)
        true = truth(program, most)
        if true is None:
            continue
        dpor = Dpor()
        runs = search(program, dpor)
        classes = {trace_class(each.trace.events) for each in runs}
        agree = classes == true.classes and len(runs) == len(classes)
        if not (agree and {each.state for each in runs} == true.states):
            wrong += 1
            _say(f"program {seed}: {len(runs)} executions, {len(true.classes)} traces")
        compared, executions = compared + 1, executions + len(runs)
        redundant += dpor.redundant
    _say(
        f"{compared} programs with at most {most} interleavings, {wrong} wrong; "
        f"{executions} executions, {redundant} redundant"
    )
    return not wrong


def main() -> int:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    bug = kinds.add_parser("first-bug")
    bug.add_argument("--seeds", type=int, default=2000)
    trace = kinds.add_parser("traces")
    trace.add_argument("--programs", type=int, default=2000)
    trace.add_argument("--most", type=int, default=2000, help="interleavings of a program")
    arguments = parser.parse_args()
    if arguments.kind == "first-bug":
        return 0 if first_bug(arguments.seeds) else 1
    return 0 if traces(arguments.programs, arguments.most) else 1


def _say(*cells: str) -> None:
    sys.stdout.write(" ".join(cells) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
