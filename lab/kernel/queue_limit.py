"""The limit on POSIX queues, which crosses namespaces.

RLIMIT_MSGQUEUE counts the bytes of all queues of a *user* on the whole machine: about nine of the
default size. So runs side by side can make each other's mq_open fail with EMFILE, and a program
would be blamed for its neighbours.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import time

import posix_ipc

_PATIENCE = 2.0
"""Seconds that a neighbour's queues may take to go: it is often just ending."""
_PROBE = "/lab-probe"
_BYTES = 100_000
"""What one queue of the default size takes, generously."""


def loosen() -> str:
    """In a sandbox: make room for its queues, or say why there is none; "" when there is.

    Who may lift the limit lifts it. Others wait until at least one queue of the default size fits.
    """
    with contextlib.suppress(ValueError, OSError):  # not privileged on the machine itself
        resource.setrlimit(
            resource.RLIMIT_MSGQUEUE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
        return ""
    limit, _ = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    if 0 <= limit < _BYTES:
        return ""  # nobody's fault: none of that size ever fits
    deadline = time.monotonic() + _PATIENCE
    while not _one_fits():
        if time.monotonic() > deadline:
            return (
                f"user {os.getuid()} has POSIX queues of about {limit} bytes, which is all that is "
                f"allowed (RLIMIT_MSGQUEUE, for the whole machine): an mq_open that fails with "
                f"EMFILE in this run is not the program's fault"
            )
        time.sleep(0.01)
    return ""


def _one_fits() -> bool:
    try:
        queue = posix_ipc.MessageQueue(_PROBE, posix_ipc.O_CREX)
    except OSError as refused:
        # posix_ipc reports EMFILE, which here means this limit, without its number. Anything else,
        # such as a kernel without queues, will not be better later.
        return refused.errno not in (None, errno.EMFILE)
    queue.close()
    queue.unlink()
    return True
