"""The registers of an x86_64 task as ptrace hands them over, and what a system call puts where."""

from __future__ import annotations

import ctypes

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

    @property
    def call(self) -> int:
        """The number of the system call that it is about to make, or has made."""
        return self.orig_rax

    @property
    def arguments(self) -> tuple[int, int, int, int, int, int]:
        """The six arguments of a system call, as unsigned numbers."""
        return (self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9)

    @property
    def result(self) -> int:
        """What a system call returned; negative: the error's number."""
        return self.rax - (1 << 64) if self.rax >> 63 else self.rax

    def become_call(self, number: int, arguments: tuple[int, ...]) -> None:
        """At a stop before a system call: make it another one."""
        self.orig_rax = self.rax = number
        for name, value in zip(_ARGUMENTS, arguments, strict=False):
            setattr(self, name, value & _MASK)

    def skip_call(self, result: int) -> None:
        """At a stop before a system call: make it none, and let it return `result`."""
        self.orig_rax = _MASK
        self.rax = result & _MASK

    def repeat_call(self, number: int) -> None:
        """At a stop before a system call: do not make it, come back to the same stop.

        What is pending, a signal, is taken in between.
        """
        self.orig_rax = _MASK
        self.rax = number
        self.rip -= SYSCALL_LENGTH

    def copy(self) -> Registers:
        """The same registers, to be changed without losing these."""
        return Registers.from_buffer_copy(self)


_ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
