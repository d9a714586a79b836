"""Making a stopped task do something for the tracer, by a page of code mapped into it.

The page holds two pieces:

    step:   syscall; pop rax, rdi, rsi, rdx, rcx, r11; iretq
    call:   syscall; int3

`step` costs no stop of its own. The tracer writes the task's registers and an iret frame beside
the code and resumes there: the system call (mprotect) opens a page, and iretq lands on the
instruction that faulted, with the trap flag set: it runs alone and traps. The closing mprotect
rides back into the program the same way with the trap flag clear: two stops an access, where
stepping over the system calls would take four.

The page lies at a fixed address, so that the seccomp filter can let through what comes from it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from lab.kernel.x86_64.numbers import NUMBERS
from lab.kernel.x86_64.registers import TRAP_FLAG, Registers

PAGE = 0x7E0000000000
"""Where the page is mapped: below libraries and stack, above any heap."""
SIZE = 0x1000
_STEP = PAGE
_CALL = PAGE + 0x40
_SCRATCH = PAGE + 0x400
_FRAME = PAGE + 0x800
CODE = (
    # syscall; pop rax; pop rdi; pop rsi; pop rdx; pop rcx; pop r11; iretq
    bytes.fromhex("0f05 58 5f 5e 5a 59 415b 48cf").ljust(0x40, b"\x90") + bytes.fromhex("0f05 cc")
).ljust(0x400, b"\0")
TRAP_PLACE = _CALL + 2
"""An int3: where a function called for the tracer returns to."""

_STEP_FRAME = struct.Struct("=11Q")
_MPROTECT = NUMBERS["mprotect"]
_NONE = (1 << 64) - 1

SCRATCH = _SCRATCH
"""1 KiB of the page for arguments that the tracer passes by pointer."""


def write(memory: int, address: int, data: bytes) -> None:
    """Write into a task's memory, through its /proc/PID/mem; protection does not matter."""
    os.pwrite(memory, data, address)


def step_over_open(
    memory: int, regs: Registers, place: tuple[int, int, int], *, trap: bool
) -> Registers:
    """Registers that take a task through mprotect(start, length, protection) to where `regs` are.

    Args:
        memory: descriptor of the task's /proc/PID/mem.
        regs: where it is to go on.
        place: start, length and protection for mprotect.
        trap: run one instruction there and trap, or run on.
    """
    flags = regs.eflags | TRAP_FLAG if trap else regs.eflags & ~TRAP_FLAG
    frame = _STEP_FRAME.pack(
        regs.rax,
        regs.rdi,
        regs.rsi,
        regs.rdx,
        regs.rcx,
        regs.r11,
        regs.rip,
        regs.cs,
        flags,
        regs.rsp,
        regs.ss,
    )
    os.pwrite(memory, frame, _FRAME)
    through = regs.copy()
    through.rip, through.rsp = _STEP, _FRAME
    through.eflags = regs.eflags & ~TRAP_FLAG
    through.rax, through.orig_rax = _MPROTECT, _NONE
    through.rdi, through.rsi, through.rdx = place
    return through


def made_call(regs: Registers, call: str, arguments: Sequence[int]) -> Registers:
    """Registers with which a task makes a system call for the tracer; it traps behind it."""
    through = regs.copy()
    through.rip, through.rsp = _CALL, _FRAME
    through.eflags = regs.eflags & ~TRAP_FLAG
    through.rax, through.orig_rax = NUMBERS[call], _NONE
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    through.rdi, through.rsi, through.rdx, through.r10, through.r8, through.r9 = (
        value & _NONE for value in padded
    )
    return through


def borrow_call(
    regs: Registers, image: bytes, start: int, call: str, arguments: Sequence[int]
) -> Registers:
    """Registers with which a task makes a call where the page is not mapped yet.

    Args:
        regs: its registers, to be put back afterwards.
        image: some code of its own that holds a `syscall` instruction: the vDSO.
        start: where that lies.
        call: the name of the system call.
        arguments: its arguments.
    """
    through = regs.copy()
    through.rip = start + image.index(_SYSCALL)
    through.rax, through.orig_rax = NUMBERS[call], _NONE
    through.set_arguments(arguments)
    return through


_SYSCALL = bytes.fromhex("0f05")
