"""PID 1 of a controlled sandbox: the zygote that every root is forked from.

A parent whose heap grew between two runs would move garbage collections, and the order of sets,
in its children: so it does nothing between them but read a byte and fork. What must be the
same in every root is prepared here once: clocks that are real system calls, the tracer's page of
code, frozen garbage.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import NoReturn

from lab.kernel import libc, seccomp
from lab.kernel.arch import injection, vdso
from lab.kernel.namespaces import show_processes
from lab.run.control.lines import SIZE as LINES_SIZE
from lab.run.control.lines import record_lines
from lab.run.letterbox import Letterbox
from lab.run.root import Program, begin

RUN, RUN_WITH_LINES = b"r", b"l"
"""Commands: fork a root; the same, noting its lines."""


@dataclass(frozen=True)
class Assignment:
    """What the zygote forks again and again."""

    program: Program
    letterbox: Letterbox
    streams: tuple[int, int, int]
    filter: bytes
    """The seccomp program under which the root runs."""
    descriptors: frozenset[int] = frozenset()
    """What the root may keep of those that were open before."""


def serve(assignment: Assignment, commands: socket.socket, hello: socket.socket) -> NoReturn:
    """Be the zygote, until the controller is gone.

    Args:
        assignment: what to fork.
        commands: where commands come from; a byte goes back when one is done.
        hello: where a root reports, and waits until it is traced.
    """
    try:
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.unshare(libc.CLONE_NEWNS)
        show_processes()
        libc.set_name("lab-zygote")
        _prepare()
        commands.sendall(b"+")
        _loop(assignment, commands, hello)
    except BaseException:  # noqa: BLE001  # told to the controller, which has no other witness
        with contextlib.suppress(OSError):
            commands.sendall(b"!" + traceback.format_exc().encode())
    os._exit(1)


def _prepare() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.dont_write_bytecode = True
    libc.map_code(injection.PAGE, injection.SIZE + LINES_SIZE, injection.CODE)
    _patch_clocks()
    _order_children()
    # Nobody waits here: what falls to this process, the kernel reaps. (A root begins with the
    # default again.)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    gc.disable()


def _order_children() -> None:
    """Give multiprocessing's children an order that does not depend on their addresses.

    It keeps them in a set, and polls them in its order whenever it starts another. Hashed by their
    addresses they would come in another order beside another heap, and a schedule could be replayed
    in this exploration only. What equals what stays as it was.
    """

    def place_in_the_tree(process: BaseProcess) -> int:
        return hash(getattr(process, "_identity", ()))

    BaseProcess.__hash__ = place_in_the_tree  # type: ignore[method-assign,assignment]


def _patch_clocks() -> None:
    found = vdso.find(os.getpid())
    if found is None:
        return  # a kernel without one: clocks are system calls anyway
    start, end = found
    memory = os.open("/proc/self/mem", os.O_RDWR)
    for patch in vdso.patches(os.pread(memory, end - start, start)):
        os.pwrite(memory, patch.code, start + patch.offset)
    os.close(memory)


def _loop(assignment: Assignment, commands: socket.socket, hello: socket.socket) -> None:
    """Read a byte, fork, answer with a byte.

    No exception, no file object, no collection: whatever else was allocated and freed here would
    after some runs leave the heap in another state, and the roots with other addresses.
    """
    descriptor, last_pid = commands.fileno(), _opened(_LAST_PID)
    while True:
        command = os.read(descriptor, 1)
        if not command:
            os._exit(0)  # the controller hung up
        if last_pid >= 0:
            # The PIDs of every run are the same: the root is 2.
            os.pwrite(last_pid, b"1", 0)
        if os.fork() == 0:
            _become_root(assignment, hello, with_lines=command == RUN_WITH_LINES)
        os.write(descriptor, b"+")


_LAST_PID = "/proc/sys/kernel/ns_last_pid"


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY)
    except OSError:
        # Without CONFIG_CHECKPOINT_RESTORE it is not there: names made from a PID then differ
        # from run to run.
        return -1


def _become_root(assignment: Assignment, hello: socket.socket, *, with_lines: bool) -> NoReturn:
    gc.freeze()  # zeroes the counts: every run collects at the same moments
    gc.enable()
    random.seed(0)
    # For programs that it executes: the same addresses, and the same order in sets of strings.
    with contextlib.suppress(OSError):  # refused in some containers
        libc.fix_addresses()
    os.environ.setdefault("PYTHONHASHSEED", "0")

    def ready() -> None:
        hello.sendall(b"+")
        hello.recv(1)  # traced from here on
        hello.close()
        seccomp.install(assignment.filter)
        if with_lines:
            record_lines(getattr(assignment.program, "body", None))

    kept = {hello.fileno(), *assignment.descriptors}
    begin(assignment.program, assignment.letterbox, assignment.streams, kept, ready)
