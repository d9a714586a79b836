"""The limit on POSIX queues, which crosses namespaces.

RLIMIT_MSGQUEUE counts the bytes of all queues of a *user* on the whole machine: about nine of the
default size. So runs side by side can make each other's mq_open fail with EMFILE, and a program
would be blamed for its neighbours.

The limit is a meter too. Nothing tells how much of it a user has taken, but mq_open compares that
with the soft limit of the process that calls it, and any process may lower its own for a moment.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import os
import resource
import time
from collections.abc import Iterator

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
        time.sleep(0.01)  # nothing tells when the kernel has given a dead namespace's bytes back
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


def used() -> int | None:
    """Bytes that all queues of this user take, on the whole machine; None: it cannot be measured.

    Of one who has none it is 0: then every queue that is found to be this user's later was made
    since. Neighbours notice nothing, for no more than the two smallest queues exist at a time.
    """
    try:
        alone = _least_limit()
        with smallest_queue():
            beside_one = _least_limit()
    except OSError:  # not even the smallest is allowed, or the kernel has none
        return None
    # The least limit has room for what there is and for one more, whose size is the kernel's.
    return None if alone is None or beside_one is None else 2 * alone - beside_one


def _least_limit() -> int | None:
    """The lowest soft limit under which the smallest queue can be made; None: under none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    highest = _UNLIMITED if hard == resource.RLIM_INFINITY else hard

    def fits(limit: int) -> bool:
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (limit, hard))
        try:
            with smallest_queue():
                return True
        except OSError:
            return False

    try:
        least = bisect.bisect_left(range(highest + 1), x=True, key=fits)
    finally:
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (soft, hard))
    return least if least <= highest else None


_UNLIMITED = 1 << 40
"""More bytes than there is memory for."""


@contextlib.contextmanager
def smallest_queue() -> Iterator[int]:
    """The descriptor of a queue that takes as little as one can. Raises OSError."""
    queue = posix_ipc.MessageQueue(None, posix_ipc.O_CREX, max_messages=1, max_message_size=1)
    queue.unlink()
    with contextlib.closing(queue):
        yield queue.mqd
