"""The directory of this IPC namespace's POSIX queues, for who may have it, mounted or not."""

from __future__ import annotations

import contextlib
import ctypes
import os

_MOUNTED = "/dev/mqueue"
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the same numbers on every architecture
_CLOEXEC = 1
_CMD_CREATE = 6

_libc = ctypes.CDLL(None, use_errno=True)


def queue_directory() -> int | None:
    """A descriptor of the directory that lists the queues; None: this user cannot list them.

    Root has it by a mount that sits nowhere: no path leads to it, so the machine is not changed,
    and it goes with its last descriptor. Others need the machine's own mount.
    """
    with contextlib.suppress(OSError):
        return _mounted_nowhere()
    with contextlib.suppress(OSError):
        directory = os.open(_MOUNTED, os.O_RDONLY | os.O_DIRECTORY)
        # An empty mount point lists nothing, and a container may be given the mount of another
        # IPC namespace: either way it would seem that there are no queues.
        if os.fstat(directory).st_dev == _device():
            return directory
        os.close(directory)
    return None


def _mounted_nowhere() -> int:
    """Raises OSError: not privileged, no queues in this kernel, or older than 5.2."""
    with contextlib.ExitStack() as stack:
        context = _call(_FSOPEN, b"mqueue", _CLOEXEC)
        stack.callback(os.close, context)
        _call(_FSCONFIG, context, _CMD_CREATE, None, None, 0)
        root = _call(_FSMOUNT, context, _CLOEXEC, 0)
        stack.callback(os.close, root)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)


def _device() -> int:
    """The number by which the kernel tells this namespace's queues. Raises OSError."""
    from lab.kernel.queue_limit import smallest_queue  # root has no need of it

    with smallest_queue() as descriptor:
        return os.fstat(descriptor).st_dev


def _call(number: int, *arguments: int | bytes | None) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
