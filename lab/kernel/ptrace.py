"""ptrace by ctypes: seize, resume, registers, memory, and stops told apart.

PTRACE_SEIZE rather than PTRACE_TRACEME or ATTACH: only a seized task tells a group-stop from the
delivery of a stopping signal, and can be left in it with PTRACE_LISTEN.
"""

from __future__ import annotations

import ctypes
import enum
import os
import signal
from dataclasses import dataclass

from lab.kernel.arch import Registers

_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_ptrace.restype = ctypes.c_long

CONT = 7
SINGLE_STEP = 9
SYSCALL = 24
_GETREGS = 12
_SETREGS = 13
_GETEVENTMSG = 0x4201
_GETSIGINFO = 0x4202
_SETSIGINFO = 0x4203
_SEIZE = 0x4206
_LISTEN = 0x4208
_GETSIGMASK = 0x420A
_SETSIGMASK = 0x420B

_SYSGOOD = 1
_FORK = 1 << 1
_VFORK = 1 << 2
_CLONE = 1 << 3
_EXEC = 1 << 4
_VFORK_DONE = 1 << 5
_SECCOMP = 1 << 7
_EXITKILL = 1 << 20
OPTIONS = _SYSGOOD | _FORK | _VFORK | _CLONE | _EXEC | _VFORK_DONE | _SECCOMP | _EXITKILL

WALL = 0x40000000
"""waitpid: also children made with clone, whatever signal they announce their end with."""


class StopKind(enum.Enum):
    """Why a task stopped."""

    EXITED = enum.auto()
    KILLED = enum.auto()
    CALL = enum.auto()
    """Before a system call that the filter hands over."""
    CALL_DONE = enum.auto()
    FORKED = enum.auto()
    """fork, vfork or clone has made a child; `value` is its thread id."""
    VFORK_DONE = enum.auto()
    EXECUTED = enum.auto()
    SIGNAL = enum.auto()
    """A signal is about to be delivered; `value` is its number."""
    GROUP_STOP = enum.auto()
    NEWBORN = enum.auto()
    """The first stop of a new task, or the end of a group-stop."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop of a task."""

    kind: StopKind
    value: int = 0


class PtraceError(OSError):
    """A request failed; ESRCH means that the task was killed meanwhile."""


def seize(task: int) -> None:
    """Begin to trace a running task. Raises PtraceError (EPERM: tracing is refused here)."""
    _request(_SEIZE, task, 0, OPTIONS)


def resume(task: int, request: int = CONT, signal_number: int = 0) -> None:
    """Let a stopped task go on: CONT to its next stop, SYSCALL to the end of a system call too."""
    _request(request, task, 0, signal_number)


def listen(task: int) -> None:
    """Leave a task in its group-stop, yet hear when SIGCONT ends it."""
    _request(_LISTEN, task, 0, 0)


def registers(task: int) -> Registers:
    """The registers of a stopped task."""
    regs = Registers()
    if _ptrace(_GETREGS, task, 0, ctypes.addressof(regs)) < 0:
        _fail("GETREGS")
    return regs


def set_registers(task: int, regs: Registers) -> None:
    """Give a stopped task other registers."""
    if _ptrace(_SETREGS, task, 0, ctypes.addressof(regs)) < 0:
        _fail("SETREGS")


def event_message(task: int) -> int:
    """What comes with an event: the new task's id."""
    value = ctypes.c_ulong()
    _request(_GETEVENTMSG, task, 0, ctypes.addressof(value))
    return value.value


def fault_address(task: int) -> int:
    """The address of the access that a SIGSEGV is about (siginfo's si_addr)."""
    info = (ctypes.c_uint64 * 16)()
    _request(_GETSIGINFO, task, 0, ctypes.addressof(info))
    return info[2]


def signal_info(task: int) -> bytes:
    """What comes with the signal that a task stopped for (siginfo)."""
    info = ctypes.create_string_buffer(_INFO_SIZE)
    _request(_GETSIGINFO, task, 0, ctypes.addressof(info))
    return info.raw


def set_signal_info(task: int, info: bytes) -> None:
    """At a stop for a signal: what is to come with the signal that it is resumed with."""
    buffer = ctypes.create_string_buffer(info, _INFO_SIZE)
    _request(_SETSIGINFO, task, 0, ctypes.addressof(buffer))


_INFO_SIZE = 128


def blocked_signals(task: int) -> int:
    """The signals that a stopped task blocks, as a mask."""
    mask = ctypes.c_uint64()
    _request(_GETSIGMASK, task, ctypes.sizeof(mask), ctypes.addressof(mask))
    return mask.value


def block_signals(task: int, mask: int) -> None:
    """Let a stopped task block exactly these signals."""
    value = ctypes.c_uint64(mask)
    _request(_SETSIGMASK, task, ctypes.sizeof(value), ctypes.addressof(value))


def decode(task: int, status: int) -> Stop:
    """Tell from a wait status why a task stopped."""
    if os.WIFEXITED(status):
        return Stop(StopKind.EXITED, os.WEXITSTATUS(status))
    if os.WIFSIGNALED(status):
        return Stop(StopKind.KILLED, os.WTERMSIG(status))
    number, event = os.WSTOPSIG(status), status >> 16
    if event:
        kind = _EVENTS[event]
        if kind is StopKind.FORKED:
            return Stop(kind, event_message(task))
        if kind is StopKind.NEWBORN and number != signal.SIGTRAP:
            return Stop(StopKind.GROUP_STOP, number)
        return Stop(kind)
    if number == signal.SIGTRAP | 0x80:
        return Stop(StopKind.CALL_DONE)
    return Stop(StopKind.SIGNAL, number)


_EVENTS = {
    1: StopKind.FORKED,
    2: StopKind.FORKED,
    3: StopKind.FORKED,
    4: StopKind.EXECUTED,
    5: StopKind.VFORK_DONE,
    7: StopKind.CALL,
    128: StopKind.NEWBORN,
}


def _request(request: int, task: int, address: int, data: int) -> None:
    if _ptrace(request, task, address, data) < 0:
        _fail(f"request {request:#x}")


def _fail(what: str) -> None:
    number = ctypes.get_errno()
    raise PtraceError(number, f"ptrace {what}: {os.strerror(number)}")
