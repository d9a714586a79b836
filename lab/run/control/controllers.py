"""Several tracer processes side by side, each bound to a CPU of its own."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from collections.abc import Callable, Sequence

from lab.run.control.controller import Report, receive, start
from lab.run.control.runner import Runner
from lab.run.limits import Limits
from lab.run.root import Program


def in_controllers(
    works: Sequence[Callable[[Runner, Report], object]],
    program: Program,
    limits: Limits | None = None,
    *,
    heard: Callable[[object], bool],
) -> None:
    """Do some works at once, each in a tracer process as `in_controller` has it.

    A tracer and all that it traces share one CPU, so more works than CPUs would only take turns;
    they are done all the same.

    Args:
        works: called there with a runner and with a function that sends something here.
        program: what the runners run.
        limits: bounds of each run.
        heard: called here with whatever they report, one at a time; True ends them all.

    Raises as `in_controller` does, after ending all of them.
    """
    cpus = sorted(os.sched_getaffinity(0))
    children: list[int] = []
    with contextlib.ExitStack() as stack:
        stack.callback(end, children)
        waiting = stack.enter_context(selectors.DefaultSelector())
        for index, work in enumerate(works):
            child, channel = start(work, program, limits, cpus[index % len(cpus)])
            children.append(child)
            waiting.register(stack.enter_context(channel), selectors.EVENT_READ)
        while waiting.get_map():
            for key, _ in waiting.select():
                kind, value = receive(key.fileobj)  # type: ignore[arg-type]  # what we registered
                if kind == "result":
                    waiting.unregister(key.fileobj)
                elif heard(value):
                    return


def end(children: Sequence[int]) -> None:
    """End tracers. They have nothing to tidy: all that they trace and their namespaces go too."""
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
