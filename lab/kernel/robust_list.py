"""The list of robust locks that a thread holds, which the kernel walks when the thread ends.

A robust mutex is linked into a list in the memory of its holder (linux/futex.h). At the holder's
end the kernel sets a bit in the word of each lock on it, and wakes one who waits for it.
"""

from __future__ import annotations

import ctypes

_libc = ctypes.CDLL(None, use_errno=True)
_GET_ROBUST_LIST = 274  # x86_64

WAITERS, OWNER_DIED, OWNER = 0x80000000, 0x40000000, 0x3FFFFFFF
"""In a lock's word: somebody waits; its holder died; the thread id of its holder."""
LONGEST = 2048
"""Locks after which the kernel gives up, too: a list may be a circle."""


def head(thread: int) -> int:
    """Where a thread keeps its list; 0 where it has none, or is gone."""
    place, size = ctypes.c_void_p(), ctypes.c_size_t()
    result = _libc.syscall(
        ctypes.c_long(_GET_ROBUST_LIST), thread, ctypes.byref(place), ctypes.byref(size)
    )
    return place.value or 0 if result == 0 else 0
