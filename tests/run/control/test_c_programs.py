"""Programs in C: shared memory, semaphores and locks as the C library does them."""

from __future__ import annotations

import pytest

from lab.detect import findings
from lab.finding import Kind
from lab.trace import Action, Ending
from tests.run.control.conftest import Compile
from tests.run.control.controlled import completed, explore, outputs, run, steps, switch

HEAD = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static void *shared(size_t size) {
    return mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}
static int all_well(void) {
    int status, bad = 0;
    while (wait(&status) > 0) bad |= status;
    return bad;
}
"""

COUNTER = (
    HEAD
    + r"""
struct all { sem_t semaphore; int counter; };
int main(void) {
    struct all *all = shared(sizeof *all);
    sem_init(&all->semaphore, 1, 1);
    for (int child = 0; child < 2; child++)
        if (!fork()) {
            for (int i = 0; i < 3; i++) {
                ENTER;
                ADD;
                LEAVE;
            }
            _exit(0);
        }
    if (all_well()) return 1;
    printf("%d\n", all->counter);
    return 0;
}
"""
)
SEMAPHORE = ("-DENTER=sem_wait(&all->semaphore)", "-DLEAVE=sem_post(&all->semaphore)")
NOTHING = ("-DENTER=", "-DLEAVE=")
ADD = "-DADD=(*(volatile int*)&all->counter)++"


def test_an_unguarded_counter_loses_updates(compiled: Compile) -> None:
    traces = explore(compiled(COUNTER, *NOTHING, ADD), 15)

    completed(traces)
    assert outputs(traces) > {"6\n"}
    assert any(Kind.LOST_UPDATE in {f.kind for f in findings(trace)} for trace in traces)


def test_a_semaphore_keeps_every_update(compiled: Compile) -> None:
    traces = explore(compiled(COUNTER, *SEMAPHORE, ADD), 30)

    completed(traces)
    assert outputs(traces) == {"6\n"}
    assert all(not findings(trace) for trace in traces)
    waits = steps(traces[1], Action.ACQUIRE)
    assert [(event.call, event.size) for event in waits] == [("sem_wait", 4)] * 6


@pytest.mark.parametrize("flags", [(), ("-static",)], ids=["shared", "static"])
def test_an_increment_of_one_instruction_is_two_steps(
    compiled: Compile, flags: tuple[str, ...]
) -> None:
    program = compiled(
        COUNTER,
        *NOTHING,
        "-DADD=asm volatile('addl $1,%0':'+m'(all->counter))".replace("'", '"'),
        *flags,
    )

    traces = explore(program, 15)

    completed(traces)
    assert outputs(traces) > {"6\n"}


def test_an_atomic_increment_is_one_step(compiled: Compile) -> None:
    program = compiled(COUNTER, *NOTHING, "-DADD=__atomic_fetch_add(&all->counter,1,5)")

    traces = explore(program, 30)

    completed(traces)
    assert outputs(traces) == {"6\n"}
    assert len(steps(traces[0], Action.UPDATE)) == 6


def test_an_exchange_is_one_step(compiled: Compile) -> None:
    lock = "-DENTER=while(__atomic_exchange_n(&all->semaphore,1,5))usleep(1)"
    unlock = "-DLEAVE=__atomic_store_n((int*)&all->semaphore,0,5)"
    source = COUNTER.replace("sem_t semaphore", "int semaphore").replace(
        "sem_init(&all->semaphore, 1, 1);", ""
    )

    traces = explore(compiled(source, lock, unlock, ADD), 20)

    completed(traces)
    assert outputs(traces) == {"6\n"}


MUTEX = (
    HEAD
    + r"""
struct all { pthread_mutex_t mutex; pthread_cond_t full, empty; int item, got; };
int main(void) {
    struct all *all = shared(sizeof *all);
    pthread_mutexattr_t mutex;
    pthread_condattr_t condition;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&all->mutex, &mutex);
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&all->full, &condition);
    pthread_cond_init(&all->empty, &condition);
    if (!fork()) {
        for (int i = 1; i <= 3; i++) {
            pthread_mutex_lock(&all->mutex);
            WAIT (all->item) pthread_cond_wait(&all->empty, &all->mutex);
            all->item = i;
            pthread_cond_signal(&all->full);
            pthread_mutex_unlock(&all->mutex);
        }
        _exit(0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_mutex_lock(&all->mutex);
        WAIT (!all->item) pthread_cond_wait(&all->full, &all->mutex);
        all->got = all->got * 10 + all->item;
        all->item = 0;
        pthread_cond_signal(&all->empty);
        pthread_mutex_unlock(&all->mutex);
    }
    if (all_well()) return 1;
    printf("%d\n", all->got);
    return 0;
}
"""
)


def test_a_mutex_and_conditions_hand_over_between_processes(compiled: Compile) -> None:
    traces = explore(compiled(MUTEX, "-DWAIT=while"), 20)

    completed(traces)
    assert outputs(traces) == {"123\n"}


FORGOTTEN = (
    HEAD
    + r"""
struct all { pthread_mutex_t mutex; pthread_cond_t changed; int flag; };
int main(void) {
    struct all *all = shared(sizeof *all);
    pthread_mutexattr_t mutex;
    pthread_condattr_t condition;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&all->mutex, &mutex);
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&all->changed, &condition);
    if (!fork()) {
        __atomic_store_n(&all->flag, 1, 5);
        pthread_cond_signal(&all->changed);  // without the mutex: it may come before the wait
        _exit(0);
    }
    pthread_mutex_lock(&all->mutex);
    while (!__atomic_load_n(&all->flag, 5)) pthread_cond_wait(&all->changed, &all->mutex);
    pthread_mutex_unlock(&all->mutex);
    return all_well();
}
"""
)


def test_a_wake_up_that_comes_too_early_is_lost(compiled: Compile) -> None:
    program = compiled(FORGOTTEN)

    completed(explore(program, 5))
    lost = run(program, switch("P0", lambda step: step.size == 4 and step.offset == 88, "P1"))

    assert lost.ending is Ending.STUCK
    assert [(blocked.process, blocked.call) for blocked in lost.blocked] == [("P0", "futex")]


ROBUST = (
    HEAD
    + r"""
struct all { pthread_mutex_t mutex; int held; };
int main(void) {
    struct all *all = shared(sizeof *all);
    pthread_mutexattr_t mutex;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&all->mutex, &mutex);
    pid_t child = fork();
    if (!child) {
        pthread_mutex_lock(&all->mutex);
        __atomic_store_n(&all->held, 1, 5);
        DIE;
    }
    while (!__atomic_load_n(&all->held, 5)) usleep(10);
    KILL;
    int result = pthread_mutex_lock(&all->mutex);
    puts(result == EOWNERDEAD ? "owner died" : strerror(result));
    if (result == EOWNERDEAD) pthread_mutex_consistent(&all->mutex);
    pthread_mutex_unlock(&all->mutex);
    result = pthread_mutex_lock(&all->mutex);
    puts(result ? strerror(result) : "mended");
    while (wait(0) > 0);
    return 0;
}
"""
)
ENDS = {
    "exits": ("-DDIE=_exit(0)", "-DKILL="),
    "is killed": ("-DDIE=while(1)pause()", "-DKILL=kill(child,SIGKILL)"),
    "is terminated": ("-DDIE=while(1)pause()", "-DKILL=kill(child,SIGTERM)"),
    "aborts": ("-DDIE=abort()", "-DKILL="),
    "crashes": ("-DDIE=*(volatile int*)0=0", "-DKILL="),
    "executes": ('-DDIE=execl("/bin/true","true",(char*)0)', "-DKILL="),
}


@pytest.mark.parametrize("flags", ENDS.values(), ids=ENDS)
def test_a_robust_mutex_survives_a_holder_that(compiled: Compile, flags: tuple[str, ...]) -> None:
    traces = explore(compiled(ROBUST, *flags), 10)

    completed(traces)
    assert outputs(traces) == {"owner died\nmended\n"}
