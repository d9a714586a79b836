"""Which kind of sandbox this machine allows, found out once by trying.

Kernel versions, sysctls, seccomp profiles and capabilities all have a say, so asking any of them
would be a guess: a child tries, and its answer is the truth.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import warnings
from dataclasses import dataclass

from lab.kernel.ipc_namespace import NamespaceError
from lab.kernel.namespaces import furnish, leave_host
from lab.run.limits import Isolation, LabError
from lab.run.surroundings import demand_surroundings, explained


@dataclass(frozen=True)
class World:
    """A kind of sandbox."""

    isolation: Isolation
    """NAMESPACES or SNAPSHOTS."""
    new_user: bool
    """A user namespace is needed first."""
    private_tmp: bool = False
    """/tmp and TMPDIR can be covered by a layer that vanishes."""
    refusal: str = ""
    """Why there are no namespaces."""

    @property
    def private(self) -> bool:
        """The run has namespaces of its own."""
        return self.isolation is Isolation.NAMESPACES


def choose(isolation: Isolation) -> World:
    """The sandbox to use.

    Raises LabError if namespaces are demanded and the kernel refuses them, and where no sandbox of
    any kind can be made.
    """
    demand_surroundings()
    if isolation is Isolation.SNAPSHOTS:
        return World(Isolation.SNAPSHOTS, new_user=False)
    world = best()
    if isolation is Isolation.NAMESPACES and world.isolation is not Isolation.NAMESPACES:
        raise LabError(f"namespaces are refused here ({world.refusal}); `lab doctor` tells more")
    return world


@functools.cache
def best() -> World:
    """The best sandbox that this process can have.

    Raises LabError where none can be made.
    """
    demand_surroundings()
    refusals = []
    for new_user in (False, True):
        answer = _attempt(new_user=new_user)
        if answer.startswith("ok"):
            return World(Isolation.NAMESPACES, new_user, private_tmp=answer == "ok tmp")
        refusals.append(answer)
    return World(Isolation.SNAPSHOTS, new_user=False, refusal=refusals[-1])


def _attempt(*, new_user: bool) -> str:
    """Build a sandbox in a child and throw it away; "ok", "ok tmp", or the refusal."""
    reader, writer = os.pipe()
    child = fork()
    if child == 0:
        answer = "the attempt ended early"
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, there is nothing to wait for
            leave_host(new_user=new_user)
            init = os.fork()
            if init:
                os.waitpid(init, 0)
                os._exit(0)
            answer = "ok tmp" if furnish(private_files=True).tmp else "ok"
        except NamespaceError as refused:
            answer = str(refused)
        finally:
            os.write(writer, answer.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer_file:
        answer = answer_file.read()
    with contextlib.suppress(ChildProcessError):  # the host ignores SIGCHLD
        os.waitpid(child, 0)
    return answer


def fork() -> int:
    """Fork, also beside other threads: the child calls nothing that one of them could hold.

    Raises LabError where no process may be started.
    """
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads, and under pytest-xdist there is one.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return os.fork()
        except OSError as refused:
            raise LabError(f"no process can be started: {explained(refused)}") from refused
