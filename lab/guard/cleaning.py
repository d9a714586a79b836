"""Taking away what a test left, so that the tests after it run as if it had not."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Callable

from lab.guard.leak import Kind, Leak


def clean(leak: Leak) -> str:
    """Take it away, and say what was done; or why not."""
    try:
        return _BY_KIND[leak.kind](leak)
    except OSError as refused:
        return f"not cleaned: {refused.strerror or refused}"


def _wait(leak: Leak) -> str:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(int(leak.key[1]), 0)
    return "waited for"


def _kill(leak: Leak) -> str:
    from lab.guard.processes import started, tree

    pid, began = int(leak.key[1]), leak.key[2]
    if started(pid) != began:
        return "gone already"  # and if there is one of that number, it is another
    born = {each: started(each) for each in (pid, *sorted(tree(pid)))}
    for each, when in born.items():
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(each)
            try:
                # With the descriptor in hand the number cannot become another process's.
                if started(each) == when:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)
    if leak.kind is Kind.CHILD:
        return f"killed and {_wait(leak)}"
    return "killed"


def _replace(leak: Leak) -> str:
    """Its number stays taken: the object that has it will close it once more some day."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.dup2(nothing, int(leak.key[1]), inheritable=False)
    finally:
        os.close(nothing)
    return "leads to /dev/null now"


def _unlock(leak: Leak) -> str:
    number = int(leak.key[1])
    with contextlib.suppress(OSError):
        fcntl.lockf(number, fcntl.LOCK_UN)
    with contextlib.suppress(OSError):
        fcntl.flock(number, fcntl.LOCK_UN)
    return "unlocked"


def _remove(leak: Leak) -> str:
    from lab.kernel.ipc_tables import Entry, remove
    from lab.trace import ObjectType

    remove(Entry(ObjectType(leak.kind.value), leak.key[1], leak.name, 0, 0))
    return "removed"


def _stay(leak: Leak) -> str:
    return f"a {leak.kind} cannot be ended from outside"


def _restore(leak: Leak) -> str:
    old = leak.before
    signal.signal(int(leak.key[1]), old if old is not None else signal.SIG_DFL)
    return "restored"


_BY_KIND: dict[Kind, Callable[[Leak], str]] = {
    **dict.fromkeys(Kind, _remove),
    Kind.ZOMBIE: _wait,
    Kind.CHILD: _kill,
    Kind.ORPHAN: _kill,
    Kind.FD: _replace,
    Kind.LOCK_HELD: _unlock,
    Kind.THREAD: _stay,
    Kind.SIGNAL_HANDLER: _restore,
}
