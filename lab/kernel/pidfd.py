"""Descriptors of processes: readable once the process has ended, and never another's by mistake.

By number, since os.pidfd_open is missing from interpreters that were built with headers older
than Linux 5.3, and those that tools download are.
"""

from __future__ import annotations

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
_PIDFD_OPEN, _PIDFD_GETFD = 434, 438  # the same on every architecture


def pidfd_open(pid: int) -> int:
    """A descriptor of the process that has this PID now. Not inherited across exec.

    Raises OSError: ESRCH when there is no such process, ENOSYS before Linux 5.3.
    """
    descriptor: int = _libc.syscall(ctypes.c_long(_PIDFD_OPEN), pid, 0)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"pidfd_open {pid}: {os.strerror(number)}")
    return descriptor


def duplicate_of(pidfd: int, descriptor: int) -> int | None:
    """Duplicate a descriptor of another process; None if it is not open there, or that is gone.

    Raises OSError: EPERM where the process hides itself or a seccomp profile refuses the call,
    ENOSYS before Linux 5.6.
    """
    result: int = _libc.syscall(ctypes.c_long(_PIDFD_GETFD), pidfd, descriptor, 0)
    if result < 0 and (number := ctypes.get_errno()) not in (errno.EBADF, errno.ESRCH):
        raise OSError(number, f"pidfd_getfd: {os.strerror(number)}")
    return result if result >= 0 else None
