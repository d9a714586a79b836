"""Processes, shared memory and mutexes: what threads, globals and pthread_mutex_t become.

One read or write of a cell is one access to shared memory and so one step, as is one operation on
a lock. Beside these a child takes steps to be forked, to begin, to end and to be waited for.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import traceback
from collections.abc import Callable, Iterator

import posix_ipc

Body = Callable[[], None]
_CELL = 4  # bytes of a C int


def cells(*values: int) -> memoryview[int]:
    """Integers that children forked later share, with their first values."""
    shared = memoryview(mmap.mmap(-1, _CELL * len(values))).cast("i")
    for place, value in enumerate(values):
        if value:  # the page is full of zeros: writing more of them would only be steps
            shared[place] = value
    return shared


def lock(name: str) -> posix_ipc.Semaphore:
    """A mutex: a semaphore of 1 that children forked later share.

    Not multiprocessing.Lock, which tries before it waits: to a search that is one more step, and
    another program than one with a mutex. The name is free again at once, so that no bug, however
    it ends the program, leaves anything behind.
    """
    semaphore = posix_ipc.Semaphore(f"/sct-{name}", posix_ipc.O_CREX, initial_value=1)
    semaphore.unlink()
    return semaphore


@contextlib.contextmanager
def beside(*bodies: Body) -> Iterator[None]:
    """Fork a child for each body, in order, and wait for all of them in the end.

    Raises AssertionError if a child fails: the check that is the bug may be in a child, and a
    child's exit status is an answer to its parent.
    """
    children = [_fork(body) for body in bodies]
    try:
        yield
    finally:  # a parent whose own check fails must not leave zombies, which would be another bug
        statuses = [os.waitpid(child, 0)[1] for child in children]
    assert not any(statuses), f"the children ended with {statuses}"


def together(*bodies: Body) -> None:
    """Fork a child for each body, in order, and wait for all of them.

    Raises AssertionError if one fails.
    """
    with beside(*bodies):
        pass


def _fork(body: Body) -> int:
    child = os.fork()
    if child == 0:
        try:
            body()
        except BaseException:  # noqa: BLE001  # never back into the parent's code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child
