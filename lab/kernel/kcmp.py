"""Whether two processes have one and the same thing: kcmp, which the kernel alone can answer."""

from __future__ import annotations

import ctypes
import errno
import os

from lab.kernel.arch import NUMBERS

_libc = ctypes.CDLL(None, use_errno=True)
_FILE, _VM = 0, 1
_NOTHING_THERE = (errno.ESRCH, errno.EBADF)


def same_memory(one: int, other: int) -> bool:
    """Whether two processes live in the same address space; not, if one is gone.

    Raises OSError: EPERM where a seccomp profile refuses the question, ENOSYS without CONFIG_KCMP.
    """
    return _same(one, other, _VM, 0, 0)


def same_description(process: int, descriptor: int, own: int) -> bool:
    """Whether a descriptor of a process and one of ours lead to one open file.

    Raises OSError as `same_memory` does.
    """
    return _same(process, os.getpid(), _FILE, descriptor, own)


def _same(one: int, other: int, kind: int, mine: int, its: int) -> bool:
    result: int = _libc.syscall(ctypes.c_long(NUMBERS["kcmp"]), one, other, kind, mine, its)
    if result < 0 and (number := ctypes.get_errno()) not in _NOTHING_THERE:
        raise OSError(number, f"kcmp: {os.strerror(number)}")
    return result == 0
