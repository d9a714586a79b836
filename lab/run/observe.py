"""Observe one free run of a program in a sandbox of its own, and return its trace.

    lab ── fork ── warden ── fork ── init (PID 1) ── fork ── root (PID 2) ── …

The lab itself enters no namespace: it could not come back. Whatever becomes of the lab, the warden
or init, the others end the run and clear away what it left: each of them knows when another is
gone. A SIGKILL of the lab leaves nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

from lab.kernel.ipc_namespace import NamespaceError
from lab.run.host_turn import host_turn
from lab.run.init import Assignment
from lab.run.letterbox import Letterbox
from lab.run.limits import Isolation, LabError, Limits
from lab.run.line import line
from lab.run.output import Output
from lab.run.redis_process import served
from lab.run.root import Command, Function, Program, open_descriptors
from lab.run.surroundings import explained
from lab.run.warden import stand
from lab.run.worlds import World, choose, fork
from lab.trace import Ending, Messages, Process, Tally, Trace

_PATIENCE = 30.0
"""Seconds beyond the time limit after which init itself counts as broken."""


def observe_body(
    name: str,
    body: Callable[..., Tally | Messages | None],
    *,
    server: str = "",
    limits: Limits | None = None,
    isolation: Isolation = Isolation.AUTO,
) -> Trace:
    """Run a function as the root process of a sandbox and watch it to its end.

    Args:
        name: what to call it.
        body: the function.
        server: its parameter that takes a Redis server; "" if none does.
        limits: bounds of the run.
        isolation: how it is kept apart from the machine.

    Raises LabError when the sandbox cannot be had, KeyboardInterrupt after cleaning up.
    """
    inherited = open_descriptors()
    output = Output()
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        streams = (nothing, output.descriptor, output.descriptor)
        with served(Function(name, body, server)) as (program, _):
            return _observe(
                program,
                limits or Limits(),
                isolation,
                output=output,
                streams=streams,
                inherited=inherited,
            )
    finally:
        os.close(nothing)
        output.close()


def observe_command(
    arguments: Sequence[str],
    *,
    limits: Limits | None = None,
    isolation: Isolation = Isolation.AUTO,
    program_output_to_stderr: bool = False,
) -> Trace:
    """Run a command, with the lab's own standard streams, and watch it to its end.

    Args:
        arguments: the command and its arguments.
        limits: bounds of the run.
        isolation: how it is kept apart from the machine.
        program_output_to_stderr: when standard output is needed for the report.

    Raises LabError when the sandbox cannot be had, KeyboardInterrupt after cleaning up.
    """
    inherited = open_descriptors()
    nothing = os.open(os.devnull, os.O_RDWR)
    wanted = (0, 2 if program_output_to_stderr else 1, 2)
    # One that the lab was started without is empty: its number may be another file's by now.
    first, second, third = (stream if stream in inherited else nothing for stream in wanted)
    try:
        return _observe(
            Command(tuple(arguments)),
            limits or Limits(),
            isolation,
            output=None,
            streams=(first, second, third),
            inherited=inherited,
        )
    finally:
        os.close(nothing)


def _observe(
    program: Program,
    limits: Limits,
    isolation: Isolation,
    *,
    output: Output | None,
    streams: tuple[int, int, int],
    inherited: frozenset[int],
) -> Trace:
    if sys.platform != "linux":
        raise LabError(f"running needs Linux (namespaces, /proc); this is {sys.platform}")
    world = choose(isolation)
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        letterbox = Letterbox()
        stack.callback(letterbox.close)
        if not world.private:
            stack.enter_context(host_turn(limits.seconds))
        ours, theirs = line()
        stack.callback(ours.hang_up)
        assignment = Assignment(
            program, limits, world.isolation, letterbox, output, streams, theirs, inherited
        )
        # A KeyboardInterrupt between the fork and the `try` would lose the child.
        with signals_held() as let_go:
            child = fork()
            if child == 0:
                ours.drop()
                _become_sandbox(assignment, world)
            try:
                theirs.drop()
                let_go()
                answer = ours.answer(limits.seconds + _PATIENCE)
            finally:
                with signals_held():
                    ours.hang_up()
                    status = _await(child)
    if isinstance(answer, Trace):
        return answer
    return _broken(program, world, str(answer or f"it ended early ({status})"))


@contextlib.contextmanager
def signals_held() -> Iterator[Callable[[], None]]:
    """Put off what signals do until the block ends, or until the function given is called.

    Of the main thread only: beside other threads one of them may take the signal, and Python then
    raises here all the same. What that can cost is a zombie, until this process ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield lambda: _restore(before)
    finally:
        _restore(before)


def _restore(mask: Iterable[int]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _become_sandbox(assignment: Assignment, world: World) -> typing.NoReturn:
    try:
        stand(assignment, world)
    except NamespaceError as refused:
        assignment.line.tell(str(refused))
    except BaseException as error:  # noqa: BLE001  # told to the lab: it is its own failure
        assignment.line.tell(explained(error))
    finally:
        os._exit(1)  # whatever happens, this process must never run on as a second lab


def _await(child: int) -> str:
    """Wait for the end of the sandbox, though not for ever; tells how it ended."""
    deadline = time.monotonic() + _PATIENCE
    try:
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return f"wait status {status}"
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return "it would not end"
            time.sleep(0.0005)  # waitpid has no time limit of its own
    except ChildProcessError:  # the lab's host ignores SIGCHLD, or waits for every child
        return "unknown"


def _broken(program: Program, world: World, trouble: str) -> Trace:
    root = Process("P0", 0, "", program.name, 0.0)
    return Trace(
        program.name,
        "observed",
        Ending.BROKEN,
        0.0,
        (root,),
        trouble=f"the sandbox failed: {trouble}",
        isolation=world.isolation,
    )
