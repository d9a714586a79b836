"""Mutexes that lend their priority, as the C library makes them of the kernel's own locks."""

from __future__ import annotations

import pytest

from lab.run.root import Command
from lab.trace import Ending
from tests.run.control.conftest import Compile
from tests.run.control.controlled import completed, endings, explore, order, outputs, run
from tests.run.control.test_c_programs import HEAD

START = (
    HEAD
    + r"""
#include <linux/futex.h>
#include <sys/syscall.h>
struct all { pthread_mutex_t mutex, other; int counter; } *all;
static void begin(int robust) {
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setprotocol(&kind, PTHREAD_PRIO_INHERIT);
    if (robust) pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    all = shared(sizeof *all);
    pthread_mutex_init(&all->mutex, &kind);
    pthread_mutex_init(&all->other, &kind);
}
static void ended(int number) { (void)number; }
"""
)


def test_every_update_under_it_is_kept(compiled: Compile) -> None:
    source = (
        START
        + r"""
    int main(void) {
        begin(0);
        for (int child = 0; child < 3; child++)
            if (!fork()) {
                for (int i = 0; i < 2; i++) {
                    pthread_mutex_lock(&all->mutex);
                    (*(volatile int *)&all->counter)++;
                    pthread_mutex_unlock(&all->mutex);
                }
                _exit(0);
            }
        if (all_well()) return 1;
        printf("%d\n", all->counter);
        return 0;
    }
    """
    )
    traces = explore(compiled(source), 8, repeats=3)

    completed(traces)
    assert outputs(traces) == {"6\n"}
    assert any(event.call == "futex" for trace in traces for event in trace.events)


def test_taken_crosswise_two_deadlock_and_the_holders_are_named(compiled: Compile) -> None:
    source = (
        START
        + r"""
    int main(void) {
        begin(0);
        for (int child = 0; child < 2; child++)
            if (!fork()) {
                pthread_mutex_lock(child ? &all->mutex : &all->other);
                pthread_mutex_lock(child ? &all->other : &all->mutex);
                _exit(0);
            }
        return all_well();
    }
    """
    )
    traces = explore(compiled(source), 8, repeats=3)

    # With one that ended as its holder nobody comes by again, and glibc waits for ever.
    assert endings(traces) <= {Ending.STUCK, Ending.COMPLETED}
    waits = [{b.process: b.on for b in trace.blocked} for trace in traces]
    assert {
        "P0": ("P1", "P2"),
        "P1": ("P2",),
        "P2": ("P1",),
    } in waits


@pytest.mark.parametrize("waits", [True, False], ids=["waited for", "asked for later"])
def test_a_robust_one_tells_that_its_holder_died(compiled: Compile, waits: bool) -> None:
    source = (
        START
        + r"""
    int main(void) {
        int both[2];
        begin(1);
        (void)!pipe(both);
        if (!fork()) {
            pthread_mutex_lock(&all->mutex);
            (void)!write(both[1], "x", 1);
            if (WAITS) usleep(1000);
            _exit(0);
        }
        (void)!read(both[0], both, 1);
        if (!WAITS) wait(0);
        int result = pthread_mutex_lock(&all->mutex);
        puts(result == EOWNERDEAD ? "owner died" : strerror(result));
        pthread_mutex_consistent(&all->mutex);
        pthread_mutex_unlock(&all->mutex);
        puts(pthread_mutex_trylock(&all->mutex) ? "taken" : "mended");
        return 0;
    }
    """
    )
    traces = explore(compiled(source, f"-DWAITS={int(waits)}"), 6)

    completed(traces)
    assert outputs(traces) == {"owner died\nmended\n"}


def test_whoever_waits_may_lose_patience_or_be_interrupted(compiled: Compile) -> None:
    source = (
        START
        + r"""
    int main(void) {
        struct timespec limit;
        int both[2];
        begin(0);
        (void)!pipe(both);
        signal(SIGUSR1, ended);
        pid_t parent = getpid();
        if (!fork()) {
            pthread_mutex_lock(&all->mutex);
            (void)!write(both[1], "x", 1);
            kill(parent, SIGUSR1);
            pause();
        }
        (void)!read(both[0], both, 1);
        clock_gettime(CLOCK_REALTIME, &limit);
        limit.tv_sec += 3600;
        puts(strerror(pthread_mutex_trylock(&all->mutex)));
        puts(strerror(pthread_mutex_timedlock(&all->mutex, &limit)));
        return 0;
    }
    """
    )
    traces = explore(compiled(source), 6)

    completed(traces)
    assert outputs(traces) == {"Device or resource busy\nConnection timed out\n"}


def test_threads_of_one_process_hand_it_over_too(compiled: Compile) -> None:
    source = (
        START
        + r"""
    static int sum;
    static pthread_mutex_t own;
    static void *add(void *_) {
        for (int i = 0; i < 3; i++) {
            pthread_mutex_lock(&own);
            int value = sum;
            usleep(10);
            sum = value + 1;
            pthread_mutex_unlock(&own);
        }
        return _;
    }
    int main(void) {
        pthread_t threads[2];
        pthread_mutexattr_t kind;
        pthread_mutexattr_init(&kind);
        pthread_mutexattr_setprotocol(&kind, PTHREAD_PRIO_INHERIT);
        pthread_mutex_init(&own, &kind);
        for (int i = 0; i < 2; i++) pthread_create(&threads[i], 0, add, 0);
        for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);
        printf("%d\n", sum);
        return 0;
    }
    """
    )
    traces = explore(compiled(source), 6)

    completed(traces)
    assert outputs(traces) == {"6\n"}


CALL = (
    START
    + r"""
int main(void) {
    int *word = shared(4096);
    fork();
    syscall(SYS_futex, word, OPERATION, 1, 0, word + 1, 0);
    printf("%s\n", strerror(errno));
    return 0;
}
"""
)


def test_what_is_not_modelled_is_an_error(compiled: Compile) -> None:
    trace = run(compiled(CALL, "-DOPERATION=FUTEX_WAIT_REQUEUE_PI"))

    assert trace.ending is Ending.BROKEN
    assert "FUTEX_WAIT_REQUEUE_PI" in trace.trouble


def test_an_operation_that_no_kernel_has_fails(compiled: Compile) -> None:
    program: Command = compiled(CALL, "-DOPERATION=99")
    assert run(program, order("P0")).output == "Function not implemented\n" * 2
