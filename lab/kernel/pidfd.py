"""Descriptors of processes: readable once the process has ended, and never another's by mistake.

By number, since os.pidfd_open is missing from interpreters that were built with headers older
than Linux 5.3, and those that tools download are.
"""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_PIDFD_OPEN = 434  # the same on every architecture


def pidfd_open(pid: int) -> int:
    """A descriptor of the process that has this PID now. Not inherited across exec.

    Raises OSError: ESRCH when there is no such process, ENOSYS before Linux 5.3.
    """
    descriptor: int = _libc.syscall(ctypes.c_long(_PIDFD_OPEN), pid, 0)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"pidfd_open {pid}: {os.strerror(number)}")
    return descriptor
