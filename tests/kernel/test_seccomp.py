from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lab.kernel.arch import NUMBERS
from lab.kernel.seccomp import AUDIT_ARCH_X86_64, RET_ALLOW, RET_TRACE, Rules, assemble

FREE = range(0x7000_1234_5000, 0x7000_1234_7000)
WINDOW = 0x6A00_0000_0000
GIB = 1 << 30


def _rules(traced: frozenset[int]) -> Rules:
    return Rules(traced, free_start=FREE[0], free_end=FREE[-1] + 1, window_high=WINDOW >> 32)


@dataclass(frozen=True)
class Call:
    """struct seccomp_data."""

    number: int
    arguments: tuple[int, ...] = (0,) * 6
    pointer: int = 0x5555_0000_1000
    arch: int = AUDIT_ARCH_X86_64

    def packed(self) -> bytes:
        return struct.pack("<IIQ6Q", self.number, self.arch, self.pointer, *self.arguments)


def _run(program: bytes, call: Call, at_most: int = 4096) -> int:
    """What the kernel would do: an interpreter of the instructions that filters are made of."""
    data, accumulator, place = call.packed(), 0, 0
    steps = list(struct.iter_unpack("=HBBI", program))
    for _ in range(at_most):
        code, yes, no, operand = steps[place]
        place += 1
        match code:
            case 0x20:  # BPF_LD | BPF_W | BPF_ABS
                assert operand % 4 == 0, "the kernel refuses the filter"
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x14:  # BPF_ALU | BPF_SUB | BPF_K
                accumulator = (accumulator - operand) & 0xFFFFFFFF
            case 0x05:  # BPF_JMP | BPF_JA
                place += operand
            case 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
                place += yes if accumulator == operand else no
            case 0x35:  # BPF_JMP | BPF_JGE | BPF_K
                place += yes if accumulator >= operand else no
            case 0x45:  # BPF_JMP | BPF_JSET | BPF_K
                place += yes if accumulator & operand else no
            case 0x06:  # BPF_RET | BPF_K
                return int(operand)
            case _:
                pytest.fail(f"instruction {code:#x} is none that the filter needs")
    pytest.fail(f"{call} took more than {at_most} instructions")


def _stops(rules: Rules, call: Call) -> bool:
    """The rules in plain words."""
    number, arguments = call.number, call.arguments
    if call.arch != AUDIT_ARCH_X86_64 or number & 0x4000_0000:
        return True
    if call.pointer in FREE:
        return False
    if number in rules.traced or number == NUMBERS["futex"]:
        return True
    if number == NUMBERS["mmap"]:
        of_a_file = arguments[4] & 0xFFFFFFFF != 0xFFFFFFFF and not arguments[3] & 0x820
        if arguments[3] & 1 or arguments[2] & 4 or of_a_file:
            return True
    if number == NUMBERS["fcntl"] and arguments[1] & 0xFFFFFFFF in (5, 6, 7, 36, 37, 38):
        return True
    return any(WINDOW <= argument < WINDOW + 64 * GIB for argument in arguments)


EDGES = [WINDOW - 1, WINDOW, WINDOW + 64 * GIB - 1, WINDOW + 64 * GIB, 2**64 - 1]
EDGES += [
    *range(8),
    36,
    37,
    38,
    0x20,
    0x800,
    0xFFFFFFFF,
    (7 << 32) | 3,
    0x1_0000_0006,
    WINDOW >> 32,
]
_ARGUMENT = st.one_of(
    st.sampled_from(EDGES), st.integers(0, 2**64 - 1), st.integers(WINDOW, WINDOW + 64 * GIB)
)
_POINTER = st.one_of(
    st.sampled_from([FREE[0] - 1, FREE[0], FREE[-1], FREE[-1] + 1]),
    st.sampled_from([FREE[0] + (1 << 32), FREE[0] - (1 << 32)]),
    st.integers(0, 2**64 - 1),
)
_SPECIAL = [NUMBERS[name] for name in ("mmap", "futex", "fcntl")]
_NUMBER = st.one_of(
    st.sampled_from(_SPECIAL),
    st.integers(0, 470),
    st.sampled_from([0xFFFFFFFF, 0x4000_0001, 0x8000_0000]),
)
_CALL = st.builds(
    Call,
    number=_NUMBER,
    arguments=st.tuples(*[_ARGUMENT] * 6),
    pointer=_POINTER,
    arch=st.sampled_from([AUDIT_ARCH_X86_64] * 9 + [0x40000003]),
)
_TRACED = st.frozensets(st.one_of(st.sampled_from(_SPECIAL), st.integers(0, 470)), max_size=60)


@settings(deadline=None)
@given(traced=_TRACED, calls=st.lists(_CALL, min_size=1, max_size=20))
@example(traced=frozenset(range(0, 3000, 2)), calls=[Call(number) for number in range(0, 3000, 7)])
def test_a_call_stops_exactly_when_a_rule_says_so(
    traced: frozenset[int], calls: list[Call]
) -> None:
    rules = _rules(traced)
    program = assemble(rules)

    for call in calls:
        assert _run(program, call) == (RET_TRACE if _stops(rules, call) else RET_ALLOW), call


def test_every_number_is_told_from_its_neighbours() -> None:
    rules = _rules(frozenset(range(1, 470, 3)))
    program = assemble(rules)

    for number in range(480):
        call = Call(number)
        assert (_run(program, call) == RET_TRACE) == _stops(rules, call), number


def test_a_hundred_traced_calls_are_told_apart_in_a_few_steps() -> None:
    program = assemble(_rules(frozenset(range(0, 300, 3))))

    for number in range(300):
        # 9 until the number is known, 8 comparisons and an island, 18 for the arguments.
        _run(program, Call(number, pointer=FREE[0] ^ 0x8000_0000), at_most=40)


def test_more_rules_than_a_filter_has_room_for_are_refused() -> None:
    with pytest.raises(ValueError, match=r"instructions and the kernel takes 4096: trace fewer"):
        assemble(_rules(frozenset(range(0, 6000, 2))))


def test_code_that_halves_of_an_address_cannot_tell_is_refused() -> None:
    with pytest.raises(ValueError, match=r"crosses a multiple of 4 GiB.*map it elsewhere"):
        Rules(frozenset(), free_start=0xFFFF_F000, free_end=0x1_0000_1000, window_high=1)


# Runs in an interpreter of its own: a filter is for good. Every value is what a call came to: 0, or
# the number of its error.
CHILD = r"""
import ctypes, fcntl, json, mmap, os, sys, tempfile
from lab.kernel.seccomp import Rules, assemble, install
from lab.kernel.arch import NUMBERS

window, place = int(sys.argv[1]), int(sys.argv[2])
if sys.argv[3] == "unprivileged" and os.geteuid() == 0:
    os.setuid(65534)
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.syscall.argtypes = [ctypes.c_long] * 5

# sched_yield, from a page of one's own: mov eax, imm32; syscall; ret
code = b"\xb8" + NUMBERS["sched_yield"].to_bytes(4, "little") + b"\x0f\x05\xc3"
MAP_FIXED_NOREPLACE = 0x100000
assert libc.mmap(place, 8192, 7, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                 -1, 0) == place
ctypes.memmove(place, code, len(code))
lent = ctypes.CFUNCTYPE(ctypes.c_long)(place)

def result(call, *arguments, **keywords):
    try:
        call(*arguments, **keywords)
    except OSError as error:
        return error.errno
    return 0

def raw(*arguments):
    ctypes.set_errno(0)
    libc.syscall(*arguments, *[0] * (5 - len(arguments)))
    return ctypes.get_errno()

file = tempfile.TemporaryFile()
null = os.open("/dev/null", os.O_WRONLY)
install(assemble(Rules(frozenset({NUMBERS["sched_yield"]}), place, place + 8192, window >> 32)))
found = {
    "traced": result(os.sched_yield),
    "traced, from lent code": lent(),
    "not traced": result(os.getpid),
    "shared mapping": result(mmap.mmap, -1, 4096, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS),
    "private mapping": result(mmap.mmap, -1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS),
    "private code": result(mmap.mmap, -1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
                           prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "file lock": result(fcntl.lockf, file, fcntl.LOCK_EX),
    "file flags": result(fcntl.fcntl, file, fcntl.F_GETFL),
    "futex": raw(NUMBERS["futex"], id(file), 129, 0),
    "pointer into the window": raw(NUMBERS["write"], null, window + (63 << 30), 1),
    "pointer past the window": raw(NUMBERS["write"], null, window + (64 << 30), 1),
    "NoNewPrivs": int(open("/proc/self/status").read().split("NoNewPrivs:")[1].split()[0]),
}
print(json.dumps(found))
sys.stdout.flush()
os._exit(0)  # an ordinary exit wakes nobody, but may ask for a traced call on the way
"""
ENOSYS = 38


@pytest.mark.parametrize("user", ["privileged", "unprivileged"])
def test_without_a_tracer_the_calls_that_would_stop_fail_and_others_work(user: str) -> None:
    privileged = user == "privileged"
    if privileged and os.geteuid() != 0:
        pytest.skip("only root may install a filter and keep set-user-ID programs working")
    command = [sys.executable, "-c", CHILD, str(WINDOW), str(FREE[0]), user]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "traced": ENOSYS,
        "traced, from lent code": 0,
        "not traced": 0,
        "shared mapping": ENOSYS,
        "private mapping": 0,
        "private code": ENOSYS,
        "file lock": ENOSYS,
        "file flags": 0,
        "futex": ENOSYS,
        "pointer into the window": ENOSYS,
        # /dev/null never looks at what is written to it.
        "pointer past the window": 0,
        "NoNewPrivs": 0 if privileged else 1,
    }
