"""Tracer processes that make runs for a search elsewhere, each on a CPU of its own."""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import socket
from collections.abc import Callable
from typing import Self

from lab.ahead import Job, Recording, perform
from lab.parcel import put, take
from lab.run.control.controller import receive, start
from lab.run.control.controllers import end
from lab.run.control.runner import Runner
from lab.run.limits import LabError, Limits
from lab.run.root import Program


class Pool:
    """Makes as many runs at once as it has tracers; an `Executor`, and a context.

    Args:
        program: what they run.
        limits: bounds of each run.
        size: how many tracers.
        pinned: bind each to another CPU; else each is bound to whichever is idle.
    """

    def __init__(
        self, program: Program, limits: Limits | None, size: int, *, pinned: bool = True
    ) -> None:
        self.slots = size
        self._program, self._limits, self._pinned = program, limits, pinned
        self._children: list[int] = []
        self._idle: list[socket.socket] = []
        self._jobs: dict[socket.socket, socket.socket] = {}
        """Where each is told what to do, by where it answers."""
        self._busy: dict[socket.socket, int] = {}

    def __enter__(self) -> Self:
        """Start the tracers. Raises ControlRefusedError, LabError."""
        with contextlib.ExitStack() as stack:
            self._stack = stack
            stack.callback(end, self._children)
            self._selector = stack.enter_context(selectors.DefaultSelector())
            cpus = sorted(os.sched_getaffinity(0))
            for index in range(self.slots):
                self._start(cpus[index % len(cpus)] if self._pinned else None)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End them, whatever they are at."""
        self._stack.close()

    def submit(self, number: int, job: Job) -> None:
        """Give the job to an idle tracer."""
        answers = self._idle.pop()
        self._busy[answers] = number
        # That one is gone is told by its silence, when it is asked for an answer.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            put(self._jobs[answers].sendall, job)

    def wait(self) -> tuple[int, Recording]:
        """The next that is ready.

        Raises LabError where a tracer failed, and ControlRefusedError as `Runner` does.
        """
        (key, _), *_ = self._selector.select()
        answers = key.fileobj
        assert isinstance(answers, socket.socket)
        _, recording = receive(answers)
        if not isinstance(recording, Recording):
            raise LabError("the tracer process failed: it ended before its time")
        self._idle.append(answers)
        return self._busy.pop(answers), recording

    def _start(self, cpu: int | None) -> None:
        ours, theirs = socket.socketpair()
        self._stack.enter_context(ours)
        with theirs:
            work = functools.partial(_serve, theirs)
            child, answers = start(work, self._program, self._limits, cpu)
        self._children.append(child)
        self._stack.enter_context(answers)
        self._selector.register(answers, selectors.EVENT_READ)
        self._jobs[answers] = ours
        self._idle.append(answers)


def _serve(jobs: socket.socket, runner: Runner, report: Callable[[object], None]) -> None:
    """Make one run after another, until the lab ends this process or is gone itself."""
    with contextlib.suppress(EOFError):
        while isinstance(job := take(jobs.recv), Job):
            report(perform(runner, job))
