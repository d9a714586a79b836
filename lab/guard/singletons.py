"""What libraries keep for the whole process, whoever needs it first: nobody's leak.

They have no public names for these. A module that nobody imported keeps nothing.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from typing import Any


def descriptors() -> set[int]:
    """Pipes of multiprocessing to its two servers, and the files of shared values."""
    found = {_tracker("_fd"), _forkserver("_forkserver_alive_fd")}
    heap: Any = sys.modules.get("multiprocessing.heap")
    if heap is not None:
        arenas = getattr(getattr(heap.BufferWrapper, "_heap", None), "_arenas", ())
        found |= {getattr(arena, "fd", None) for arena in arenas}
    return {number for number in found if isinstance(number, int)}


_libuv: set[tuple[int, int]] = set()


def of_libuv(new: dict[int, tuple[int, int]]) -> set[int]:
    """Of new descriptors, both ends of the pipe that libuv makes with its first loop and keeps.

    Nothing names it. It is a lock, free as long as the one byte is in it (libuv, uv__signal_lock).
    There is one, so another pipe with a byte in it is a leak. Without uvloop none is looked for.
    """
    if "uvloop" not in sys.modules:
        return set()
    for place in set(new.values()) - _libuv:
        ends = [number for number, each in new.items() if each == place]
        if len(ends) > 1 and not _libuv and _holds_one_byte(ends[0]):
            _libuv.add(place)
    return {number for number, place in new.items() if place in _libuv}


def _holds_one_byte(number: int) -> bool:
    try:
        if not os.readlink(f"/proc/self/fd/{number}").startswith("pipe:"):
            return False
        count = fcntl.ioctl(number, termios.FIONREAD, bytes(4))
    except OSError:
        return False  # closed since the look
    return int.from_bytes(count, sys.byteorder) == 1


def processes() -> set[int]:
    """The PIDs of the two servers. One that has ended is a zombie, and has no command any more."""
    found = {_tracker("_pid"), _forkserver("_forkserver_pid")}
    return {pid for pid in found if isinstance(pid, int)}


def sockets() -> set[str]:
    """The path of the forkserver's socket."""
    address = _forkserver("_forkserver_address")
    return {address} if isinstance(address, str) else set()


def threads() -> set[int]:
    """The kernel's ids of Trio's threads that wait for work, for ten seconds: it lends them to all.

    One that is at work is whoever's work that is.
    """
    module: Any = sys.modules.get("trio._core._thread_cache")
    cache = getattr(module, "THREAD_CACHE", None)
    idle = list(getattr(cache, "_idle_workers", ()))
    return {native for worker in idle if (native := worker._thread.native_id)}


def _tracker(name: str) -> object:
    module: Any = sys.modules.get("multiprocessing.resource_tracker")
    return getattr(module._resource_tracker, name, None) if module else None


def _forkserver(name: str) -> object:
    module: Any = sys.modules.get("multiprocessing.forkserver")
    return getattr(module._forkserver, name, None) if module else None
