"""A seccomp filter that stops the system calls which a tracer must see, and spares it the rest.

With ptrace alone a task stops twice in every system call. With this filter and
PTRACE_O_TRACESECCOMP it stops in those that may touch something shared, and runs through the
others at full speed. Without a tracer the stopped calls fail with ENOSYS: what survives the lab
does nothing shared any more.

The filter sees the number, the arguments and the instruction pointer, but no memory. So whatever
is handed a pointer into shared memory is recognised by the address, and the lab keeps all shared
mappings in one window of addresses for that.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lab.kernel.arch import NUMBERS

AUDIT_ARCH_X86_64 = 0xC000003E
RET_TRACE = 0x7FF00000
RET_ALLOW = 0x7FFF0000
WINDOW_HALVES = 16
"""How many values the high halves of addresses in the window have: it spans 64 GiB."""

# Bits of a system call's number and arguments, and places in struct seccomp_data.
_X32 = 0x40000000
_MAP_SHARED, _PROT_EXEC = 1, 4
_MAP_ANONYMOUS, _MAP_DENYWRITE = 0x20, 0x800
"""What has no file, and what the loader says of libraries: nothing that others write."""
_NO_DESCRIPTOR = 0xFFFFFFFF
_LOCKS = (5, 6, 7, 36, 37, 38)  # F_GETLK, F_SETLK, F_SETLKW, and the same of open files
_NUMBER, _ARCH, _POINTER, _ARGUMENTS = 0, 4, 8, 16
_HIGH_HALF = 4

_LOAD, _SUBTRACT, _RETURN, _JUMP = 0x20, 0x14, 0x06, 0x05
_EQUAL, _AT_LEAST, _ANY_BIT = 0x15, 0x35, 0x45
_LONGEST_BRANCH = 255
_LONGEST_PROGRAM = 4096

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_MODE_FILTER = 2


@dataclass(frozen=True)
class Rules:
    """Which system calls stop. mmap, futex and fcntl have rules of their own, see `assemble`."""

    traced: frozenset[int]
    """Numbers of the calls that always stop."""
    free_start: int
    """Start of the code that the tracer lends to a task: calls from there are its own and pass. The
    filter sees the address behind the call's instruction."""
    free_end: int
    window_high: int
    """The high half of the first address in the window of shared memory, which is 64 GiB long."""
    elsewhere: tuple[tuple[int, int], ...] = ()
    """Start and end of further ranges of shared memory, which was mapped before."""

    def __post_init__(self) -> None:
        if self.free_start >> 32 != (self.free_end - 1) >> 32:
            raise ValueError(
                f"the code at {self.free_start:#x} crosses a multiple of 4 GiB, and the filter "
                "compares halves of an address: map it elsewhere"
            )


def numbers_of(names: Iterable[str]) -> frozenset[int]:
    """The numbers of system calls, on this architecture; a call that it lacks is left out."""
    return frozenset(NUMBERS[name] for name in names if name in NUMBERS)


def assemble(rules: Rules) -> bytes:
    """The filter, as an array of struct sock_filter.

    In this order: stop what is not called in the 64-bit way; let the tracer's own calls pass; stop
    the traced calls, every futex call (private wakes too, for the waiters may be emulated), an
    mmap that shares, makes code or reads a file, an fcntl on locks, and any call that has an
    argument in the window; let the rest pass.

    Raises ValueError if there are more rules than a filter has room for.
    """
    code = _Backwards()
    allow = code.add(_RETURN, RET_ALLOW)
    trace = code.add(_RETURN, RET_TRACE)
    pointers = allow
    for argument in range(6):
        for start, end in _within_4_gib(rules.elsewhere):
            test = code.branch(_AT_LEAST, end - start, pointers, trace)
            test = code.add(_SUBTRACT, start & 0xFFFFFFFF, then=test)
            test = code.add(_LOAD, _argument(argument), then=test)
            test = code.branch(_EQUAL, start >> 32, test, pointers)
            pointers = code.add(_LOAD, _argument(argument) + _HIGH_HALF, then=test)
        test = code.branch(_AT_LEAST, WINDOW_HALVES, pointers, trace)
        test = code.add(_SUBTRACT, rules.window_high, then=test)
        pointers = code.add(_LOAD, _argument(argument) + _HIGH_HALF, then=test)
    lock = pointers
    for command in _LOCKS:
        lock = code.branch(_EQUAL, command, trace, lock)
    lock = code.add(_LOAD, _argument(1), then=lock)
    mapping = code.branch(_EQUAL, _NO_DESCRIPTOR, pointers, trace)
    mapping = code.add(_LOAD, _argument(4), then=mapping)
    mapping = code.branch(_ANY_BIT, _MAP_ANONYMOUS | _MAP_DENYWRITE, pointers, mapping)
    mapping = code.branch(_ANY_BIT, _MAP_SHARED, trace, mapping)
    mapping = code.add(_LOAD, _argument(3), then=mapping)
    mapping = code.branch(_ANY_BIT, _PROT_EXEC, trace, mapping)
    mapping = code.add(_LOAD, _argument(2), then=mapping)

    targets = {NUMBERS["mmap"]: mapping, NUMBERS["fcntl"]: lock}
    targets |= dict.fromkeys(rules.traced | {NUMBERS["futex"]}, trace)
    step = _by_number(code, _pieces(targets, pointers))
    number = code.add(_LOAD, _NUMBER, then=step)

    low, high = rules.free_start & 0xFFFFFFFF, rules.free_start >> 32
    step = code.branch(_AT_LEAST, rules.free_end - rules.free_start, number, allow)
    step = code.add(_SUBTRACT, low, then=step)
    step = code.add(_LOAD, _POINTER, then=step)
    step = code.branch(_EQUAL, high, step, number)
    step = code.add(_LOAD, _POINTER + _HIGH_HALF, then=step)

    step = code.branch(_ANY_BIT, _X32, trace, step)
    step = code.add(_LOAD, _NUMBER, then=step)
    step = code.branch(_EQUAL, AUDIT_ARCH_X86_64, step, trace)
    code.add(_LOAD, _ARCH, then=step)
    return code.program()


def install(program: bytes) -> None:
    """Put the calling thread, and all that it will start, under a filter for good.

    A task without CAP_SYS_ADMIN must also give up gaining privileges through set-user-ID programs;
    one that has it keeps them, for a program under test may need them.

    Raises OSError.
    """
    filters = ctypes.create_string_buffer(program, len(program))
    header = _Header(len(program) // _STEP.size, ctypes.addressof(filters))
    try:
        _prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(header))
    except PermissionError:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0)
        _prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(header))


def _within_4_gib(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ranges cut where the high half of an address changes."""
    for start, end in ranges:
        place = start
        while place < end:
            border = min(end, (place >> 32) + 1 << 32)
            yield place, border
            place = border


def _argument(number: int) -> int:
    return _ARGUMENTS + 8 * number


def _pieces(targets: dict[int, int], otherwise: int) -> list[tuple[int, int]]:
    """All numbers as runs that go to the same place: where each run starts, and goes."""
    pieces = [(0, otherwise)]
    for number in sorted(targets):
        for start, target in ((number, targets[number]), (number + 1, otherwise)):
            if pieces[-1][0] == start:
                pieces.pop()
            if not pieces or pieces[-1][1] != target:
                pieces.append((start, target))
    return pieces


def _by_number(code: _Backwards, pieces: list[tuple[int, int]]) -> int:
    """A binary search: some hundred calls are told apart by seven comparisons."""
    if len(pieces) == 1:
        return pieces[0][1]
    middle = len(pieces) // 2
    upper, lower = _by_number(code, pieces[middle:]), _by_number(code, pieces[:middle])
    return code.branch(_AT_LEAST, pieces[middle][0], upper, lower)


_STEP = struct.Struct("=HBBI")


class _Backwards:
    """A program that is written from its end: it may only jump forward, so targets are known.

    Places are counted from the end.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[int, int, int, int]] = []
        self._islands: dict[int, int] = {}

    def add(self, code: int, operand: int, *, then: int | None = None) -> int:
        """Put an instruction before what is there; afterwards it goes on at `then`."""
        if then is not None and then != len(self._steps) - 1:
            self.add(_JUMP, len(self._steps) - 1 - then)
        self._steps.append((code, 0, 0, operand))
        return len(self._steps) - 1

    def branch(self, code: int, operand: int, yes: int, no: int) -> int:
        """Put a comparison with the accumulator before what is there."""
        yes, no = self._near(yes), self._near(no)
        here = len(self._steps)
        self._steps.append((code, here - 1 - yes, here - 1 - no, operand))
        return here

    def _near(self, target: int) -> int:
        """A place within a comparison's reach from which it goes on at `target`."""
        room = _LONGEST_BRANCH - 1  # the other branch may need an island in between
        near = self._islands.get(target, target)
        if len(self._steps) - 1 - near > room:
            near = self.add(_JUMP, len(self._steps) - 1 - target)
            self._islands[target] = near
        return near

    def program(self) -> bytes:
        if len(self._steps) > _LONGEST_PROGRAM:
            raise ValueError(
                f"the filter has {len(self._steps)} instructions and the kernel takes "
                f"{_LONGEST_PROGRAM}: trace fewer system calls, or runs of neighbours"
            )
        return b"".join(_STEP.pack(*step) for step in reversed(self._steps))


class _Header(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filters", ctypes.c_void_p))  # struct sock_fprog


_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def _prctl(option: int, argument: int, pointer: int) -> None:
    if _libc.prctl(option, argument, pointer, 0, 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")
