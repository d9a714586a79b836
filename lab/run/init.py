"""The sandbox's init: starts the root, watches, reaps what nobody else does, takes stock.

In namespaces it is PID 1, so the kernel ends every process of the run with it. Elsewhere it is a
subreaper, and ends its descendants itself, also when the lab is gone.
"""

from __future__ import annotations

import os
import select
import signal
import tempfile
import typing
from collections.abc import Callable
from dataclasses import dataclass

from lab.kernel import fdinfo, libc
from lab.kernel.ipc_namespace import NamespaceError
from lab.kernel.libc import file_clock
from lab.kernel.namespaces import PID_CEILING
from lab.kernel.outside import Outside
from lab.run.letterbox import Letterbox, State
from lab.run.limits import Isolation, Limits
from lab.run.line import SandboxEnd
from lab.run.output import Output
from lab.run.root import Command, Program, begin
from lab.run.stock import HostStock, PrivateStock
from lab.run.surroundings import explained
from lab.run.tree import HostTree, PrivateTree, end, more_than, reap
from lab.run.watch import Watch
from lab.trace import Ending, Failure, Trace

INTERVAL = 0.005
"""Seconds between two looks at the tree."""
_OBJECTS_EVERY = 4
"""Every how many looks the open files are listed too: that costs more than all the rest."""
_COUNT_EVERY = 0.05
"""Seconds that a look may take before the processes are counted again."""
_HELPERS_PATIENCE = 2.0
"""Seconds for multiprocessing's helpers to end, after all others have: the resource tracker then
removes what the program left, and a leak is what it does not remove."""


@dataclass(frozen=True)
class Assignment:
    """What init is to run, and how."""

    program: Program
    limits: Limits
    isolation: Isolation
    letterbox: Letterbox
    output: Output | None
    """Where the program's output is kept; None: it has the lab's own streams."""
    streams: tuple[int, int, int]
    line: SandboxEnd
    inherited: frozenset[int]
    """The descriptors that the lab's process had before; the program gets no others."""


class Init:
    """Process 1 of a run."""

    def __init__(self, assignment: Assignment, stock: PrivateStock | HostStock) -> None:
        self._assignment = assignment
        self._limits = assignment.limits
        self._stock = stock
        self._private = isinstance(stock, PrivateStock)
        self._tree = PrivateTree() if self._private else HostTree()
        self._wake, wake = os.pipe()
        for side in (self._wake, wake):
            os.set_blocking(side, False)
        # A death wakes the loop at once: the sooner init looks, the surer it can tell a zombie
        # from a child that ended a moment after its parent.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._partings = assignment.line.watch(self._poll)
        self._watch = Watch(
            self._tree.pids,
            orphan_after=self._limits.orphan_after,
            outside=Outside(stock.outside | fdinfo.opened(os.getpid()), file_clock()),
        )
        self._counted = 0.0
        root = self._watch.meet(self._start())
        if root is not None and isinstance(assignment.program, Command):
            root.command = assignment.program.name

    def run(self) -> Trace:
        """See the run through to its end and tell what was seen.

        Raises LabGoneError if the lab hung up meanwhile.
        """
        ending = self._see_through()
        blocked = self._watch.blocked() if ending in _CUT_SHORT else ()
        if ending is Ending.COMPLETED:
            self._grace()
        if ending is not Ending.OVERRUN:  # each look at a fork bomb lets it grow
            self._watch.look()
        seconds = self._watch.now
        # From here on the lab ends processes itself: what it ends is not the program's doing.
        processes = self._watch.processes()
        remaining = self._end()
        stock = self._stock.take(self._watch)
        payload = self._assignment.letterbox.collect()
        output = self._assignment.output
        return Trace(
            self._assignment.program.name,
            "observed",
            ending,
            seconds,
            processes,
            stock.objects,
            blocked,
            None if isinstance(payload, Failure) else payload,
            payload if isinstance(payload, Failure) else None,
            output.text() if output else "",
            "",
            (*stock.notes, *map(_remains, remaining)),
            self._watch.started,
            self._limits.zombie_after,
            self._limits.seconds,
            self._limits.processes,
            self._assignment.isolation,
            doubts=stock.doubts,
        )

    def abandon(self) -> None:
        """The lab is gone: leave nothing behind."""
        self._end()
        self._stock.take(self._watch)

    def _end(self) -> tuple[int, ...]:
        """End every process. On the host, what each has open just then is the run's too."""
        if isinstance(self._tree, HostTree):
            self._tree.freeze()
            self._watch.look()
            self._watch.look_at_objects()
        return end(self._tree)

    def _start(self) -> int:
        root = os.fork()
        if root == 0:
            if self._stock.tmp:
                os.environ["TMPDIR"] = self._stock.tmp
                tempfile.tempdir = None
            begin(
                self._assignment.program,
                self._assignment.letterbox,
                self._assignment.streams,
                self._assignment.inherited,
            )
        return root

    def _see_through(self) -> Ending:
        looks = 0
        while True:
            reap(self._watch)
            if self._is_overrun():
                return Ending.OVERRUN
            self._watch.look()
            if not self._watch.root.alive:
                return Ending.COMPLETED
            if self._assignment.letterbox.state is State.ENDED:
                # The root is held at its last line: this look at the tree is exact.
                self._watch.look()
                self._look_at_objects()
                self._assignment.letterbox.release()
            if self._watch.present > PID_CEILING:
                return Ending.OVERRUN  # zombies by the thousand
            if self._watch.now > self._limits.seconds:
                self._watch.look_at_sleeps()
                return Ending.TIMED_OUT
            if looks % _OBJECTS_EVERY == 0:
                self._look_at_objects()
                if self._is_stuck():
                    return Ending.STUCK
            looks += 1
            self._rest(INTERVAL)

    def _is_overrun(self) -> bool:
        self._counted = self._watch.now
        return more_than(self._limits.processes, self._tree.pids())

    def _look_at_objects(self) -> None:
        def not_overrun() -> bool:
            return self._watch.now - self._counted < _COUNT_EVERY or not self._is_overrun()

        self._watch.look_at_objects(not_overrun)
        self._stock.look()
        if self._assignment.output:
            self._assignment.output.bound()

    def _is_stuck(self) -> bool:
        unmoved = self._watch.look_at_sleeps()
        if unmoved is None or unmoved < self._limits.stuck_after:
            return False
        return not any(blocked.timed for blocked in self._watch.blocked())

    def _grace(self) -> None:
        """The root has ended: see which processes outlive it for longer than a moment.

        By what each of them does and not by the clock: on a busy machine the looks are far apart.
        """
        until = self._watch.now + self._limits.orphan_after + _HELPERS_PATIENCE
        while self._watch.now < until:
            reap(self._watch)
            self._watch.look()
            alive = self._watch.alive
            program = [seen for seen in alive if not seen.helper]
            undecided = any(seen.lately_orphaned for seen in program)
            # Also the root may take its time: it is no zombie before its memory is given back.
            if self._watch.root.reaped is not None and not undecided and (program or not alive):
                return
            self._rest(INTERVAL)

    def _rest(self, seconds: float) -> None:
        ready = {descriptor for descriptor, _ in self._poll.poll(seconds * 1000)}
        if ready & self._partings:
            raise LabGoneError
        if self._wake in ready:
            os.read(self._wake, 4096)


class LabGoneError(Exception):
    """The lab hung up, or was killed."""


_CUT_SHORT = (Ending.STUCK, Ending.TIMED_OUT)


def _remains(pid: int) -> str:
    return f"process {pid} could not be ended: another user's, or in an uninterruptible sleep"


def serve(
    assignment: Assignment, furnish: Callable[[], PrivateStock | HostStock]
) -> typing.NoReturn:
    """Be init: run the assignment, hand its trace to the lab, end.

    Its exit status tells the warden whether all that the run left has been cleared away.
    """
    init: Init | None = None
    answer: Trace | str = ""
    try:
        init = Init(assignment, furnish())
        libc.set_name("lab-init")  # after the root was forked, which is not to be called so
        answer = init.run()
    except LabGoneError:
        answer = "the lab hung up"
    except NamespaceError as refused:
        answer = str(refused)
    except BaseException as error:  # noqa: BLE001  # told to the lab: it is its own failure
        answer = explained(error)
    if init is not None and not isinstance(answer, Trace):
        init.abandon()
    assignment.line.tell(answer)
    os._exit(0 if init is not None else 1)
