"""The registers of an x86_64 task as ptrace hands them over, and what a system call puts where."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from lab.kernel.x86_64.instruction import Access
from lab.kernel.x86_64.numbers import NAMES

_NAMES = [
    "r15",
    "r14",
    "r13",
    "r12",
    "rbp",
    "rbx",
    "r11",
    "r10",
    "r9",
    "r8",
    "rax",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "orig_rax",
    "rip",
    "cs",
    "eflags",
    "rsp",
    "ss",
    "fs_base",
    "gs_base",
    "ds",
    "es",
    "fs",
    "gs",
]

TRAP_FLAG = 0x100
SYSCALL_LENGTH = 2
"""Bytes of the `syscall` instruction: how far to go back to repeat it."""
_MASK = (1 << 64) - 1


class Registers(ctypes.Structure):
    """struct user_regs_struct."""

    _fields_ = [(name, ctypes.c_uint64) for name in _NAMES]  # ctypes' own form

    r15: int
    r14: int
    r13: int
    r12: int
    rbp: int
    rbx: int
    r11: int
    r10: int
    r9: int
    r8: int
    rax: int
    rcx: int
    rdx: int
    rsi: int
    rdi: int
    orig_rax: int
    rip: int
    cs: int
    eflags: int
    rsp: int
    ss: int
    fs_base: int

    def __getitem__(self, index: int) -> int:
        """An argument of a system call, or of a function at its entry (the first four)."""
        value: int = getattr(self, _ARGUMENTS[index])
        return value

    def __setitem__(self, index: int, value: int) -> None:
        setattr(self, _ARGUMENTS[index], value & _MASK)

    @property
    def call(self) -> str:
        """The name of the system call that it is about to make; "" for an unknown one."""
        return NAMES.get(self.orig_rax, "")

    @property
    def place(self) -> int:
        """The address of the instruction at which it stands."""
        return self.rip

    @place.setter
    def place(self, address: int) -> None:
        self.rip = address

    @property
    def stack(self) -> int:
        """Address of the top of the stack."""
        return int(self.rsp)

    @property
    def thread_base(self) -> int:
        """From where thread-local variables are counted."""
        return self.fs_base

    @property
    def arguments(self) -> tuple[int, int, int, int, int, int]:
        """The six arguments of a system call, as unsigned numbers."""
        return (self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9)

    def run_on(self) -> None:
        """No stop after the next instruction any more."""
        self.eflags &= ~TRAP_FLAG

    @property
    def goes_on(self) -> bool:
        """At a stop before a system call: it will be made, and has not been answered already."""
        return self.orig_rax != _MASK

    def after_trap(self) -> None:
        """A breakpoint's own instruction is behind it by now: go back to where it was put."""
        self.rip -= 1

    def narrowed(self, access: Access, address: int) -> Access:
        """What an instruction with two places in memory does to the one at `address`."""
        return access.at(address, rsi=self.rsi, rdi=self.rdi, rsp=self.rsp)

    @property
    def rounds(self) -> int:
        """How often a repeated string instruction still has to run."""
        return self.rcx

    @property
    def result(self) -> int:
        """What a system call returned; negative: the error's number."""
        return self.rax - (1 << 64) if self.rax >> 63 else self.rax

    def set_arguments(self, arguments: Sequence[int]) -> None:
        """At a stop before a system call: give it other arguments."""
        for index, value in enumerate(arguments):
            self[index] = value

    def skip_call(self, result: int) -> None:
        """At a stop before a system call: make it none, and let it return `result`."""
        self.orig_rax = _MASK
        self.rax = result & _MASK

    def repeat_call(self) -> None:
        """At a stop before or after a system call: do not make it, come back to the same stop.

        What is pending, a signal, is taken in between.
        """
        self.rax = self.orig_rax
        self.orig_rax = _MASK
        self.rip -= SYSCALL_LENGTH

    def copy(self) -> Registers:
        """The same registers, to be changed without losing these."""
        return Registers.from_buffer_copy(self)


_ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
