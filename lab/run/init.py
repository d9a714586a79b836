"""The sandbox's init: starts the root, watches, reaps what nobody else does, takes stock.

In namespaces it is PID 1, so the kernel ends every process of the run with it. Elsewhere it is a
subreaper, and ends its descendants itself, also when the lab is gone.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import tempfile
import time
import traceback
import typing
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from lab.kernel import libc, procfs
from lab.run.letterbox import Letterbox, State
from lab.run.limits import Isolation, Limits
from lab.run.output import Output
from lab.run.root import Program, begin
from lab.run.stock import HostStock, PrivateStock
from lab.run.watch import Watch
from lab.trace import Ending, Failure, Trace

INTERVAL = 0.005
"""Seconds between two looks at the tree."""
_OBJECTS_EVERY = 4
"""Every how many looks the open files are listed too: that costs more than all the rest."""


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
    channel: socket.socket
    """The lab's end of it is closed when the lab is gone."""


class Init:
    """Process 1 of a run."""

    def __init__(self, assignment: Assignment, stock: PrivateStock | HostStock) -> None:
        self._assignment = assignment
        self._limits = assignment.limits
        self._stock = stock
        self._private = isinstance(stock, PrivateStock)
        self._wake, wake = os.pipe()
        for end in (self._wake, wake):
            os.set_blocking(end, False)
        # A death wakes the loop at once: the sooner init looks, the surer it can tell a zombie
        # from a child that ended a moment after its parent.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._root = self._start()
        self._watch = Watch(
            self._root,
            pids=self._pids,
            orphan_after=self._limits.orphan_after,
            outside=_inodes(assignment.streams) if assignment.output is None else frozenset(),
        )

    def run(self) -> Trace:
        """See the run through to its end and tell what was seen.

        Raises LabGone if the lab closed its end meanwhile.
        """
        ending = self._see_through()
        processes_started = self._processes_started()
        blocked = self._watch.blocked() if ending in _CUT_SHORT else ()
        if ending is Ending.COMPLETED:
            self._grace()
        self._watch.look()
        seconds = self._watch.now
        # From here on the lab ends processes itself: what it ends is not the program's doing.
        processes = self._watch.processes()
        self._end_all()
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
            stock.notes,
            processes_started,
            self._limits.zombie_after,
            self._limits.seconds,
            self._limits.processes,
            self._assignment.isolation,
        )

    def abandon(self) -> None:
        """The lab is gone: leave nothing behind."""
        self._end_all()
        self._stock.take(self._watch)

    def _start(self) -> int:
        self._first_pid = procfs.last_pid()
        root = os.fork()
        if root == 0:
            if isinstance(self._stock, HostStock):
                os.environ["TMPDIR"] = self._stock.tmp
                tempfile.tempdir = None
            begin(
                self._assignment.program,
                self._assignment.letterbox,
                self._assignment.streams,
                self._assignment.channel.close,
            )
        return root

    def _pids(self) -> Iterable[int]:
        if self._private:
            # /proc is mounted anew: all that it shows is of this run.
            return (pid for pid in psutil.pids() if pid != 1)
        return (child.pid for child in psutil.Process().children(recursive=True))

    def _see_through(self) -> Ending:
        looks = 0
        while True:
            self._reap()
            self._watch.look()
            if not self._watch.root.alive:
                return Ending.COMPLETED
            if self._assignment.letterbox.state is State.ENDED:
                # The root is held at its last line: this look at the tree is exact.
                self._watch.look()
                self._watch.look_at_objects()
                self._stock.look()
                self._assignment.letterbox.release()
            if len(self._watch.alive) > self._limits.processes:
                return Ending.OVERRUN
            if self._watch.now > self._limits.seconds:
                self._watch.look_at_sleeps()
                return Ending.TIMED_OUT
            if looks % _OBJECTS_EVERY == 0:
                self._watch.look_at_objects()
                self._stock.look()
                if self._assignment.output:
                    self._assignment.output.bound()
                if self._is_stuck():
                    return Ending.STUCK
            looks += 1
            self._rest(INTERVAL)

    def _is_stuck(self) -> bool:
        since = self._watch.look_at_sleeps()
        if since is None or self._watch.now - since < self._limits.stuck_after:
            return False
        return not any(blocked.timed for blocked in self._watch.blocked())

    def _grace(self) -> None:
        """The root has ended: see which processes outlive it for longer than a moment."""
        until = self._watch.now + self._limits.orphan_after
        while self._watch.alive and self._watch.now <= until + INTERVAL:
            self._rest(INTERVAL)
            self._reap()
            self._watch.look()
        self._reap()

    def _rest(self, seconds: float) -> None:
        channel = self._assignment.channel.fileno()
        ready, _, _ = select.select([self._wake, channel], [], [], seconds)
        if channel in ready:
            raise LabGoneError
        if self._wake in ready:
            os.read(self._wake, 4096)

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            # Look before it is gone: a process too short-lived for the polls is met here.
            self._watch.meet(ended.si_pid)
            pid, status = os.waitpid(ended.si_pid, 0)
            self._watch.reaped_by_init(pid, os.waitstatus_to_exitcode(status))

    def _processes_started(self) -> int:
        """How many were ever started; exact in a PID namespace, where nobody else takes PIDs."""
        if self._private:
            return procfs.last_pid() - self._first_pid
        return len(self._watch.processes())

    def _end_all(self) -> None:
        """Kill every process of the run and reap what falls to init, until none is left."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if self._private:
                # One call, atomic for the kernel: not even a fork bomb gets past it.
                with contextlib.suppress(ProcessLookupError):  # nobody is left but init
                    os.kill(-1, signal.SIGKILL)
            else:
                for child in psutil.Process().children(recursive=True):
                    _kill(child)
            self._reap()
            if not list(self._pids()):
                return
            select.select([], [], [], 0.001)


class LabGoneError(Exception):
    """The lab closed its end of the channel, or was killed."""


_CUT_SHORT = (Ending.STUCK, Ending.TIMED_OUT)


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return  # it ended by itself


def _inodes(streams: Iterable[int]) -> frozenset[int]:
    return frozenset(os.fstat(stream).st_ino for stream in streams)


def serve(assignment: Assignment, stock: PrivateStock | HostStock) -> typing.NoReturn:
    """Be init: run the assignment, hand its trace to the lab, end."""
    libc.set_name("lab-init")
    init = Init(assignment, stock)
    try:
        answer: Trace | str = init.run()
    except LabGoneError:
        init.abandon()
        os._exit(0)
    except BaseException:  # noqa: BLE001  # told to the lab, which raises it as its own failure
        answer = traceback.format_exc()
        init.abandon()
    with contextlib.suppress(BrokenPipeError):  # the lab went away, and nothing is left to tell
        assignment.channel.sendall(pickle.dumps(answer))
    os._exit(0)
