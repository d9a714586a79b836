"""Signals: when they arrive, what they break, and what a wait does afterwards."""

from __future__ import annotations

import os
import select
import signal
import time

import pytest

from lab.detect import findings
from lab.trace import Action, Ending
from tests.run.control.conftest import Compile
from tests.run.control.controlled import (
    completed,
    endings,
    explore,
    order,
    outputs,
    run,
    steps,
)


def child_of(body: object) -> int:
    """Fork a child that runs a function and ends."""
    pid = os.fork()
    if not pid:
        body()  # type: ignore[operator]
        os._exit(0)
    return pid


def test_a_signal_between_the_check_and_the_pause_is_slept_through() -> None:
    def body() -> None:
        got: list[int] = []
        signal.signal(signal.SIGUSR1, lambda *_: got.append(1))

        def waiter() -> None:
            if not got:
                signal.pause()

        child = child_of(waiter)
        os.kill(child, signal.SIGUSR1)
        os.waitpid(child, 0)

    traces = explore(body, 12)

    assert endings(traces) == {Ending.COMPLETED, Ending.STUCK}
    stuck = next(trace for trace in traces if trace.ending is Ending.STUCK)
    assert ("P1", "pause", "a signal") in [(b.process, b.call, b.waits_for) for b in stuck.blocked]


def test_sigsuspend_lets_in_what_was_blocked_and_misses_nothing(compiled: Compile) -> None:
    source = r"""
    #include <signal.h>
    #include <sys/wait.h>
    #include <unistd.h>
    static volatile int got;
    static void handler(int n) { got = 1; }
    int main(void) {
        sigset_t block, before;
        signal(SIGUSR1, handler);
        sigemptyset(&block);
        sigaddset(&block, SIGUSR1);
        sigprocmask(SIG_BLOCK, &block, &before);
        pid_t child = fork();
        if (!child) {
            while (!got) sigsuspend(&before);
            _exit(0);
        }
        kill(child, SIGUSR1);
        return wait(0) < 0;
    }
    """
    completed(explore(compiled(source), 12))


RESTART = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static void handler(int n) { (void)!write(1, "h", 1); }
int main(void) {
    int pipes[2], status;
    sem_t *semaphore = mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sem_init(semaphore, 1, 0);
    (void)!pipe(pipes);
    struct sigaction action = {.sa_handler = handler, .sa_flags = FLAGS};
    sigaction(SIGUSR1, &action, 0);
    pid_t child = fork();
    if (!child) {
        char byte;
        struct timespec second = {1, 0}, left = {0, 0};
        int result = CALL;
        printf("%s", result < 0 ? strerror(errno) : "done");
        fflush(stdout);
        _exit(0);
    }
    usleep(1000);
    kill(child, SIGUSR1);
    usleep(1000);
    (void)!write(pipes[1], "x", 1);
    sem_post(semaphore);
    waitpid(child, &status, 0);
    return status;
}
"""
WAITS = {
    "a read": ("read(pipes[0],&byte,1)", True),
    "a semaphore": ("sem_wait(semaphore)", True),
    "a semaphore with a time limit": ("sem_timedwait(semaphore,&second)", None),
    "a sleep": ("nanosleep(&second,&left)", False),
    "a child": ("waitpid(-1,&status,0)", None),
}


@pytest.mark.parametrize("restart", [True, False], ids=["SA_RESTART", "no flag"])
@pytest.mark.parametrize("wait", ["a read", "a semaphore", "a sleep"])
def test_after_a_handler_goes_on_or_returns_eintr_as_the_kernel_would(
    compiled: Compile, wait: str, *, restart: bool
) -> None:
    call, can_restart = WAITS[wait]
    program = compiled(RESTART, f"-DCALL={call}", f"-DFLAGS={'SA_RESTART' if restart else '0'}")

    # The child gets to its wait first: then the signal breaks it.
    trace = run(program, order("P1", "P0"))
    others = explore(program, 6)

    completed([trace, *others])
    goes_on = restart and can_restart
    # A sleep is never over before somebody else can move, so it alone may have ended by itself.
    expected = {"hdone"} if goes_on else {"hInterrupted system call"}
    if wait != "a sleep":
        assert {trace.output} == expected
    assert outputs(others) <= {"hdone", "hInterrupted system call", "doneh", "done"}


def test_a_sleep_that_a_handler_breaks_tells_what_was_left() -> None:
    def body() -> None:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.alarm(1)
        before = time.monotonic()
        time.sleep(10)  # Python goes on sleeping for the rest
        assert 10 <= time.monotonic() - before < 10.1

    completed(explore(body, 2))


class AlarmError(Exception):
    """Raised in a handler."""


def ring(*_: object) -> None:
    raise AlarmError


@pytest.mark.parametrize(
    "wait",
    [
        lambda: time.sleep(100),
        signal.pause,
        lambda: os.read(os.pipe()[0], 1),
        lambda: select.select([], [], [], 100),
        lambda: select.select([os.pipe()[0]], [], []),
        lambda: signal.sigtimedwait({signal.SIGUSR1}, 100),
        lambda: os.waitpid(-1, 0),
    ],
    ids=["sleep", "pause", "read", "select", "select on a pipe", "sigtimedwait", "wait"],
)
def test_an_alarm_ends_a_wait_at_its_virtual_time(wait: object) -> None:
    def body() -> None:
        reader, writer = os.pipe()
        if not os.fork():
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        signal.signal(signal.SIGALRM, ring)
        before = time.monotonic()
        signal.alarm(5)
        try:
            wait()  # type: ignore[operator]
        except AlarmError:
            assert 5 <= time.monotonic() - before < 5.1
        else:
            os._exit(1)
        os.close(writer)
        os.wait()

    completed(explore(body, 4))


def test_an_interval_timer_rings_again_and_again() -> None:
    def body() -> None:
        rings: list[float] = []
        signal.signal(signal.SIGALRM, lambda *_: rings.append(round(time.monotonic(), 1)))
        signal.setitimer(signal.ITIMER_REAL, 1, 3600)
        while len(rings) < 3:
            signal.pause()
        left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
        assert (round(left), interval) == (3600, 3600)
        assert rings == [1001.0, 4601.0, 8201.0]
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)

    completed(explore(body, 2))


def test_an_alarm_that_nobody_hears_is_no_way_out() -> None:
    def stuck() -> None:
        pipe = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        signal.setitimer(signal.ITIMER_REAL, 1, 1)
        os.read(pipe[0], 1)

    assert run(stuck, seconds=20).ending is Ending.STUCK


def test_a_pending_signal_is_taken_without_a_handler() -> None:
    def body() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
        parent = os.getpid()
        child = child_of(lambda: os.kill(parent, signal.SIGUSR1))
        found = signal.sigwaitinfo({signal.SIGUSR1, signal.SIGUSR2})
        assert (found.si_signo, found.si_pid) == (signal.SIGUSR1, child)
        assert signal.sigtimedwait({signal.SIGUSR2}, 3600) is None
        os.waitpid(child, 0)

    completed(explore(body, 6))


def test_what_comes_with_a_signal_survives_an_access_to_shared_memory(compiled: Compile) -> None:
    source = r"""
    #define _GNU_SOURCE
    #include <signal.h>
    #include <stdio.h>
    #include <sys/mman.h>
    #include <sys/wait.h>
    #include <unistd.h>
    static volatile int value, sender;
    static void handler(int n, siginfo_t *info, void *context) {
        value = info->si_value.sival_int;
        sender = info->si_pid;
    }
    int main(void) {
        volatile int *memory = mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
        sigaction(SIGUSR1, &action, 0);
        pid_t child = fork();
        if (!child) {
            while (!value) { ++*memory; pipe((int[2]){0}); }
            _exit(value == 42 && sender == getppid() ? 0 : 1);
        }
        union sigval what = {.sival_int = 42};
        ++*memory;
        sigqueue(child, SIGUSR1, what);
        int status;
        wait(&status);
        return status != 0;
    }
    """
    completed(explore(compiled(source), 10, max_steps=1000))


def test_a_handler_runs_in_the_middle_of_accesses_and_makes_its_own(compiled: Compile) -> None:
    source = r"""
    #define _GNU_SOURCE
    #include <signal.h>
    #include <stdio.h>
    #include <sys/mman.h>
    #include <sys/wait.h>
    #include <unistd.h>
    static volatile int *memory;
    static void handler(int n) { memory[1]++; }
    int main(void) {
        memory = mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        signal(SIGUSR1, handler);
        pid_t child = fork();
        if (!child) {
            for (int i = 0; i < 5; i++) memory[0]++;
            while (!memory[1]) usleep(1);
            _exit(0);
        }
        kill(child, SIGUSR1);
        wait(0);
        printf("%d %d\n", memory[0], memory[1]);
        return 0;
    }
    """
    traces = explore(compiled(source), 12)

    completed(traces)
    assert outputs(traces) == {"5 1\n"}
    arrivals = {
        trace.events.index(event) - steps(trace, Action.SIGNAL)[0].step
        for trace in traces
        for event in steps(trace, Action.DELIVER)
    }
    assert arrivals == {1}  # it comes before whatever its receiver was about to do


def test_a_signal_to_a_group_reaches_all_its_members() -> None:
    def body() -> None:
        children: list[int] = []
        reader, writer = os.pipe()
        for _ in range(3):
            child = os.fork()
            if not child:
                os.setpgid(0, children[0] if children else 0)
                os.write(writer, b"r")
                while True:
                    signal.pause()
            children.append(child)
            os.read(reader, 1)
        os.killpg(children[0], signal.SIGTERM)
        assert [os.waitpid(child, 0)[1] for child in children] == [signal.SIGTERM] * 3

    traces = explore(body, 5)

    completed(traces)
    assert steps(traces[0], Action.SIGNAL)[0].object == "P1 P2 P3"


def test_a_signal_through_a_descriptor_names_its_process() -> None:
    def body() -> None:
        from lab.kernel.pidfd import pidfd_open

        child = child_of(signal.pause)
        signal.pidfd_send_signal(pidfd_open(child), signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL

    if not hasattr(signal, "pidfd_send_signal"):
        pytest.skip("this Python was built without pidfd_send_signal")
    traces = explore(body, 4)

    completed(traces)
    assert [event.object for event in steps(traces[0], Action.SIGNAL)] == ["P1"]


def test_a_process_that_is_killed_while_it_holds_a_semaphore_leaves_it_taken() -> None:
    import posix_ipc

    def body() -> None:
        semaphore = posix_ipc.Semaphore("/taken", posix_ipc.O_CREX, initial_value=1)

        def hold() -> None:
            semaphore.acquire()
            time.sleep(10)

        def take() -> None:
            semaphore.acquire()
            semaphore.release()

        try:
            holder = child_of(hold)
            waiter = child_of(take)
            time.sleep(0.1)
            os.kill(holder, signal.SIGKILL)
            os.waitpid(holder, 0)
            os.waitpid(waiter, 0)
        finally:
            semaphore.unlink()

    traces = explore(body, 10)

    assert endings(traces) == {Ending.COMPLETED, Ending.STUCK}
    stuck = next(trace for trace in traces if trace.ending is Ending.STUCK)
    waiting = {blocked.process: blocked for blocked in stuck.blocked}
    assert waiting["P2"].call == "sem_wait"
    assert findings(stuck)


def test_a_segmentation_fault_of_the_program_is_a_crash_and_not_an_error_of_the_lab() -> None:
    def body() -> None:
        import ctypes

        child = child_of(lambda: ctypes.string_at(8))
        assert os.waitpid(child, 0)[1] & 0x7F == signal.SIGSEGV

    traces = explore(body, 3)

    completed(traces)
    assert traces[0].processes[1].status == -signal.SIGSEGV


def test_pselect_lets_in_what_was_blocked(compiled: Compile) -> None:
    source = r"""
    #define _GNU_SOURCE
    #include <errno.h>
    #include <poll.h>
    #include <signal.h>
    #include <sys/epoll.h>
    #include <sys/select.h>
    #include <sys/wait.h>
    #include <unistd.h>
    static volatile int got;
    static void handler(int n) { got = 1; }
    int main(void) {
        sigset_t block, before;
        struct sigaction action = {.sa_handler = handler};
        sigaction(SIGUSR1, &action, 0);
        sigemptyset(&block);
        sigaddset(&block, SIGUSR1);
        sigprocmask(SIG_BLOCK, &block, &before);
        pid_t child = fork();
        if (!child) {
            struct epoll_event event;
            int epoll = epoll_create(1);
            (void)epoll; (void)event;
            while (!got) if (CALL != -1 || errno != EINTR) _exit(1);
            _exit(0);
        }
        kill(child, SIGUSR1);
        int status;
        wait(&status);
        return status != 0;
    }
    """
    for call in (
        "pselect(0,0,0,0,0,&before)",
        "ppoll(0,0,0,&before)",
        "epoll_pwait(epoll,&event,1,-1,&before)",
    ):
        completed(explore(compiled(source, f"-DCALL={call}"), 5))


def test_signals_are_read_from_a_descriptor(compiled: Compile) -> None:
    source = r"""
    #define _GNU_SOURCE
    #include <poll.h>
    #include <signal.h>
    #include <stdio.h>
    #include <sys/epoll.h>
    #include <sys/signalfd.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        sigset_t block;
        sigemptyset(&block);
        sigaddset(&block, SIGCHLD);
        sigaddset(&block, SIGUSR1);
        sigprocmask(SIG_BLOCK, &block, 0);
        int descriptor = signalfd(-1, &block, 0), epoll = epoll_create(1);
        struct epoll_event event = {.events = EPOLLIN};
        epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
        struct signalfd_siginfo info;
        if (!fork()) { kill(getppid(), SIGUSR1); _exit(3); }
        if (epoll_wait(epoll, &event, 1, -1) != 1) return 1;
        (void)!read(descriptor, &info, sizeof info);
        int first = info.ssi_signo;
        struct pollfd wanted = {descriptor, POLLIN};
        if (poll(&wanted, 1, -1) != 1) return 2;
        (void)!read(descriptor, &info, sizeof info);
        printf("%d\n", first + info.ssi_signo);
        wait(0);
        return poll(&wanted, 1, 3600 * 1000);
    }
    """
    traces = explore(compiled(source), 6)

    completed(traces)
    assert outputs(traces) == {f"{signal.SIGUSR1 + signal.SIGCHLD}\n"}
