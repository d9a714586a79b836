"""The unvaried: why a program is not proved, although every order of its steps was run.

A proof is about orders of visible operations. What a program does may also follow from what the
lab does not vary: from the moment at which a time limit or a timer runs out, from the instruction
before which a handler runs, from what a clock shows, from the private memory of threads, from a
server or a file outside the run. Then that no order showed a finding is worth telling, and is no
proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lab.trace import Action, Event

if TYPE_CHECKING:
    from lab.run.control.world import World

UNVARIED_TIMER = "it sets a timer, which does not go off at every moment at which it might"
HANDLER = "it handles a signal, which comes to it between its steps only, and not anywhere"
OUTSIDE_FILE = "it writes to files that are not put back between runs"
SEVERAL_EVENTS = "it is told of several events by one epoll, in the order in which they came"
UNMODELLED_EVENTS = {
    **dict.fromkeys(("inotify_init", "inotify_init1"), "it watches files by inotify"),
    "fanotify_init": "it watches files by fanotify",
    "pidfd_open": "it watches processes through descriptors",
}
OTHERS_IN_PROC = "it looks in /proc for what others do, and that is no step of theirs"
COUNTS_WAITERS = "it asks how many wait for a semaphore, and who waits here is not counted"
ATTACHED = "it attaches shared memory that another process removes, and to attach is no step"
PRIVATE_MAPPING = "it maps a file as a copy of its own, where it may see what others write later"
NOTIFIED = "it is notified of messages, and their arrival is no step of its own"
UNSHARED_FILE = "it writes to a directory of programs, and what is read there is no step"
TERMINAL = "it opens a pseudo-terminal, and what goes through that is no step"
MOVED_DIRECTORY = "it moves a directory in which another process has something open"
LINKED_FILE = "it uses a file that has several names, by more than one of them perhaps"


def unvaried_in(world: World) -> tuple[str, ...]:
    """Why no proof can rest on a run; none: one can."""
    return tuple(dict.fromkeys([*world.unvaried, *_found(world)]))


def _found(world: World) -> Iterator[str]:
    sleeps = any(event.action is Action.SLEEP for event in world.events)
    if any(_is_wait(event) and event.timed for event in world.events):
        yield "a wait in it has a time limit, which runs out only when nobody else can move"
    # The one reading from which an absolute sleep begins is taken away, see `clocks`.
    if sleeps and any(readings > 0 for readings in world.readings.values()):
        yield "it reads the clock and sleeps, so what it does may depend on how long things take"
    if any("." in task.name for task in world.tasks if not task.process.helper):
        yield "it has threads, and the memory that they share is not watched"
    if world.names.inherits:
        yield "it uses several things that were made before the run, named by first use"
    if world.store is not None or any(
        world.names.is_outside(event.object) for event in world.events
    ):
        yield "it speaks to a service outside the run"


def _is_wait(event: Event) -> bool:
    """Not a sleep, nor a Redis command, whose keys may have a time to live."""
    return event.action is not Action.SLEEP and (
        event.waits or not event.object.startswith("redis")
    )
