"""Standing at the entry of a C function: which instructions come first, how to leave it again."""

from __future__ import annotations

import re
from collections.abc import Callable

from lab.kernel.x86_64.registers import Registers

_READS_FIRST_ARGUMENT = re.compile(
    # Perhaps endbr64; then perhaps REX, mov, and a ModRM byte for [rdi] or [rdi + 8 bits].
    rb"(?:\xf3\x0f\x1e\xfa)?((?:[\x40-\x4f])?\x8b[\x07\x0f\x17\x1f\x27\x2f\x37\x3f"
    rb"\x47\x4f\x57\x5f\x67\x6f\x77\x7f])",
    re.DOTALL,
)
_PUSH_RBX, _PUSH_RBP = b"\x53", b"\x55"
_ENDBR64 = b"\xf3\x0f\x1e\xfa"
_SUB_RSP = b"\x48\x83\xec"
LOOK = 16
"""Bytes of a function that the two readers below want to see."""
_RED_ZONE = 256
"""Below the stack pointer lie 128 bytes that belong to the function (System V ABI)."""


def first_touch(code: bytes) -> int | None:
    """Where a function reads what its first argument points to, if it begins with that."""
    found = _READS_FIRST_ARGUMENT.match(code)
    return found.start(1) if found else None


def pass_over(code: bytes, regs: Registers, write: Callable[[int, bytes], object]) -> bool:
    """Do a function's first instruction by hand, if it is one of the usual.

    Args:
        code: the function's bytes, without a breakpoint.
        regs: of a task that stands at its entry; changed to stand behind the instruction.
        write: writes bytes at an address of the task's memory.
    """
    if code.startswith((_PUSH_RBX, _PUSH_RBP)):
        regs.rsp -= 8
        value = regs.rbx if code.startswith(_PUSH_RBX) else regs.rbp
        write(regs.rsp, value.to_bytes(8, "little"))
        regs.rip += 1
    elif code.startswith(_ENDBR64):
        regs.rip += len(_ENDBR64)
    elif code.startswith(_SUB_RSP):
        regs.rsp -= code[len(_SUB_RSP)]  # the flags that it sets are nobody's at an entry
        regs.rip += len(_SUB_RSP) + 1
    else:
        return False
    return True


def leave(regs: Registers, word: Callable[[int], int], result: int) -> None:
    """Return from a function at whose entry a task stands.

    Args:
        regs: of the task; changed.
        word: reads a word of its memory.
        result: what the function returns.
    """
    regs.rip = word(regs.rsp)
    regs.rsp += 8
    regs.rax = result & ((1 << 64) - 1)


def enter(
    regs: Registers, function: int, return_to: int, write: Callable[[int, bytes], object]
) -> Registers:
    """Registers with which a task calls a function without arguments; its own are kept by you."""
    through = regs.copy()
    # A call leaves the stack pointer 8 short of a multiple of 16.
    through.rsp = (regs.rsp - _RED_ZONE) // 16 * 16 - 8
    write(through.rsp, return_to.to_bytes(8, "little"))
    through.rip = function
    return through
