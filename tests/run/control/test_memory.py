"""Shared memory under guard: every way to map it, and every way to reach it."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from lab.trace import Action, Ending, Tally
from tests.run.control.conftest import Compile
from tests.run.control.controlled import (
    completed,
    endings,
    explore,
    order,
    outputs,
    run,
    steps,
    switch,
)

HEAD = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#define PAGE 4096
static volatile char *shared(size_t size) {
    return mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}
static int all_well(void) {
    int status, bad = 0;
    while (wait(&status) > 0) bad |= status;
    return bad != 0;
}
"""


ARRAY: Any = multiprocessing.get_context("fork").RawArray("b", 8)
"""Made here, for multiprocessing keeps the descriptor behind it open for good."""


def forked(child: object) -> int:
    pid = os.fork()
    if not pid:
        child()  # type: ignore[operator]
        os._exit(0)
    return pid


def test_a_value_written_in_two_steps_is_seen_torn() -> None:
    def body() -> None:
        memory = mmap.mmap(-1, 4096)
        struct.pack_into("=Q", memory, 0, 0x1111111111111111)
        child = forked(lambda: struct.pack_into("=Q", memory, 0, 0x2222222222222222))
        os.write(1, memory[:8].hex().encode())
        os.waitpid(child, 0)

    traces = explore(body, 30)

    completed(traces)
    # pack_into clears its place first, so there is a third value that nobody wrote.
    assert outputs(traces) == {"11" * 8, "22" * 8, "00" * 8}


def test_a_long_copy_is_followed_piece_by_piece() -> None:
    def body() -> None:
        memory = mmap.mmap(-1, 8192)
        child = forked(lambda: memory.write(b"x" * 8192))
        os.waitpid(child, 0)
        assert memory[:] == b"x" * 8192

    traces = explore(body, 2)

    completed(traces)
    written = [e for e in steps(traces[0], Action.WRITE, of="shared-memory") if e.process == "P1"]
    assert sum(event.size for event in written) >= 8192


def test_memory_of_one_process_is_not_guarded_until_a_second_one_comes() -> None:
    def body() -> None:
        memory = mmap.mmap(-1, 4096)
        for number in range(10):
            memory[number] = number
        child = forked(lambda: memory.__setitem__(0, 7))
        os.waitpid(child, 0)
        assert memory[0] == 7

    trace = run(body)

    completed([trace])
    accesses = steps(trace, Action.READ, Action.WRITE, of="shared-memory")
    assert [(event.process, event.call) for event in accesses] == [("P1", "store"), ("P0", "load")]
    assert (accesses[0].before, accesses[0].after, accesses[1].before) == (b"\0", b"\7", b"\7")


def test_two_mappings_of_one_file_are_one_object() -> None:
    def body() -> None:
        with open("/tmp/mapped", "wb") as file:
            file.truncate(4096)

        def add() -> None:
            with open("/tmp/mapped", "r+b") as file:
                memory = mmap.mmap(file.fileno(), 4096)
                memory[100] += 1

        children = [forked(add) for _ in range(2)]
        for child in children:
            os.waitpid(child, 0)
        os.write(1, str(Path("/tmp/mapped").read_bytes()[100]).encode())

    torn = switch("P1", lambda step: step.action is Action.READ and step.offset == 100, "P2")
    traces = [*explore(body, 4), run(body, torn)]

    completed(traces)
    assert outputs(traces) == {"1", "2"}
    places = {
        (e.object, e.offset)
        for e in steps(traces[0], of="file:/tmp/mapped")
        if e.call in ("load", "store")
    }
    assert places == {("file:/tmp/mapped", 100)}


def test_a_mapping_sees_what_is_written_to_its_file() -> None:
    def body() -> None:
        file = os.open("/tmp/mapped", os.O_CREAT | os.O_RDWR)
        os.ftruncate(file, 4096)
        memory = mmap.mmap(file, 4096)
        child = forked(lambda: os.pwrite(file, b"x", 0))
        os.write(1, memory[:1].replace(b"\0", b"-"))
        os.waitpid(child, 0)

    traces = [run(body, order("P1", "P0")), run(body, order("P0", "P1"))]

    completed(traces)
    assert [trace.output for trace in traces] == ["x", "-"]


def test_the_kernel_reads_into_guarded_memory_and_writes_from_it() -> None:
    def body() -> None:
        memory = mmap.mmap(-1, 8192)
        reader, writer = os.pipe()
        child = forked(lambda: os.waitpid(forked(lambda: None), 0))
        os.write(writer, b"abcdef")
        assert os.readv(reader, [memoryview(memory)[4094:4096], memoryview(memory)[4096:4100]]) == 6
        assert memory[4094:4100] == b"abcdef"
        os.writev(1, [memoryview(memory)[4094:4097], memoryview(memory)[4097:4100]])
        file = os.memfd_create("plain")
        os.pwrite(file, b"xyz", 0)
        assert os.preadv(file, [memoryview(memory)[:3]], 0) == 3
        assert memory[:3] == b"xyz"
        os.waitpid(child, 0)

    traces = explore(body, 4)

    completed(traces)
    assert outputs(traces) == {"abcdef"}
    (read,) = [event for event in traces[0].events if event.call == "readv"]
    assert (read.object, read.also) == ("pipe:1", ("shared-memory:1",))


KERNEL = {
    "getrandom": "getrandom((void*)memory,8,0)==8",
    "read from a device": 'read(open("/dev/zero",0),(void*)memory,8)==8',
    "pipe": "pipe((int*)memory)==0",
    "stat": 'syscall(4,"/",memory)==0',
    "getcwd": "getcwd((char*)memory,100)!=0",
    "clock_gettime": "syscall(228,0,memory)==0",
    "write to standard output": "write(1,(void*)memory,0)==0",
    "a path": '(strcpy((char*)memory,"/"),access((char*)memory,0)==0)',
    "wait status": "waitpid(child=fork()?:(_exit(0),0),(int*)memory,0)==child",
    "mincore": "mincore((void*)memory,PAGE,(void*)memory+8)==0",
    "uname": "syscall(63,memory)==0",
}


@pytest.mark.parametrize("expression", KERNEL.values(), ids=KERNEL)
def test_a_call_that_is_handed_guarded_memory_finds_it_open(
    compiled: Compile, expression: str
) -> None:
    source = (
        HEAD
        + f"""
    int main(void) {{
        volatile char *memory = shared(PAGE);
        pid_t child = fork();
        if (!child) {{ memory[0] = 1; _exit(0); }}
        int well = {expression};
        memory[1] = 2;
        while (wait(0) > 0);
        return !well;
    }}
    """
    )
    traces = explore(compiled(source), 2, repeats=3)

    completed(traces)
    assert [e for e in steps(traces[0], Action.WRITE, of="shared-memory") if e.offset == 1]


def test_bad_pointers_fail_as_they_do_without_the_lab(compiled: Compile) -> None:
    source = (
        HEAD
        + r"""
    int main(void) {
        struct timespec now;
        int bad = 0;
        volatile char *memory = shared(PAGE);
        if (!fork()) { memory[0] = 1; _exit(0); }
        bad |= !(syscall(228, 0, 8) < 0 && errno == EFAULT);          // clock_gettime
        bad |= !(syscall(35, 8, 0) < 0 && errno == EFAULT) << 1;      // nanosleep
        bad |= !(syscall(318, 8, 8, 0) < 0 && errno == EFAULT) << 2;  // getrandom
        bad |= !(syscall(7, 8, 1, 0) < 0 && errno == EFAULT) << 3;    // poll
        bad |= !(syscall(202, 8, 0, 0, 0) < 0 && errno == EFAULT) << 4;  // futex
        bad |= !(syscall(13, 10, 8, 0, 8) < 0 && errno == EFAULT) << 5;  // rt_sigaction
        (void)now;
        while (wait(0) > 0);
        if (bad) printf("%x\n", bad);
        return bad;
    }
    """
    )
    completed(explore(compiled(source), 2, repeats=3))


def test_an_access_across_two_pages(compiled: Compile) -> None:
    source = (
        HEAD
        + r"""
    int main(void) {
        volatile char *memory = shared(2 * PAGE);
        volatile uint64_t *across = (void *)(memory + PAGE - 4);
        if (!fork()) { *across = 0x1111111122222222; _exit(0); }
        wait(0);
        *across += 1;
        printf("%lx\n", *across);
        return 0;
    }
    """
    )
    traces = explore(compiled(source), 3)

    completed(traces)
    assert outputs(traces) == {"1111111122222223\n"}


def test_a_copy_from_one_object_to_another_touches_both(compiled: Compile) -> None:
    source = (
        HEAD
        + r"""
    int main(void) {
        volatile char *from = shared(PAGE), *to = shared(PAGE);
        if (!fork()) { from[0] = 'x'; _exit(0); }
        wait(0);
        asm volatile("rep movsb" : "+S"(from), "+D"(to), "+c"((long){100}) : : "memory");
        printf("%c\n", to[-100]);
        return 0;
    }
    """.replace('"+c"((long){100})', '"+c"(count)').replace(
            "wait(0);\n        asm", "wait(0);\n        long count = 100;\n        asm"
        )
    )
    traces = explore(compiled(source), 3)

    completed(traces)
    assert outputs(traces) == {"x\n"}
    touched = {event.object for event in traces[0].events if event.process == "P0"}
    assert {"shared-memory:1", "shared-memory:2"} <= touched


def test_memory_of_dev_zero_and_of_memfd_is_shared_memory_too(compiled: Compile) -> None:
    source = (
        HEAD
        + r"""
    int main(void) {
        int zero = open("/dev/zero", O_RDWR), made = memfd_create("made", 0);
        (void)!ftruncate(made, PAGE);
        volatile char *one = mmap(0, PAGE, 3, MAP_SHARED, zero, 0);
        volatile char *two = mmap(0, PAGE, 3, MAP_SHARED, made, 0);
        if (!fork()) { one[0]++; two[0]++; (void)!pwrite(made, "x", 1, 1); _exit(0); }
        one[0]++; two[0]++;
        int bad = all_well();
        printf("%d %d %c\n", one[0], two[0], two[1]);
        return bad;
    }
    """
    )
    traces = explore(compiled(source), 14)

    completed(traces)
    assert {text.split()[2] for text in outputs(traces)} == {"x"}
    assert {text.split()[0] for text in outputs(traces)} == {"1", "2"}
    objects = {event.object for event in traces[0].events if event.call == "store"}
    assert objects == {"shared-memory:1", "memfd:made"}
    assert [
        event.call
        for event in steps(traces[0], Action.WRITE, of="memfd:made")
        if event.call != "store"
    ]


@pytest.mark.parametrize("kind", ["mmap", "multiprocessing", "file"])
def test_memory_that_was_mapped_before_the_run_began_is_guarded_too(
    tmp_path: Path, kind: str
) -> None:
    if kind == "mmap":
        memory: Any = mmap.mmap(-1, 4096)
    elif kind == "multiprocessing":
        memory = ARRAY
        memory[0] = 0
    else:
        (tmp_path / "file").write_bytes(bytes(4096))
        with (tmp_path / "file").open("r+b") as file:
            memory = mmap.mmap(file.fileno(), 4096)

    def body() -> Tally:
        assert memory[0] == 0

        def add() -> None:
            memory[0] += 1

        for child in [forked(add) for _ in range(2)]:
            os.waitpid(child, 0)
        os.write(1, memoryview(memory)[1:2])
        return Tally(2, memory[0])

    traces = explore(body, 12)

    completed(traces)
    assert {trace.tally for trace in traces} == {Tally(2, 1), Tally(2, 2)}
    assert memory[0] == 0


def test_private_memory_and_read_only_libraries_cost_no_step() -> None:
    def body() -> None:
        private = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        private[0] = 1
        child = forked(lambda: private.__setitem__(0, 2))
        os.waitpid(child, 0)
        assert private[0] == 1

    trace = run(body)

    assert endings([trace]) == {Ending.COMPLETED}
    assert not steps(trace, Action.READ, Action.WRITE, Action.UPDATE, of="shared-memory")


def test_a_hundred_repetitions_are_one_run() -> None:
    def body() -> Tally:
        memory = mmap.mmap(-1, 4096)

        def add() -> None:
            for _ in range(3):
                memory[0] += 1

        for child in [forked(add) for _ in range(3)]:
            os.waitpid(child, 0)
        return Tally(9, memory[0])

    traces = explore(body, 2, repeats=100)

    completed(traces)
    assert traces[1].tally != Tally(9, 9)
