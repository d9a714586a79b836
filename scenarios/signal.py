"""A parent and its child: who outlives whom, and who waits.

A process that exits leaves its exit status behind in an entry of the process table, and that
entry, the zombie, stays until the parent waits for it. The kernel tells the parent by SIGCHLD
that there is something to wait for; the default is to take no notice. If the parent exits first,
its children go to the nearest ancestor that declared itself a subreaper, or to process 1, which
waits for them in time, but which knows nothing of what they were for.
"""

from __future__ import annotations

import os
import signal
import time

from lab import scenario


@scenario(expects=["zombie"])
def never_waited(work: float = 0.05) -> None:
    """A child that has exited stays in the process table as a zombie.

    It happens because the parent, which sent it SIGINT, goes on with its own work and never
    waits for it. The fixes wait, or tell the kernel that nobody will.
    """
    child, words = _start_child(work)
    os.kill(child, signal.SIGINT)
    _listen(words)
    time.sleep(work)  # goes on with other things


@scenario(fixes="never_waited")
def waitpid(work: float = 0.05) -> None:
    """The parent waits for the child that it told to end, and then goes on.

    That suffices because `waitpid` takes the exit status, and with it goes the entry in the
    process table. The parent stands still until the child has ended, which is short here.
    """
    child, words = _start_child(work)
    os.kill(child, signal.SIGINT)
    _listen(words)
    os.waitpid(child, 0)
    time.sleep(work)  # goes on with other things


@scenario(fixes="never_waited")
def sigchld_handler(work: float = 0.05) -> None:
    """A handler of SIGCHLD waits for whatever child has ended, whenever one does.

    That suffices because the kernel sends SIGCHLD at each exit, whatever the parent is at. The
    handler loops, because signals do not queue: one SIGCHLD may stand for several exits.
    """
    reaped = []

    def reap(_signal: int, _frame: object) -> None:
        try:
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                reaped.append(ended)
        except ChildProcessError:
            return  # there is no child left at all

    signal.signal(signal.SIGCHLD, reap)
    child, words = _start_child(work)
    os.kill(child, signal.SIGINT)
    _listen(words)
    # Short sleeps, not pause(): the signal may come between the look at the list and the pause,
    # which then nothing would end.
    while child not in reaped:
        time.sleep(work)  # the handler interrupts it


@scenario(fixes="never_waited")
def sigchld_ignored(work: float = 0.05) -> None:
    """The parent declares that it ignores SIGCHLD before it starts the child.

    That suffices because the kernel keeps no entry for the exits of such a process's children.
    The price is that nobody ever learns how a child ended.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    child, words = _start_child(work)
    os.kill(child, signal.SIGINT)
    _listen(words)
    time.sleep(work)  # goes on with other things


@scenario(expects=["orphan"], may_show=["zombie"])
def parent_dies_first(work: float = 0.02, life: float = 0.3) -> None:
    """A child runs on when its parent is dead, and nobody who knows it is left to end it.

    It happens because the parent exits when its own work is done, while that of the child takes
    longer; where the child is the quicker one, the same missing wait leaves a zombie. The fix lets
    the parent wait for the child.
    """
    parent = os.fork()
    if parent == 0:
        child = os.fork()
        if child == 0:
            time.sleep(life)  # does its job
            os._exit(0)
        time.sleep(work)  # does other things, and ends first
        os._exit(0)
    os.waitpid(parent, 0)


@scenario(fixes="parent_dies_first")
def parent_waits(work: float = 0.02, life: float = 0.3) -> None:
    """The parent waits for its child before it exits.

    That suffices because a process that has been waited for cannot outlive the one that waited.
    Whoever waits for the parent now waits for the whole family.
    """
    parent = os.fork()
    if parent == 0:
        child = os.fork()
        if child == 0:
            time.sleep(life)  # does its job
            os._exit(0)
        time.sleep(work)  # does other things
        os.waitpid(child, 0)
        os._exit(0)
    os.waitpid(parent, 0)


# --- What bug and fix have in common -------------------------------------------------------


def _start_child(work: float) -> tuple[int, int]:
    """Fork a child that tidies up on SIGINT, which may be sent to it at once, and exits.

    Returns its PID and the descriptor at which its last words can be read.
    """
    ear, mouth = os.pipe()
    # Blocked across the fork: a SIGINT that comes before the child is ready stays pending and
    # is taken when it is. A handler might be installed too late, and then SIGINT would kill.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    child = os.fork()
    if child == 0:
        signal.sigwait({signal.SIGINT})
        time.sleep(work)  # puts things in order
        os.write(mouth, b"interrupted, good-bye")
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(mouth)
    return child, ear


def _listen(words: int) -> None:
    """Read to the end of file, which comes as the child exits, whether waited for or not."""
    with os.fdopen(words) as last:
        print(f"the child says: {last.read()}")
