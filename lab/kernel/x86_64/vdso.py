"""Clocks that ask the kernel: machine code that turns the vDSO's functions into system calls.

The kernel maps a small library, the vDSO, into every process, and libc reads the clocks through it
without a system call: a tracer never learns of that, and virtual time would not reach the program.
Patched in a stopped task through /proc/PID/mem, each function makes the call that it stands for.
The write copies the page, so other processes keep theirs; children inherit it by fork and lose it
at exec. Machine code of x86_64; neither its RDTSC instruction nor the old vsyscall page is covered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.kernel import procfs
from lab.kernel.elf import ELFError, vdso_functions
from lab.kernel.x86_64.numbers import NUMBERS

_ENDBR64 = b"\xf3\x0f\x1e\xfa"
_SYSCALL, _RET = b"\x0f\x05", b"\xc3"
_CALLS = ("clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu", "getrandom")
# getrandom(NULL, 0, 0, params, ~0) asks the vDSO how to lay out its state, and the system call
# would answer 0 without having filled in anything. Refused, libc uses the system call ever after:
#     cmp r8, -1; jne +8; mov rax, -ENOSYS; ret
_REFUSE_LAYOUT = b"\x49\x83\xf8\xff" + b"\x75\x08" + b"\x48\xc7\xc0\xda\xff\xff\xff" + _RET


@dataclass(frozen=True)
class Patch:
    """Bytes to write at an offset from the start of the vDSO."""

    offset: int
    code: bytes


def find(pid: int) -> tuple[int, int] | None:
    """Where the vDSO of a process starts and ends; None if it has none, or is gone."""
    line = re.search(r"^(\w+)-(\w+) .*\[vdso\]$", procfs.text(pid, "maps") or "", re.MULTILINE)
    return line and (int(line[1], 16), int(line[2], 16))


def patches(image: bytes) -> tuple[Patch, ...]:
    """What to write over a vDSO so that its clocks and getrandom make real system calls.

    Write it while no thread of the task is inside the vDSO. A function that this kernel does not
    have is left out.

    Args:
        image: the vDSO, as read from the memory of a task of the same kernel.

    Raises ELFError if it cannot be read, or has no room for the code.
    """
    functions = vdso_functions(image)
    found = []
    for call in _CALLS:
        function = functions.get(f"__vdso_{call}")
        if function is None:
            continue
        number = NUMBERS[call].to_bytes(4, "little")
        code = b"\xb8" + number + _SYSCALL + _RET  # mov eax, number
        if call == "getrandom":
            code = _REFUSE_LAYOUT + code
        # Indirect calls may land on this instruction only, where the processor enforces it.
        if image.startswith(_ENDBR64, function.offset):
            code = _ENDBR64 + code
        if len(code) > function.size:
            raise ELFError(
                f"the vDSO: {call} has {function.size} bytes and its replacement {len(code)}, so "
                "this clock cannot be made virtual. Boot with vdso=0 to go without the vDSO."
            )
        found.append(Patch(function.offset, code))
    return tuple(found)
