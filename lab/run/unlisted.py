"""The POSIX queues of a run on a machine that does not list them to its user.

Their names are seen while a process has them open. Whether they were there before is told by a
meter: a user who had no queue at all before the run has none but those that were made since.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from lab.kernel import ipc_tables, queue_limit
from lab.kernel.ipc_tables import Entry
from lab.run.watch import Watch

_PATIENCE = 0.5
"""Seconds for the kernel to give back what queues took whose namespace has just ended."""
_REMEDY = "have them listed (mount -t mqueue none /dev/mqueue), or allow namespaces (`lab doctor`)"


class UnlistedQueues:
    """What can be known of them. To be made before the run."""

    def __init__(self, used: Callable[[], int | None] = queue_limit.used) -> None:
        """Read the meter for the first time.

        Args:
            used: the meter: bytes that the queues of this user take, None if that is not known.
        """
        self._used = used
        self._before = used()
        self._found: list[Entry] = []

    def left(self, watch: Watch) -> list[Entry]:
        """Those that the run made, and that are still there after it."""
        self._found = list(_still_there(watch))
        # Where nothing is used there is none of this user's making: a queue can be given away.
        return self._found if self._before == 0 and self._now() != 0 else []

    def doubts(self) -> Iterator[str]:
        """What cannot be known; asked when those that the run left have been removed."""
        now = self._now()
        if now == 0:
            return
        if self._before != 0:
            for queue in self._found:
                yield (
                    f"posix-mq {queue.name} was used and is still there; whether the run made it "
                    f"is not known, for user {os.getuid()} had queues before and none is listed "
                    f"here, so it is not removed; {_REMEDY}"
                )
        if now != self._before and (self._before == 0 or not self._found):
            yield (
                f"the POSIX queues of user {os.getuid()} took {_bytes(self._before)} before the "
                f"run and take {_bytes(now)} after it, and none is listed here, so whether the "
                f"run left one is not known; {_REMEDY}"
            )

    def _now(self) -> int | None:
        """What the meter says when it says the same as before, or nothing, or for long enough."""
        deadline = time.monotonic() + _PATIENCE
        while (now := self._used()) not in (0, self._before) and time.monotonic() < deadline:
            time.sleep(0.01)  # nothing tells when the kernel has given them back
        return now


def _still_there(watch: Watch) -> Iterator[Entry]:
    for place, users in watch.users.items():
        for name in sorted({path for _, path in users}):
            queue = ipc_tables.queue_called(name)
            if queue and (queue.device, queue.inode) == place and queue.owner == os.getuid():
                yield queue


def _bytes(number: int | None) -> str:
    return "an unknown number of bytes" if number is None else f"{number} bytes"
