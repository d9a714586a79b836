from __future__ import annotations

import pytest

from lab.kernel.arch import NUMBERS, Access, Registers

MASK = (1 << 64) - 1


def before(call: str, *arguments: int) -> Registers:
    """As at a stop before a system call."""
    regs = Registers(rip=0x1002, rax=(1 << 64) - 38, orig_rax=NUMBERS[call], eflags=0x346)
    regs.set_arguments(arguments)
    return regs


def test_a_call_is_known_by_its_name_and_a_new_one_by_none() -> None:
    assert before("write").call == "write"
    assert Registers(orig_rax=999_999).call == ""


def test_arguments_are_where_the_kernel_looks_for_them() -> None:
    regs = before("mmap", 1, 2, 3, 4, 5, 6)

    assert (regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9) == (1, 2, 3, 4, 5, 6)
    assert regs.arguments == (1, 2, 3, 4, 5, 6)
    assert [regs[index] for index in range(6)] == [1, 2, 3, 4, 5, 6]
    regs[3] = -1
    assert regs.r10 == MASK


def test_an_answered_call_is_not_made() -> None:
    regs = before("getpid")
    assert regs.goes_on

    regs.skip_call(-14)

    assert (regs.goes_on, regs.result) == (False, -14)
    assert regs.rip == 0x1002


def test_a_repeated_call_comes_back_to_its_own_instruction() -> None:
    regs = before("read", 7)

    regs.repeat_call()

    assert (regs.rip, regs.rax, regs.orig_rax) == (0x1000, NUMBERS["read"], MASK)
    assert regs[0] == 7


def test_results_are_signed() -> None:
    assert Registers(rax=5).result == 5
    assert Registers(rax=MASK).result == -1


def test_after_a_breakpoint_the_place_is_where_it_was_put() -> None:
    regs = Registers(rip=0x2001)
    regs.after_trap()
    assert regs.place == 0x2000


def test_running_on_means_no_stop_after_the_next_instruction() -> None:
    regs = before("read")
    regs.run_on()
    assert regs.eflags == 0x246


def test_a_copy_is_independent() -> None:
    regs = before("read", 1)
    copy = regs.copy()
    copy[0] = 2
    assert (regs[0], copy[0]) == (1, 2)


@pytest.mark.parametrize(("address", "reads"), [(0x100, True), (0x200, False)])
def test_of_a_copying_instruction_the_half_at_the_address_counts(address: int, reads: bool) -> None:
    copies = Access(reads=True, writes=True, size=4, source="rsi", destination="rdi")
    regs = Registers(rsi=0x100, rdi=0x200)

    narrowed = regs.narrowed(copies, address)

    assert (narrowed.reads, narrowed.writes) == (reads, not reads)
