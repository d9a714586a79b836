"""A tree of processes that runs freely on the machine, looked at while it runs.

Nothing is kept apart, held up or ended: the lab only looks, by /proc and the kernel's tables. So it
can be turned on what hangs now. What the lab starts itself falls to it when its parent ends, and
is still seen then; of a tree that others started, the same is found by whom its processes are
handed to.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

import psutil

from lab.kernel import fdinfo, ipc_tables, libc, process_stat, procfs
from lab.kernel.libc import file_clock
from lab.kernel.outside import ANY_QUEUE, Outside, Thing
from lab.kernel.queue_list import queue_directory
from lab.look import Look
from lab.run.limits import LabError
from lab.run.root import CANNOT_EXECUTE, Command
from lab.run.seen import Seen
from lab.run.stacks import Stacks
from lab.run.things import things
from lab.run.tree import reap
from lab.run.watch import Watch
from lab.trace import Ending, Trace

STILL = 1.0
"""Seconds for which nobody has moved before it is said that nobody can."""
_SINCE = "Times count from the moment at which this watch began."


class Live:
    """A running tree under watch."""

    def __init__(self, name: str, watch: Watch, *, own: bool) -> None:
        """See `start` and `attach`.

        Args:
            name: what is watched, for the title.
            watch: which has met the root.
            own: this process has started it, and reaps what falls to it.
        """
        self._name = name
        self._watch = watch
        self._own = own
        self._stacks = Stacks()
        self._unmoved: float | None = None

    @property
    def status(self) -> int:
        """How the root ended, as a shell says it; 0 if that is not known."""
        status = self._watch.root.status or 0
        return 128 - status if status < 0 else status

    @property
    def alive(self) -> bool:
        """Whether anybody is left."""
        return any(not seen.helper for seen in self._watch.alive)

    def keep_up(self) -> None:
        """Take in who came, went and fell asleep; to be called several times in a second."""
        if self._own:
            reap(self._watch)
        self._watch.look()
        self._unmoved = self._watch.look_at_sleeps()

    def look(self) -> Look:
        """All that can be told at this moment."""
        blocked = self._watch.blocked() if self._watch.alive else ()
        still = self._unmoved is not None and self._unmoved >= STILL
        stuck = still and bool(blocked) and not any(wait.timed for wait in blocked)
        alive = [seen for seen in self._watch.alive if not seen.helper]
        trace = Trace(
            self._name,
            "observed",
            Ending.STUCK if stuck else Ending.INTERRUPTED,
            self._watch.now,
            self._watch.processes(),
            blocked=blocked,
        )
        return Look(
            trace,
            things(alive, blocked),
            tuple((seen.name, _state(seen)) for seen in alive),
            tuple(self._lines(alive)),
            self._unmoved,
            (*([] if self._own else [_SINCE]), *_unseen(alive)),
        )

    def _lines(self, alive: Sequence[Seen]) -> Iterator[tuple[str, str]]:
        for seen in alive:
            since = seen.asleep_since
            if since is not None and self._watch.now - since >= STILL:
                line = self._stacks.line(seen.pid, since)
                if line:
                    yield seen.name, line


def start(arguments: Sequence[str], output: int | None) -> Live:
    """Start a command on the machine itself, and watch it.

    It ends by SIGHUP when this process does, as when a terminal is closed.

    Args:
        arguments: the command.
        output: a terminal to be its standard output and error; None: it has ours.
    """
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    outside = _outside()
    child = os.fork()
    if not child:
        _become(arguments, output)
    watch = Watch(lambda: procfs.descendants(os.getpid()), orphan_after=0.0, outside=outside)
    root = watch.meet(child)
    assert root is not None, "our child, and nobody has waited for it"
    root.command = " ".join(arguments)
    return Live(" ".join(arguments), watch, own=True)


def attach(pid: int) -> Live:
    """Watch a process that runs already, and all that descends from it.

    Raises LabError if there is none.
    """
    try:
        handle = psutil.Process(pid)
        ancestors = [parent.pid for parent in handle.parents()]
    except psutil.Error:
        raise LabError(f"there is no process {pid}; `ps -ef` lists those that run") from None
    watch: Watch | None = None

    def pids() -> Iterable[int]:
        # Orphans are no descendants of the root any more: so those of each that is known.
        return set(_with_descendants(seen.pid for seen in watch.alive)) if watch else ()

    watch = Watch(
        pids,
        orphan_after=0.0,
        outside=_Everything(),
        heirs=frozenset((1, *ancestors)),
    )
    if watch.meet(pid) is None:
        raise LabError(f"process {pid} has just ended")
    return Live(process_stat.command(pid), watch, own=False)


class _Everything(Outside):
    """Of a tree that was not watched from its start nothing is known to be its own."""

    def shares(self, thing: Thing) -> bool:  # noqa: ARG002
        return True

    def shares_file(self, path: str) -> bool:  # noqa: ARG002
        return True


def _with_descendants(pids: Iterable[int]) -> Iterator[int]:
    for pid in pids:
        if process_stat.state(pid) != "X":
            yield pid
            with contextlib.suppress(psutil.Error):
                yield from procfs.descendants(pid)


def _outside() -> Outside:
    queues = queue_directory()
    try:
        there = {entry.thing for entry in ipc_tables.listing(queues)}
    finally:
        if queues is not None:
            os.close(queues)
    unlisted = {ANY_QUEUE} if queues is None else set()
    return Outside(frozenset(there | unlisted | fdinfo.opened(os.getpid())), file_clock())


def _become(arguments: Sequence[str], output: int | None) -> NoReturn:
    try:
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGHUP)
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 0)
        if output is not None:
            os.dup2(output, 1)
            os.dup2(output, 2)
        Command(tuple(arguments)).execute()
    finally:
        os._exit(CANNOT_EXECUTE)  # whatever happens, this must not run on as a second lab


def _state(seen: Seen) -> str:
    if seen.stopped:
        return "stopped"
    state = process_stat.state(seen.pid)
    if state in "SD":
        return "sleeps"
    return "ends" if state in "ZX" else "runs"


def _unseen(alive: Sequence[Seen]) -> Iterator[str]:
    hidden = [seen for seen in alive if not _may_be_read(seen.pid)]
    if hidden:
        names = ", ".join(seen.name for seen in hidden)
        yield (
            f"What {names} waits for may not be read: run `lab watch` as its user or as root; "
            "where kernel.yama.ptrace_scope is 1 or more, only root may look at what others started"
        )
    if alive and _ipc_of(alive[0].pid) not in ("", _ipc_of(os.getpid())):
        yield (
            "It runs in another IPC namespace, a container's say: its System V objects are listed "
            "only by a `lab watch` in there"
        )


def _may_be_read(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/syscall") as file:
            file.read()
    except PermissionError:
        return False
    except OSError:
        return True  # it is gone
    return True


def _ipc_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/ipc")
    except OSError:
        return ""
