"""The thirteen pitfalls of control, each with the program that would fall into it.

What the lab does about them is spread over its modules, and tested there in detail. Here stands
one proof for each, in the order in which docs and issues number them.
"""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from lab.detect import findings
from lab.finding import Kind
from lab.run.control.calls.others import PRIVATE
from lab.run.control.catalogue import MODELS, TRACED
from lab.trace import Action, Ending, Tally
from tests.run.control.conftest import Compile
from tests.run.control.controlled import completed, explore, order, outputs, run, steps


def forked(child: object) -> int:
    pid = os.fork()
    if not pid:
        child()  # type: ignore[operator]
        os._exit(0)
    return pid


def test_pitfall_1_objects_are_known_by_what_they_are_and_not_by_address() -> None:
    def body() -> None:
        with open("/tmp/object", "wb") as file:
            file.truncate(16384)

        def touch(before: int) -> None:
            descriptor = os.open("/tmp/object", os.O_RDWR)
            held = [mmap.mmap(-1, 4096 * before)] if before else []
            memory = mmap.mmap(descriptor, 8192, offset=4096)
            memory[5] += 1
            del held

        for child in [forked(lambda: touch(0)), forked(lambda: touch(7))]:
            os.waitpid(child, 0)

    trace = run(body)

    completed([trace])
    accesses = [event for event in trace.events if event.call in ("load", "store")]
    assert {(event.object, event.offset) for event in accesses} == {("file:/tmp/object", 4101)}
    assert {event.process for event in accesses} == {"P1", "P2"}


def test_pitfall_2_the_kernel_finds_guarded_pages_open() -> None:
    def body() -> None:
        memory = mmap.mmap(-1, 8192)
        os.waitpid(forked(lambda: memory.__setitem__(0, 1)), 0)
        reader, writer = os.pipe()
        os.write(writer, b"hello")
        assert os.readv(reader, [memoryview(memory)[4094:4099]]) == 5
        os.write(1, memory[4094:4099])

    traces = explore(body, 3)

    completed(traces)
    assert outputs(traces) == {"hello"}


def test_pitfall_3_a_task_that_would_block_takes_no_step() -> None:
    import posix_ipc

    def body() -> None:
        semaphore = posix_ipc.Semaphore("/held", posix_ipc.O_CREX)
        child = forked(semaphore.acquire)
        time.sleep(1)
        semaphore.release()
        os.waitpid(child, 0)
        semaphore.unlink()

    trace = run(body, order("P1", "P0"))

    completed([trace])
    released = steps(trace, Action.RELEASE)[0].step
    acquired = steps(trace, Action.ACQUIRE)
    assert [event.process for event in acquired] == ["P1"]
    assert acquired[0].step > released


def test_pitfall_3_the_interpreters_own_locks_are_no_objects() -> None:
    def body() -> None:
        threads = [threading.Thread(target=time.sleep, args=(1,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    trace = run(body)

    completed([trace])
    assert not steps(trace, Action.ACQUIRE, Action.RELEASE)


def test_pitfall_3_a_call_that_acts_before_it_blocks_is_entered() -> None:
    def body() -> None:
        os.mkfifo("/tmp/fifo")
        child = forked(lambda: os.open("/tmp/fifo", os.O_RDONLY))
        os.open("/tmp/fifo", os.O_WRONLY)
        os.waitpid(child, 0)

    completed(explore(body, 6))


def test_pitfall_4_all_of_time_is_virtual() -> None:
    def body() -> None:
        program = "import time; end = time.time() + 3600\nwhile time.time() < end: pass"
        subprocess.run([sys.executable, "-S", "-c", program], check=True)
        before = time.monotonic()
        time.sleep(86_400)
        assert 86_400 <= time.monotonic() - before < 86_401

    real = time.monotonic()
    traces = explore(body, 2, repeats=2)

    completed(traces)
    assert time.monotonic() - real < 100


def test_pitfall_5_a_value_may_be_seen_torn() -> None:
    def body() -> None:
        memory = mmap.mmap(-1, 4096)
        struct.pack_into("=Q", memory, 0, 5)
        child = forked(lambda: struct.pack_into("=Q", memory, 0, 5))
        os.write(1, b"%d" % struct.unpack_from("=Q", memory)[0])
        os.waitpid(child, 0)

    traces = explore(body, 25)

    completed(traces)
    assert outputs(traces) == {"5", "0"}


def test_pitfall_5_one_instruction_is_two_steps_unless_it_is_locked(compiled: Compile) -> None:
    source = r"""
    #include <stdio.h>
    #include <sys/mman.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        volatile int *number = mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        for (int child = 0; child < 2; child++)
            if (!fork()) { asm volatile(ADD : "+m"(*number)); _exit(0); }
        while (wait(0) > 0);
        printf("%d", *number);
        return 0;
    }
    """
    plain = explore(compiled(source, '-DADD="addl $1,%0"'), 12)
    locked = explore(compiled(source, '-DADD="lock addl $1,%0"'), 12)

    completed([*plain, *locked])
    assert (outputs(plain), outputs(locked)) == ({"1", "2"}, {"2"})


def test_pitfall_6_a_child_awaited_late_is_no_zombie_and_one_never_awaited_is() -> None:
    def patient() -> None:
        for child in [forked(lambda: None) for _ in range(2)]:
            os.waitpid(child, 0)

    def careless() -> None:
        forked(lambda: None)
        time.sleep(1)

    assert all(not findings(trace) for trace in explore(patient, 6))
    assert [finding.kind for finding in findings(run(careless))] == [Kind.ZOMBIE]


def test_pitfall_7_every_run_starts_from_the_same_state() -> None:
    def body() -> None:
        garbage: list[object] = [[] for _ in range(5)]
        garbage.append(garbage)
        words = {f"word{number}" for number in range(20)}
        identities = {object() for _ in range(20)}
        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.map(abs, [1])
        told = (gc.get_count(), os.getpid(), list(words)[:3], hex(id(garbage)), os.urandom(4))
        os.write(1, repr((told, [hex(id(each)) for each in identities][:3])).encode())

    traces = explore(body, 1, repeats=25)

    completed(traces)
    assert traces[0].output


def test_pitfall_8_what_is_not_a_plain_step_is_followed(compiled: Compile) -> None:
    source = r"""
    #include <errno.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdio.h>
    #include <sys/wait.h>
    #include <unistd.h>
    static void handler(int n) {}
    static void *thread(void *pipe) {
        char byte;
        return (void *)(read(*(int *)pipe, &byte, 1) < 0 ? (long)errno : 0L);
    }
    int main(int argc, char **argv) {
        if (argc > 1) return 4;
        int pipes[2], status;
        (void)!pipe(pipes);
        pid_t child = fork();
        if (!child) {
            struct sigaction action = {.sa_handler = handler};
            sigaction(SIGUSR1, &action, 0);
            pthread_t other;
            void *result;
            pthread_create(&other, 0, thread, pipes);
            pthread_join(other, &result);
            if (result && (long)result != EINTR) _exit(1);
            raise(SIGSTOP);
            execl("/proc/self/exe", "again", "again", (char *)0);
        }
        kill(child, SIGUSR1);
        (void)!write(pipes[1], "x", 1);
        waitpid(child, &status, WUNTRACED);
        if (WIFSTOPPED(status)) {
            kill(child, SIGCONT);
            waitpid(child, &status, 0);
            printf("%d", WEXITSTATUS(status));
        } else
            printf("signal %d", WTERMSIG(status));  // it came before there was a handler
        return 0;
    }
    """
    traces = explore(compiled(source), 12)

    completed(traces)
    assert outputs(traces) == {"4", f"signal {int(signal.SIGUSR1)}"}


def test_pitfall_9_a_task_that_spins_starves_nobody_and_is_bounded() -> None:
    def waits() -> None:
        memory = mmap.mmap(-1, 4096)
        child = forked(lambda: memory.__setitem__(0, 1))
        while not memory[0]:
            pass
        os.waitpid(child, 0)

    def spins() -> None:
        memory = mmap.mmap(-1, 4096)
        forked(signal.pause)
        while not memory[0]:
            pass

    completed(explore(waits, 4))
    assert run(spins, max_steps=500).ending is Ending.ENDLESS


def test_pitfall_10_threads_run_one_at_a_time_and_their_time_limits_last(compiled: Compile) -> None:
    source = r"""
    #include <pthread.h>
    #include <stdio.h>
    #include <sys/mman.h>
    #include <sys/wait.h>
    #include <unistd.h>
    static volatile int *number;
    static void *work(void *_) { for (int i = 0; i < 5; i++) ++*number; return 0; }
    int main(void) {
        number = mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        for (int child = 0; child < 2; child++)
            if (!fork()) {
                pthread_t other;
                pthread_create(&other, 0, work, 0);
                work(0);
                pthread_join(other, 0);
                _exit(0);
            }
        while (wait(0) > 0);
        printf("%d", *number);
        return 0;
    }
    """
    traces = explore(compiled(source), 6)

    completed(traces)
    writers = {event.process for event in steps(traces[1], Action.WRITE, of="shared-memory")}
    assert writers == {"P1", "P1.2", "P2", "P2.2"}
    assert any(int(text) < 20 for text in outputs(traces))


def test_pitfall_11_a_service_outside_runs_free_and_its_clients_wait_for_it() -> None:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()

    def serve() -> None:
        for _ in range(4):
            connection, _ = server.accept()
            with connection:
                time.sleep(0.02)
                connection.sendall(connection.recv(10).upper())

    thread = threading.Thread(target=serve)
    thread.start()
    address = server.getsockname()

    def body() -> None:
        def ask() -> None:
            with socket.create_connection(address) as client:
                client.sendall(b"hello")
                assert client.recv(10) == b"HELLO"

        for child in [forked(ask) for _ in range(2)]:
            assert os.waitpid(child, 0)[1] == 0

    trace = run(body)  # twice, so there are four clients

    thread.join()
    server.close()
    completed([trace])


def test_pitfall_12_what_is_not_known_depends_on_everything(compiled: Compile) -> None:
    source = r"""
    #include <errno.h>
    #include <stdio.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    int main(void) {
        printf("%d", syscall(1000) < 0 && errno == ENOSYS);
        printf("%d", syscall(SYS_mount, 0, 0, 0, 0, 0) < 0);
        return 0;
    }
    """
    trace = run(compiled(source))

    completed([trace])
    assert trace.output == "11"
    unknown = [(event.action, event.object) for event in trace.events if event.action == "call"]
    assert unknown == [(Action.CALL, "")] * 2
    assert frozenset(MODELS) - TRACED == {"mmap", "munmap", "mprotect", "mremap", "fcntl"}
    assert not PRIVATE & frozenset(MODELS)


UNSEEN = {
    "io_uring_setup": "SYS_io_uring_setup,1,0",
    "io_setup": "SYS_io_setup,1,0",
    "userfaultfd": "SYS_userfaultfd,0",
    "process_vm_writev": "SYS_process_vm_writev,getpid(),0,0,0,0,0",
}


@pytest.mark.parametrize(("name", "arguments"), UNSEEN.items(), ids=UNSEEN)
def test_pitfall_12_what_happens_unseen_makes_the_run_an_error(
    compiled: Compile, name: str, arguments: str
) -> None:
    source = f"""
    #define _GNU_SOURCE
    #include <sys/syscall.h>
    #include <unistd.h>
    int main(void) {{ return syscall({arguments}) < 0; }}
    """
    trace = run(compiled(source))

    assert trace.ending is Ending.BROKEN
    assert re.search(rf"\bP0 calls {name}: ", trace.trouble)


def test_pitfall_13_what_the_lab_started_ends_with_it() -> None:
    """Forty moments are tried in the controller's tests; this is the one in plain words."""
    import psutil

    from lab.run.control import in_controller
    from lab.run.root import Function

    def body() -> Tally:
        forked(signal.pause)
        signal.pause()
        return Tally(0, 0)

    lab = os.fork()
    if not lab:
        os.setsid()
        in_controller(
            lambda runner, _: runner.run(lambda p: p.default, max_steps=9), Function("b", body)
        )
        while True:
            signal.pause()
    time.sleep(0.3)
    os.kill(lab, signal.SIGKILL)
    os.waitpid(lab, 0)

    end = time.monotonic() + 20
    while psutil.Process().children(recursive=True) and time.monotonic() < end:
        for child in psutil.Process().children():
            if child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, 0)
    assert psutil.Process().children(recursive=True) == []
