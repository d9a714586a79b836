"""Standing at the entry of a C function: which instructions come first, how to leave it again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

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
"""Bytes of a function that the readers below want to see."""
_CALL, _CALL_THROUGH = b"\xe8", b"\xff\x15"
BEFORE_RETURN = 6
"""Bytes of the longer of the two."""
_CALLS = re.compile(rb"(?:\xe8|\xff\x15)(.{4})", re.DOTALL)
_JUMP_THROUGH = re.compile(rb"(?:\xf3\x0f\x1e\xfa)?\xf2?\xff\x25(.{4})", re.DOTALL)
"""An entry of the linkage table: perhaps endbr64, then jmp [rip + 32 bits], perhaps with bnd."""
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


def is_return_address(code: bytes) -> bool:
    """Whether the first `BEFORE_RETURN` bytes end in a call."""
    return code[1:2] == _CALL or code[:2] == _CALL_THROUGH


def called(code: bytes, address: int, read: Callable[[int, int], bytes]) -> Iterator[int]:
    """Functions that a stretch of code may call, found through linkage tables too.

    A byte that looks like a call may be part of another instruction, so more than it calls can
    come out; a slot of the table that is not bound yet leads to nothing.

    Args:
        code: the code.
        address: where it lies.
        read: reads bytes at an address of the same memory; b"" where there are none.
    """
    for found in _CALLS.finditer(code):
        after = address + found.end()
        target = after + int.from_bytes(found[1], "little", signed=True)
        if found[0].startswith(_CALL):
            yield target
            stub = _JUMP_THROUGH.match(read(target, LOOK))
            if stub is None:
                continue
            target += stub.end() + int.from_bytes(stub[1], "little", signed=True)
        yield int.from_bytes(read(target, 8), "little")


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
