"""Kill the lab at random moments, again and again, and look for anything that it left.

python -m benchmarks.soak [--kills 200] [--seed 0] [--mode control]
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from lab.catalogue import select
from lab.kernel import ipc_tables, libc
from lab.kernel.queue_list import queue_directory
from lab.run.control import Runner, in_controller
from lab.run.limits import Isolation
from lab.run.observe import observe_body
from lab.run.root import Function
from lab.run.worlds import best
from lab.scenario import Scenario

LONGEST = 0.5
"""Seconds that the lab lives at most: from its first fork to some dozen runs."""
PATIENCE = 20.0
"""Seconds that the kernel has to take a namespace down."""


LEAVING = ["counter", "message_queue", "fifo.left_on_disk", "signal.parent_dies_first"]
"""What is observed: programs with objects of every type, most of which leave some."""


def control() -> None:
    """Run the counter under control, for ever."""
    (scenario,) = select(["counter.posix_guarded"])
    in_controller(_explore, Function(scenario.id, _body(scenario)))


def _explore(runner: Runner, _report: object) -> None:
    generator = random.Random(0)  # noqa: S311  # to be repeated, not to be secret
    while True:
        runner.run(lambda point: generator.randrange(len(point.enabled)), max_steps=5000)


def observe(isolation: Isolation) -> None:
    """Observe scenarios that leave objects, for ever."""
    for scenario in itertools.cycle(select(LEAVING)):
        observe_body(scenario.id, _body(scenario), isolation=isolation)


def _body(scenario: Scenario) -> Callable[[], object]:
    return functools.partial(scenario.body, **scenario.arguments({}))


MODES = {
    "control": control,
    "namespaces": functools.partial(observe, Isolation.NAMESPACES),
    "snapshots": functools.partial(observe, Isolation.SNAPSHOTS),
}


def kill_once(run: Callable[[], None], after: float, before: tuple[str, list[str]]) -> list[str]:
    """Start a lab, kill it after so many seconds, and give what is left of it in the end.

    What is there for a moment only is somebody else's, or on its way out.
    """
    lab = os.fork()
    if not lab:
        try:
            run()
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
    """What a lab could leave on the machine: mounts, objects, and directories for temporary files.

    On a machine on which others make such objects too, theirs are told with it.
    """
    queues = queue_directory()
    objects = [str(entry.key) for entry in ipc_tables.listing(queues)]
    if queues is not None:
        os.close(queues)
    mounts = Path("/proc/self/mountinfo").read_text()
    return (mounts, sorted(objects + [str(place) for place in _temporary()]))


def _temporary() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("lab-*"))


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
    parser.add_argument("--mode", choices=MODES, default="control")
    options = parser.parse_args()
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    moments = random.Random(options.seed)  # noqa: S311  # to be repeated, not to be secret
    best()  # found out once, for all that are forked
    before, failures = traces(), 0
    for kill in range(options.kills):
        moment = moments.uniform(0, LONGEST)
        left = kill_once(MODES[options.mode], moment, before)
        if left:
            failures += 1
            sys.stdout.write(f"kill {kill}, after {moment:.3f} s: {', '.join(left)}\n")
    sys.stdout.write(f"{options.kills} kills, {failures} of them left something\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
