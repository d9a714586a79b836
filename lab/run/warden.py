"""The warden: stands between the lab and init, and outlives the failure of either.

In namespaces it is the one who steps into them, because a PID namespace begins with the next
child. Without them it is a second subreaper behind init: a program may well kill its own parent,
and then whatever the run has left falls to the warden, who clears it away.

When the lab is gone, init is to clean up. The warden waits for that, and no longer than for that.
"""

from __future__ import annotations

import os
import select
import signal
import typing

from lab.kernel import libc
from lab.kernel.namespaces import furnish, leave_host
from lab.kernel.pidfd import pidfd_open
from lab.run.init import Assignment, serve
from lab.run.line import SandboxEnd
from lab.run.stock import HostStock, PrivateStock
from lab.run.tree import HostTree, end
from lab.run.watch import Watch
from lab.run.worlds import World

PATIENCE = 10.0
"""Seconds that init has to clean up after the lab is gone: twice what it allows itself."""


def stand(assignment: Assignment, world: World) -> typing.NoReturn:
    """Be the warden of a run from here to its end.

    Raises NamespaceError when the kernel refuses the private world, and then there is no init.
    """
    os.setsid()  # Ctrl-C at the terminal is the lab's to handle
    turn_deaf()
    if world.private:
        leave_host(new_user=world.new_user)
        init = os.fork()
        if init == 0:
            # Whoever kills the warden ends the run; who kills both it and the lab, too.
            libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
            serve(assignment, lambda: PrivateStock(furnish(private_files=True)))
        libc.set_name("lab-warden")
        status = _outcome(init, assignment.line)
    else:
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        stock = HostStock()  # before init, so that it is there when init is not
        init = os.fork()
        if init == 0:
            libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
            serve(assignment, lambda: stock)
        libc.set_name("lab-warden")
        status = _outcome(init, assignment.line)
        if status != 0:
            _clear_up(stock)
    if status != 0:
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        hint = "; a program must not end its own parent" if status < 0 else ""
        assignment.line.tell(f"its init ended with {how}{hint}")
    os._exit(0)


def turn_deaf() -> None:
    """Take no signal that a process of the run, or a terminal, may send to its ancestors."""
    for number in signal.valid_signals() - _NEEDED:
        try:
            signal.signal(number, signal.SIG_IGN)
        except OSError:
            continue  # SIGKILL, SIGSTOP and the two that glibc keeps for itself
    for number in _NEEDED:
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


_NEEDED = frozenset(
    {
        signal.SIGCHLD,  # ignored, it would take away the exits
        signal.SIGABRT,  # and these tell of the lab's own faults
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
    }
)


def _outcome(init: int, line: SandboxEnd) -> int:
    """Wait for the end of init, and see to it when the lab is gone."""
    poll = select.poll()
    pidfd = pidfd_open(init)
    poll.register(pidfd, select.POLLIN)
    line.watch(poll)
    # Either init has ended, or the lab hung up and init ought to end.
    if pidfd not in dict(poll.poll()):
        ending = select.poll()
        ending.register(pidfd, select.POLLIN)
        if not ending.poll(PATIENCE * 1000):
            os.kill(init, signal.SIGKILL)
    _, status = os.waitpid(init, 0)
    os.close(pidfd)
    return os.waitstatus_to_exitcode(status)


def _clear_up(stock: HostStock) -> None:
    """Init was killed: take over what it was to end and to remove."""
    tree = HostTree()
    tree.freeze()
    watch = Watch(tree.pids, orphan_after=0.0)
    watch.look()
    watch.look_at_objects()
    end(tree)
    stock.take(watch)
