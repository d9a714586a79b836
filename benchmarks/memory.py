"""Let one tracer make thousands of runs, and tell what it holds after each tenth of them.

python -m benchmarks.memory [--schedules 10000] [--seed 0]
"""

from __future__ import annotations

import argparse
import functools
import mmap
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

from lab.run.control import Runner, in_controller
from lab.run.root import Function
from scenarios import counter


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    def work(runner: Runner, report: Callable[[object], None]) -> None:
        chance = random.Random(options.seed)  # noqa: S311  # to be repeated, not to be secret
        for number in range(1, options.schedules + 1):
            runner.run(lambda point: chance.randrange(len(point.enabled)), max_steps=5000)
            if number % (options.schedules // 10 or 1) == 0 or number == 1:
                kib = int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE >> 10
                held = len(os.listdir("/proc/self/fd"))
                report(f"{number:>6} runs: {kib:>6} KiB resident, {held} descriptors\n")

    def heard(line: object) -> None:
        sys.stdout.write(str(line))
        sys.stdout.flush()

    body = functools.partial(counter.posix_guarded, window=0.0)
    in_controller(work, Function("posix_guarded", body), heard=heard)


if __name__ == "__main__":
    main()
