"""Kill the lab at random moments, again and again, and look for anything that it left.

python -m benchmarks.soak [--kills 200] [--seed 0]
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import signal
import sys
import time
from pathlib import Path

import psutil

from lab.catalogue import select
from lab.kernel import libc
from lab.run.control import Runner, in_controller
from lab.run.root import Function
from lab.run.worlds import best

LONGEST = 0.5
"""Seconds that the lab lives at most: from its first fork to some dozen runs."""
PATIENCE = 20.0
"""Seconds that the kernel has to take a namespace down."""


def explore(runner: Runner, _report: object) -> None:
    """Run the counter for ever."""
    generator = random.Random(0)  # noqa: S311  # to be repeated, not to be secret
    while True:
        runner.run(lambda point: generator.randrange(len(point.enabled)), max_steps=5000)


def kill_once(after: float, before: tuple[str, list[str]]) -> list[str]:
    """Start a lab, kill it after so many seconds, and give what is left of it in the end.

    What is there for a moment only is somebody else's, or on its way out.
    """
    lab = os.fork()
    if not lab:
        try:
            (scenario,) = select(["counter.posix_guarded"])
            body = functools.partial(scenario.body, **scenario.arguments({}))
            in_controller(explore, Function(scenario.id, body))
        finally:
            os._exit(1)
    time.sleep(after)
    os.kill(lab, signal.SIGKILL)
    os.waitpid(lab, 0)
    end = time.monotonic() + PATIENCE
    while (left := living() + changed(before)) and time.monotonic() < end:
        time.sleep(0.005)
    return left


def living() -> list[str]:
    """What lives below this process, which is everybody's reaper; the dead are taken."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
            else:
                found.append(f"{child.name()} ({child.status()})")
        except (psutil.NoSuchProcess, ChildProcessError):
            continue
    return found


def traces() -> tuple[str, list[str]]:
    """What a lab could leave on the machine: mounts, and shared memory."""
    return (
        Path("/proc/self/mountinfo").read_text(),
        sorted(os.listdir("/dev/shm")),
    )


def changed(before: tuple[str, list[str]]) -> list[str]:
    """What the machine has that it had not."""
    now = traces()
    objects = {*now[1]} - {*before[1]}
    return sorted(objects) + (["a mount"] if now[0] != before[0] else [])


def main() -> int:
    """Kill; 1 if anything was ever left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    moments = random.Random(options.seed)  # noqa: S311  # to be repeated, not to be secret
    best()  # found out once, for all that are forked
    before, failures = traces(), 0
    for kill in range(options.kills):
        moment = moments.uniform(0, LONGEST)
        left = kill_once(moment, before)
        if left:
            failures += 1
            sys.stdout.write(f"kill {kill}, after {moment:.3f} s: {', '.join(left)}\n")
    sys.stdout.write(f"{options.kills} kills, {failures} of them left something\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
