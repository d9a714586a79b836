from __future__ import annotations

import ctypes
import json
import os
import struct
import subprocess
import sys
import time

import pytest

from lab.kernel.arch import NUMBERS, vdso
from lab.kernel.elf import ELFError, vdso_functions

CALLS = ["clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu", "getrandom"]

# Calls every function of its vDSO before and after a filter lets the real system calls fail, in
# itself and in a child. It is patched, or not, while it waits for a line.
CHILD = r"""
import ctypes, json, os, sys, time
from lab.kernel import seccomp
from lab.kernel.elf import vdso_functions
from lab.kernel.arch import NUMBERS, vdso

start, end = vdso.find(os.getpid())
with open("/proc/self/mem", "rb") as memory:
    memory.seek(start)
    functions = vdso_functions(memory.read(end - start))
buffers = [ctypes.create_string_buffer(64) for _ in range(2)]
first, second = (ctypes.addressof(buffer) for buffer in buffers)
ARGUMENTS = {
    "clock_gettime": (1, first),
    "gettimeofday": (first, 0),
    "time": (0,),
    "clock_getres": (1, first),
    "getcpu": (first, second, 0),
    "getrandom": (first, 16, 0, 0, 0),
}
WORDS = [ctypes.c_long] * 5

def results():
    found = {}
    for call, arguments in ARGUMENTS.items():
        if "__vdso_" + call in functions:
            address = start + functions["__vdso_" + call].offset
            function = ctypes.CFUNCTYPE(ctypes.c_long, *WORDS[:len(arguments)])(address)
            found[call] = function(*arguments)
    try:
        found["monotonic"] = time.monotonic()
    except OSError as error:
        found["monotonic"] = -error.errno
    if "__vdso_getrandom" in functions:
        address = start + functions["__vdso_getrandom"].offset
        found["layout"] = ctypes.CFUNCTYPE(ctypes.c_long, *WORDS)(address)(0, 0, 0, first, -1)
    return found

print("ready", flush=True)
sys.stdin.readline()
free = results()
traced = frozenset(NUMBERS[call] for call in ARGUMENTS)
seccomp.install(seccomp.assemble(seccomp.Rules(traced, 4096, 8192, 1 << 14)))
refused = results()
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, json.dumps(results()).encode())
    os._exit(0)
os.wait()
print(json.dumps([free, refused, json.loads(os.read(read, 10_000))]), flush=True)
os._exit(0)
"""
ENOSYS = 38


def _image(pid: int | str, place: tuple[int, int]) -> bytes:
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(place[0])
        return memory.read(place[1] - place[0])


def _own_image() -> bytes:
    place = vdso.find(os.getpid())
    if place is None:
        pytest.skip("this kernel maps no vDSO, so every clock is a system call already")
    return _image("self", place)


def _patch(pid: int) -> None:
    """Do it as the lab does: attached and stopped, through the memory file."""
    libc = ctypes.CDLL(None, use_errno=True)
    attach, detach = 16, 17
    if libc.ptrace(attach, pid, None, None) < 0:
        pytest.skip(f"ptrace is refused here: {os.strerror(ctypes.get_errno())}")
    os.waitpid(pid, 0)
    place = vdso.find(pid)
    assert place is not None
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        for patch in vdso.patches(_image(pid, place)):
            memory.seek(place[0] + patch.offset)
            memory.write(patch.code)
    assert libc.ptrace(detach, pid, None, None) == 0


def _results(*, patched: bool) -> list[dict[str, float]]:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "ready\n"
            if patched:
                _patch(child.pid)
            output, _ = child.communicate("\n")
        finally:
            child.kill()
    found: list[dict[str, float]] = json.loads(output)
    return found


def test_a_patched_vdso_makes_real_system_calls_that_work() -> None:
    before = time.monotonic()
    _own_image()

    free, _, _ = _results(patched=True)

    assert before <= free.pop("monotonic") <= time.monotonic()
    assert abs(free.pop("time") - time.time()) < 3600
    assert free.pop("getrandom", 16) == 16
    assert free.pop("layout", -ENOSYS) == -ENOSYS
    assert free == dict.fromkeys(["clock_gettime", "gettimeofday", "clock_getres", "getcpu"], 0)


def test_a_patched_vdso_is_at_the_mercy_of_the_tracer_in_children_too() -> None:
    _own_image()

    _, refused, child = _results(patched=True)

    assert set(refused.values()) == {-ENOSYS}
    assert set(refused) >= {"clock_gettime", "gettimeofday", "time", "monotonic"}
    assert child == refused


def test_an_unpatched_vdso_is_beyond_the_tracer() -> None:
    _own_image()

    _, free, child = _results(patched=False)

    assert free["monotonic"] > 0
    assert child["clock_gettime"] == 0


def test_patching_a_process_leaves_the_others_alone() -> None:
    before = _own_image()

    _results(patched=True)

    assert _own_image() == before
    assert time.monotonic() > 0


def test_every_function_that_is_known_is_patched_within_its_bounds() -> None:
    image = _own_image()
    functions = vdso_functions(image)
    known = {functions[f"__vdso_{call}"] for call in CALLS if f"__vdso_{call}" in functions}

    patches = vdso.patches(image)

    assert {patch.offset for patch in patches} == {function.offset for function in known}
    for patch in patches:
        assert len(patch.code) <= dict(known)[patch.offset]


def test_the_landing_mark_of_indirect_calls_is_kept() -> None:
    image = bytearray(_own_image())
    place = vdso_functions(bytes(image))["__vdso_clock_gettime"].offset
    call = b"\xb8" + NUMBERS["clock_gettime"].to_bytes(4, "little") + b"\x0f\x05\xc3"

    for start, code in [
        (b"\x55\x48\x89\xe5", call),
        (b"\xf3\x0f\x1e\xfa", b"\xf3\x0f\x1e\xfa" + call),
    ]:
        image[place : place + 4] = start
        assert vdso.Patch(place, code) in vdso.patches(bytes(image))


def test_a_function_without_room_is_refused_with_what_to_do() -> None:
    image = _own_image()
    size = vdso_functions(image)["__vdso_time"].size
    tight = image.replace(struct.pack("<Q", size), struct.pack("<Q", 7))

    with pytest.raises(ELFError, match=r"time has 7 bytes and its replacement .*vdso=0"):
        vdso.patches(tight)


def test_a_process_that_is_gone_has_no_vdso() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()

    assert vdso.find(gone.pid) is None
