"""What control costs and finds, on the counter of 3 writers with 5 increments each.

    python -m benchmarks.control [--runs N] [--seeds N]

Costs are told as ratios to the bare loop that forks the same body freely and waits for it, taken
in turn with the controlled runs, since machines are noisy; stops are exact.
"""

from __future__ import annotations

import argparse
import functools
import os
import resource
import statistics
import time
from collections.abc import Callable
from random import Random

import lab
from lab.run.control import Runner, in_controller
from lab.run.root import Function
from lab.search.strategy import Point
from scenarios import counter

_MOST_STEPS = 10_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60, help="controlled runs for each cost")
    parser.add_argument("--seeds", type=int, default=100, help="searches for the lost update")
    parser.add_argument("--guarded", type=int, default=1000, help="schedules of the guarded one")
    arguments = parser.parse_args()
    for name in ("posix_unguarded", "posix_guarded", "sysv_guarded"):
        _cost(name, arguments.runs)
    _first_bug(arguments.seeds)
    _guarded(arguments.guarded)


def _cost(name: str, runs: int) -> None:
    body = functools.partial(getattr(counter, name), window=0.0)
    program = Function(name, body)

    def work(runner: Runner, _report: object) -> tuple[list[float], list[float], int, int]:
        bare, controlled, memory = [], [], 0
        for run in range(runs):
            choose = functools.partial(_at_random, Random(run))  # noqa: S311  # to be repeated
            controlled.append(_timed(lambda: runner.run(choose, max_steps=_MOST_STEPS)))  # noqa: B023
            bare.append(_timed(lambda: _freely(body)))
            if run == runs // 2:
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        return bare, controlled, runner.stops // runner.runs, grown

    bare, controlled, stops, grown = in_controller(work, program)
    ratio = statistics.median(controlled) / statistics.median(bare)
    print(
        f"{name}: {ratio:.1f} times the bare loop "
        f"({statistics.median(controlled) * 1e3:.1f} ms to {statistics.median(bare) * 1e3:.1f} ms, "
        f"medians of {runs}), {stops} stops a run, "
        f"{grown} KiB more in the second half of the runs"
    )


def _first_bug(seeds: int) -> None:
    body = functools.partial(counter.posix_unguarded, window=0.0)
    within = 0
    for seed in range(seeds):
        result = lab.explore(body, strategy="random", schedules=3, seed=seed, shrinking=0)
        within += any(finding.kind is lab.Kind.LOST_UPDATE for finding in result.findings)
    print(f"unguarded: a lost update within 3 schedules for {within} of {seeds} seeds")


def _guarded(schedules: int) -> None:
    body = functools.partial(counter.posix_guarded, window=0.0)
    result = lab.explore(body, strategy="random", schedules=schedules)
    print(f"guarded: {len(result.findings)} findings in {result.runs} schedules")


def _at_random(random: Random, point: Point) -> int:
    return random.randrange(len(point.enabled))


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _freely(body: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        body()
        os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
