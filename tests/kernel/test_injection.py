from __future__ import annotations

import ctypes
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab.kernel import ptrace
from lab.kernel.arch import NUMBERS, Registers, injection
from lab.kernel.ptrace import Stop, StopKind

TRAPPED = Stop(StopKind.SIGNAL, signal.SIGTRAP)
FAULT = Stop(StopKind.SIGNAL, signal.SIGSEGV)

# Maps the lab's page, then a shared page that is closed, tells where, and accesses it when told to.
CHILD = r"""
import ctypes, mmap, os, sys
from lab.kernel.arch import injection

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
libc.mmap(injection.PAGE, injection.SIZE, 7, 0x100022, -1, 0)
ctypes.memmove(injection.PAGE, injection.CODE, len(injection.CODE))
place = libc.mmap(None, mmap.PAGESIZE, 0, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, -1, 0)
value = ctypes.c_uint64.from_address(place)
print(place, flush=True)
sys.stdin.readline()
value.value = 5
value.value += 1
os._exit(value.value)
"""

pytestmark = pytest.mark.usefixtures("control")


class Child:
    """A traced child that stands at its first access to a closed page."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.place = int(self.process.stdout.readline())
        self.pid = self.process.pid
        self.memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR)
        ptrace.seize(self.pid)
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        assert self.wait() == FAULT

    def wait(self) -> Stop:
        _, status = os.waitpid(self.pid, ptrace.WALL)
        return ptrace.decode(self.pid, status)

    def go(self, regs: Registers) -> Stop:
        ptrace.set_registers(self.pid, regs)
        ptrace.resume(self.pid)
        return self.wait()

    def close(self) -> None:
        os.close(self.memory)
        if self.process.returncode is None:
            os.kill(self.pid, signal.SIGKILL)
            while os.WIFSTOPPED(os.waitpid(self.pid, ptrace.WALL)[1]):
                ptrace.resume(self.pid)
            self.process.returncode = -9
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.close()


def rights(child: Child, protection: int) -> tuple[int, int, int]:
    return (child.place, mmap.PAGESIZE, protection)


def step(child: Child) -> Stop:
    """Run the instruction that faulted, with its page open."""
    regs = ptrace.registers(child.pid)
    return child.go(injection.step_over_open(child.memory, regs, rights(child, 3), trap=True))


def run_on(child: Child) -> Stop:
    """Close the page, and run to the next access."""
    regs = ptrace.registers(child.pid)
    return child.go(injection.step_over_open(child.memory, regs, rights(child, 0), trap=False))


def test_one_instruction_runs_with_its_page_open_and_its_registers_as_they_were(
    child: Child,
) -> None:
    before = ptrace.registers(child.pid)

    assert step(child) == TRAPPED

    after = ptrace.registers(child.pid)
    assert 0 < after.place - before.place <= 15
    changed = {
        name
        for name in ("rbx", "rbp", "rsp", "r12", "r13", "r14", "r15", "rdi", "rsi", "rcx", "r11")
        if getattr(after, name) != getattr(before, name)
    }
    assert len(changed) <= 1  # what the instruction itself loaded


def test_closing_rides_back_into_the_program_which_faults_at_each_access(child: Child) -> None:
    values = []
    stop = FAULT
    while stop == FAULT:
        assert ptrace.fault_address(child.pid) == child.place
        assert not ptrace.registers(child.pid).eflags & 0x100
        assert step(child) == TRAPPED
        values.append(int.from_bytes(os.pread(child.memory, 8, child.place), "little"))
        stop = run_on(child)

    child.process.returncode = 6
    assert stop == Stop(StopKind.EXITED, 6)
    assert list(dict.fromkeys(values)) == [0, 5, 6]


def test_a_call_is_made_in_the_childs_name_and_traps(child: Child) -> None:
    regs = ptrace.registers(child.pid)

    stop = child.go(injection.made_call(regs, "getpid", ()))

    assert stop == TRAPPED
    assert ptrace.registers(child.pid).result == child.pid
    ptrace.set_registers(child.pid, regs)
    assert ptrace.registers(child.pid).place == regs.place


def test_six_arguments_are_passed_and_errors_come_back(child: Child) -> None:
    regs = ptrace.registers(child.pid)

    arguments = (0, mmap.PAGESIZE, 3, 0x22, -1, 0)
    assert child.go(injection.made_call(regs, "mmap", arguments)) == TRAPPED
    place = ptrace.registers(child.pid).result
    injection.write(child.memory, place, b"hello")
    assert os.pread(child.memory, 5, place) == b"hello"

    assert child.go(injection.made_call(regs, "close", (-1,))) == TRAPPED
    assert ptrace.registers(child.pid).result == -9


def test_a_function_may_be_called_that_returns_to_the_trap(child: Child) -> None:
    from lab.kernel.arch import functions

    class Space:
        @staticmethod
        def write(address: int, data: bytes) -> None:
            injection.write(child.memory, address, data)

    function = injection.SCRATCH
    injection.write(child.memory, function, bytes.fromhex("b82a000000c3"))  # mov eax, 42; ret
    regs = ptrace.registers(child.pid)

    stop = child.go(functions.enter(regs, function, injection.TRAP_PLACE, Space.write))

    assert stop == TRAPPED
    assert ptrace.registers(child.pid).result == 42


def test_the_code_fits_its_page_and_leaves_room_for_data() -> None:
    assert len(injection.CODE) <= injection.SCRATCH - injection.PAGE
    assert injection.SCRATCH + 1024 <= injection.PAGE + injection.SIZE
    assert NUMBERS["mprotect"] == 10
    assert ctypes.sizeof(Registers) == 27 * 8
