"""Observe one free run of a program in a sandbox of its own, and return its trace.

    lab ── fork ── warden ── fork ── init (PID 1) ── fork ── root (PID 2) ── …

The lab itself enters no namespace: it could not come back. The warden enters them, because a PID
namespace begins with the next child; it then only waits. Each of the two dies with its parent,
and with init the kernel ends the whole namespace, so a SIGKILL of the lab leaves nothing.
Without namespaces there is no warden, and init cleans up when it sees the lab's end close.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import sys
import time
import traceback
import typing
import warnings
from collections.abc import Callable, Sequence

from lab.kernel import libc
from lab.kernel.namespaces import NamespaceError, furnish, leave_host
from lab.run.host_turn import host_turn
from lab.run.init import Assignment, serve
from lab.run.letterbox import Letterbox
from lab.run.limits import Isolation, LabError, Limits
from lab.run.output import Output
from lab.run.root import Command, Function, Program
from lab.run.stock import HostStock, PrivateStock
from lab.run.worlds import World, choose
from lab.trace import Ending, Messages, Process, Tally, Trace

_PATIENCE = 30.0
"""Seconds beyond the time limit after which init itself counts as broken."""


def observe_body(
    name: str,
    body: Callable[[], Tally | Messages | None],
    *,
    limits: Limits | None = None,
    isolation: Isolation = Isolation.AUTO,
) -> Trace:
    """Run a function as the root process of a sandbox and watch it to its end.

    Raises LabError when the sandbox cannot be had, KeyboardInterrupt after cleaning up.
    """
    output = Output()
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        streams = (nothing, output.descriptor, output.descriptor)
        return _observe(Function(name, body), limits or Limits(), isolation, output, streams)
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
    streams = (0, 2 if program_output_to_stderr else 1, 2)
    return _observe(Command(tuple(arguments)), limits or Limits(), isolation, None, streams)


def _observe(
    program: Program,
    limits: Limits,
    isolation: Isolation,
    output: Output | None,
    streams: tuple[int, int, int],
) -> Trace:
    if sys.platform != "linux":
        raise LabError(f"running needs Linux (namespaces, /proc); this is {sys.platform}")
    world = choose(isolation)
    letterbox = Letterbox()
    ours, theirs = socket.socketpair()
    assignment = Assignment(program, limits, world.isolation, letterbox, output, streams, theirs)
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        stack.callback(letterbox.close)
        stack.enter_context(ours)
        if world.isolation is Isolation.SNAPSHOTS:
            stack.enter_context(host_turn(limits.seconds))
        child = _fork()
        if child == 0:
            ours.close()
            _become_sandbox(assignment, world)
        theirs.close()
        try:
            answer = _answer(ours, limits.seconds + _PATIENCE)
        except BaseException:
            # Ctrl-C, usually. Closing our end tells init to end everything.
            ours.close()
            os.waitpid(child, 0)
            raise
        _, status = os.waitpid(child, 0)
    if isinstance(answer, Trace):
        return answer
    return _broken(program, world, answer or f"it ended early (wait status {status})")


def _fork() -> int:
    """Fork, also beside other threads: the child calls nothing that one of them could hold."""
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads, and under pytest-xdist there is one.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _become_sandbox(assignment: Assignment, world: World) -> typing.NoReturn:
    try:
        os.setsid()  # Ctrl-C at the terminal is the lab's to handle
        if world.isolation is Isolation.NAMESPACES:
            libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
            leave_host(new_user=world.new_user)
            init = os.fork()
            if init:
                assignment.channel.close()
                libc.set_name("lab-warden")
                os.waitpid(init, 0)
                os._exit(0)
            libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
            serve(assignment, PrivateStock(furnish(private_files=True)))
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        serve(assignment, HostStock())
    except NamespaceError as refused:
        assignment.channel.sendall(pickle.dumps(str(refused)))
    except BaseException:  # noqa: BLE001  # this process must never run on as a second lab
        assignment.channel.sendall(pickle.dumps(traceback.format_exc()))
    os._exit(1)


def _answer(channel: socket.socket, patience: float) -> Trace | str | None:
    """Init's answer: the trace, or what went wrong; None if it ended without a word."""
    data = b""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        ready, _, _ = select.select([channel], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            break
        chunk = channel.recv(1 << 20)
        if not chunk:
            answer: Trace | str | None = pickle.loads(data) if data else None  # noqa: S301
            return answer
        data += chunk
    raise LabError(f"the sandbox did not answer for {patience:.0f} s; it was ended")


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
