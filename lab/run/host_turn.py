"""One run at a time on the host's own IPC tables.

Two runs there would meet in the names that their programs use, and each would find the other's
objects. Namespaces need no turns.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from lab.kernel.ipc_namespace import SHM
from lab.run.limits import LabError


@contextlib.contextmanager
def host_turn(run_seconds: float) -> Iterator[None]:
    """Hold the host's tables for one run.

    A lock on the directory itself, so that nothing is left behind and every install of the lab
    on this machine meets at the same place. Raises LabError when others take too long.
    """
    place = SHM if os.path.isdir(SHM) else "/"
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _acquire(directory, patience=60 + 16 * run_seconds)
        yield
    finally:
        os.close(directory)  # and the lock with it, once the run's processes are gone


def _acquire(directory: int, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LabError(
                    f"another run has used this machine's IPC tables for {patience:.0f} s; "
                    f"end it, or allow namespaces (see `lab doctor`)"
                ) from None
            time.sleep(0.01)  # flock has no time limit of its own
        else:
            return
