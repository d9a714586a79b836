"""The few calls that Python 3.11 does not wrap, by ctypes: no compiled part in the package."""

from __future__ import annotations

import ctypes
import os
import struct
import time

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

IPC_RMID = 0

_libc = ctypes.CDLL(None, use_errno=True)
# Without a prototype ctypes passes C ints: pointers and longs would be cut to 32 bits.
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
_libc.msgrcv.argtypes = (
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_long,
    ctypes.c_int,
)
_libc.msgrcv.restype = ctypes.c_ssize_t
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)


def unshare(flags: int) -> None:
    """Leave the namespaces named by CLONE_NEW* (os.unshare exists from Python 3.12 only).

    Raises OSError.
    """
    check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount a file system.

    Raises OSError.
    """
    check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            os.fsencode(kind),
            flags,
            os.fsencode(options),
        ),
        f"mount {kind} on {target}",
    )


def unmount(target: str) -> None:
    """Take the topmost mount off a directory, even while it is in use. Raises OSError."""
    check(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"umount {target}")


def prctl(option: int, argument: int) -> None:
    """Set one of the process attributes whose option takes one number.

    Raises OSError.
    """
    check(_libc.prctl(option, argument, 0, 0, 0), "prctl")


def birth_time(path: str) -> float | None:
    """When a file was made, in seconds since 1970; None where the file system does not keep it.

    Also None when it cannot be looked at.
    """
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    if _libc.statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) < 0:
        return None
    (filled,) = struct.unpack_from("=I", buffer, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _BTIME_OFFSET)
    return float(seconds + nanoseconds / 1e9) if filled & _STATX_BTIME else None


def file_clock() -> float:
    """The present as the kernel would date a file now: its clock is some milliseconds late."""
    return time.clock_gettime(_CLOCK_REALTIME_COARSE)


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Give back the memory of a part of a file; its size stays. Raises OSError."""
    flags = _FALLOC_KEEP_SIZE | _FALLOC_PUNCH_HOLE
    check(_libc.fallocate(descriptor, flags, offset, length), "fallocate")


put = ctypes.memmove
"""Write bytes at an address of this process: put(address, data, size)."""


def map_code(address: int, size: int, code: bytes) -> None:
    """Map private memory that can be written and executed at a fixed address, and fill it.

    Raises OSError if something lies there.
    """
    place = _libc.mmap(address, size, _READ_WRITE_EXECUTE, _FIXED_PRIVATE_ANONYMOUS, -1, 0)
    if place != address:
        raise OSError(
            ctypes.get_errno(), f"the lab's page of code could not be mapped at {address:#x}"
        )
    ctypes.memmove(address, code, len(code))


def fix_addresses() -> None:
    """Let programs that this process executes have the same addresses every time (no ASLR)."""
    check(_libc.personality(ctypes.c_ulong(_ADDR_NO_RANDOMIZE)), "personality")


def set_name(name: str) -> None:
    """Name the calling thread, as `ps` and /proc show it (15 bytes are kept)."""
    text = ctypes.create_string_buffer(os.fsencode(name))
    check(_libc.prctl(PR_SET_NAME, ctypes.addressof(text), 0, 0, 0), "prctl")


def current_cpu() -> int:
    """The CPU that this process runs on; -1 where that cannot be told."""
    cpu: int = _libc.sched_getcpu()
    return cpu


def send_to_thread(process: int, thread: int, number: int) -> None:
    """Send a signal to one thread of a process. Raises OSError."""
    from lab.kernel.arch import NUMBERS  # with all that is known of the instructions

    # glibc 2.30 and newer wrap the call, older ones do not.
    check(_libc.syscall(ctypes.c_long(NUMBERS["tgkill"]), process, thread, number), "tgkill")


def semaphore_users(array: int, count: int) -> tuple[int, ...]:
    """PIDs that last operated on each semaphore of a System V set; () if it is gone or hidden."""
    users = (_libc.semctl(array, number, _GETPID, 0) for number in range(count))
    return tuple(pid for pid in users if pid > 0)


def remove_shared_memory(segment: int) -> None:
    """Mark a System V segment for removal. Raises OSError."""
    check(_libc.shmctl(segment, IPC_RMID, None), "shmctl")


def remove_semaphores(array: int) -> None:
    """Remove a System V semaphore set. Raises OSError."""
    check(_libc.semctl(array, 0, IPC_RMID, 0), "semctl")


def remove_queue(queue: int) -> None:
    """Remove a System V message queue. Raises OSError."""
    check(_libc.msgctl(queue, IPC_RMID, None), "msgctl")


_AT_FDCWD = -100
_BTIME_OFFSET = 80
_CLOCK_REALTIME_COARSE = 5
_READ_WRITE_EXECUTE, _FIXED_PRIVATE_ANONYMOUS = 7, 0x100022
_ADDR_NO_RANDOMIZE = 0x0040000
_FALLOC_KEEP_SIZE = 1
_FALLOC_PUNCH_HOLE = 2
_GETPID = 11
_MNT_DETACH = 2
_STATX_BTIME = 0x800
_STATX_SIZE = 256


def check(result: int, call: str) -> None:
    """Raise OSError if a call of the C library failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
