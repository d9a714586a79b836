"""Virtual time: hours take milliseconds, deadlines come, and nothing else does."""

from __future__ import annotations

import multiprocessing
import os
import select
import socket
import threading
import time
from itertools import permutations

from lab.trace import Action, Ending
from tests.run.control.conftest import Compile
from tests.run.control.controlled import completed, endings, explore, order, outputs, run, steps


def test_sleeps_of_hours_take_no_time_and_any_order_of_sleepers_is_reachable() -> None:
    def body() -> None:
        children = []
        for hours in (3, 1, 2):
            child = os.fork()
            if not child:
                time.sleep(hours * 3600)
                os.write(1, b"%d" % hours)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)

    real = time.monotonic()
    default = run(body)
    traces = [run(body, order("P0", *names)) for names in permutations(("P1", "P2", "P3"))]

    completed([default, *traces])
    assert outputs(traces) == {"123", "132", "213", "231", "312", "321"}
    assert default.output == "123"  # the one that wakes first
    assert default.seconds >= 3 * 3600
    assert time.monotonic() - real < 60


def test_the_clock_starts_at_the_same_moment_and_moves_with_each_reading() -> None:
    def body() -> None:
        first, second = time.time(), time.time()
        assert 1_700_000_000 <= first < second < first + 1
        assert time.monotonic_ns() < time.monotonic_ns()
        os.write(1, repr((first, time.monotonic(), time.perf_counter())).encode())

    traces = explore(body, 3)

    completed(traces)
    assert len(outputs(traces)) == 1


def test_a_loop_that_waits_for_a_deadline_ends() -> None:
    def body() -> None:
        end = time.monotonic() + 5
        rounds = 0
        while time.monotonic() < end:
            rounds += 1
        assert 5 <= time.monotonic() - (end - 5) < 6
        assert rounds < 100_000

    completed(explore(body, 3))


def test_a_loop_that_looks_at_the_clock_and_something_else_ends_too() -> None:
    def body() -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            time.sleep(2)
            os.write(writer, b"x")
            os._exit(0)
        end = time.monotonic() + 3600
        while time.monotonic() < end and not select.select([reader], [], [], 0)[0]:
            time.sleep(0.5)
        assert os.read(reader, 1) == b"x"
        os.waitpid(child, 0)

    completed(explore(body, 5))


def test_a_timed_wait_for_a_semaphore_gives_up_at_its_time_and_not_before() -> None:
    import posix_ipc

    def body() -> None:
        semaphore = posix_ipc.Semaphore("/timed", posix_ipc.O_CREX, initial_value=0)
        try:
            before = time.monotonic()
            try:
                semaphore.acquire(2)
            except posix_ipc.BusyError:
                assert 2 <= time.monotonic() - before < 2.1
            else:
                os._exit(1)
            child = os.fork()
            if not child:
                semaphore.release()
                os._exit(0)
            semaphore.acquire(3600)
            os.waitpid(child, 0)
        finally:
            semaphore.unlink()

    completed(explore(body, 6))


def test_timed_waits_of_every_kind_give_up_at_their_time(compiled: Compile) -> None:
    source = r"""
    #define _GNU_SOURCE
    #include <errno.h>
    #include <fcntl.h>
    #include <mqueue.h>
    #include <poll.h>
    #include <pthread.h>
    #include <semaphore.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/epoll.h>
    #include <sys/select.h>
    #include <sys/sem.h>
    #include <sys/socket.h>
    #include <time.h>
    #include <unistd.h>
    static double now(clockid_t clock) {
        struct timespec time;
        clock_gettime(clock, &time);
        return time.tv_sec + time.tv_nsec / 1e9;
    }
    static double last;
    static void check(const char *what, int failed, int wanted) {
        double passed = now(CLOCK_MONOTONIC) - last;
        if (passed < 5 || passed > 5.1 || (failed && failed != wanted))
            printf("%s: %f s, error %d\n", what, passed, failed), exit(1);
        last = now(CLOCK_MONOTONIC);
    }
    static struct timespec in(clockid_t clock) {
        struct timespec time;
        clock_gettime(clock, &time);
        time.tv_sec += 5;
        return time;
    }
    int main(void) {
        struct timespec five = {5, 0}, then;
        struct timeval val = {5, 0};
        sigset_t signals;
        char buffer[8192];
        sem_t semaphore;
        pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
        pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
        sem_init(&semaphore, 0, 0);
        last = now(CLOCK_MONOTONIC);
        nanosleep(&five, 0); check("nanosleep", 0, 0);
        then = in(CLOCK_REALTIME);
        clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &then, 0); check("clock_nanosleep", 0, 0);
        then = in(CLOCK_BOOTTIME);
        clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &then, 0); check("boot time", 0, 0);
        poll(0, 0, 5000); check("poll", 0, 0);
        ppoll(0, 0, &five, 0); check("ppoll", 0, 0);
        select(0, 0, 0, 0, &val); check("select", 0, 0);
        pselect(0, 0, 0, 0, &five, 0); check("pselect", 0, 0);
        struct epoll_event event;
        epoll_wait(epoll_create(1), &event, 1, 5000); check("epoll_wait", 0, 0);
        then = in(CLOCK_REALTIME);
        sem_timedwait(&semaphore, &then); check("sem_timedwait", errno, ETIMEDOUT);
        then = in(CLOCK_MONOTONIC);
        sem_clockwait(&semaphore, CLOCK_MONOTONIC, &then);
        check("sem_clockwait", errno, ETIMEDOUT);
        pthread_mutex_lock(&mutex);
        then = in(CLOCK_REALTIME);
        int result = pthread_cond_timedwait(&condition, &mutex, &then);
        check("pthread_cond_timedwait", result, ETIMEDOUT);
        then = in(CLOCK_REALTIME);
        result = pthread_mutex_timedlock(&mutex, &then);
        check("pthread_mutex_timedlock", result, ETIMEDOUT);
        sigemptyset(&signals); sigaddset(&signals, SIGUSR1);
        sigtimedwait(&signals, 0, &five); check("sigtimedwait", errno, EAGAIN);
        int set = semget(IPC_PRIVATE, 1, 0600);
        struct sembuf take = {0, -1, 0};
        semtimedop(set, &take, 1, &five); check("semtimedop", errno, EAGAIN);
        semctl(set, 0, IPC_RMID);
        struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};
        mqd_t queue = mq_open("/timed", O_CREAT | O_RDWR, 0600, &attributes);
        then = in(CLOCK_REALTIME);
        mq_timedreceive(queue, buffer, 8192, 0, &then); check("receive", errno, ETIMEDOUT);
        mq_send(queue, "x", 1, 0);
        then = in(CLOCK_REALTIME);
        mq_timedsend(queue, "x", 1, 0, &then); check("send", errno, ETIMEDOUT);
        mq_unlink("/timed");
        int pair[2];
        socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
        setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){5, 0}, sizeof val);
        recv(pair[0], buffer, 1, 0); check("SO_RCVTIMEO", errno, EAGAIN);
        return 0;
    }
    """
    completed(explore(compiled(source, "-lrt"), 2))


def test_timers_of_every_kind_go_off_on_the_virtual_clock(compiled: Compile) -> None:
    source = r"""
    #define _GNU_SOURCE
    #include <poll.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdint.h>
    #include <sys/timerfd.h>
    #include <time.h>
    #include <unistd.h>
    static double now(void) {
        struct timespec time;
        clock_gettime(CLOCK_MONOTONIC, &time);
        return time.tv_sec - 1000 + time.tv_nsec / 1e9;
    }
    static volatile int value;
    static void handler(int n, siginfo_t *info, void *context) { value = info->si_value.sival_int; }
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t rang = PTHREAD_COND_INITIALIZER;
    static int thread_value;
    static void notify(union sigval what) {
        pthread_mutex_lock(&mutex);
        thread_value = what.sival_int;
        pthread_cond_signal(&rang);
        pthread_mutex_unlock(&mutex);
    }
    int main(void) {
        timer_t timer;
        struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
        sigaction(SIGRTMIN, &action, 0);
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN,
                                 .sigev_value.sival_int = 7};
        struct itimerspec in = {{0, 0}, {100, 0}}, left;
        timer_create(CLOCK_MONOTONIC, &event, &timer);
        timer_settime(timer, 0, &in, 0);
        timer_gettime(timer, &left);
        pause();
        printf("%d %.0f %ld\n", value, now(), (long)left.it_value.tv_sec);
        timer_delete(timer);

        event = (struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_notify_function = notify,
                                  .sigev_value.sival_int = 8};
        timer_create(CLOCK_REALTIME, &event, &timer);
        timer_settime(timer, 0, &in, 0);
        pthread_mutex_lock(&mutex);
        while (!thread_value) pthread_cond_wait(&rang, &mutex);
        pthread_mutex_unlock(&mutex);
        printf("%d %.0f\n", thread_value, now());
        timer_delete(timer);

        uint64_t times;
        int descriptor = timerfd_create(CLOCK_MONOTONIC, 0);
        struct itimerspec every = {{10, 0}, {100, 0}};
        struct pollfd wanted = {descriptor, POLLIN};
        timerfd_settime(descriptor, 0, &every, 0);
        printf("%d\n", poll(&wanted, 1, 50 * 1000));
        (void)!read(descriptor, &times, 8);
        printf("%d %.0f\n", (int)times, now());
        sleep(35);
        (void)!read(descriptor, &times, 8);
        printf("%d %.0f\n", (int)times, now());
        timerfd_gettime(descriptor, &left);
        every.it_value.tv_sec = 0;
        timerfd_settime(descriptor, 0, &every, &left);
        int ready = poll(&wanted, 1, 1000 * 1000);
        printf("%ld %d %.0f\n", (long)left.it_interval.tv_sec, ready, now());
        return 0;
    }
    """
    traces = explore(compiled(source), 2)

    completed(traces)
    assert outputs(traces) == {"7 100 100\n8 200\n0\n1 300\n3 335\n10 0 1335\n"}


def test_random_numbers_come_from_the_seed_and_so_do_names_of_temporary_files() -> None:
    def body() -> None:
        import random
        import tempfile
        import uuid

        with tempfile.NamedTemporaryFile() as file:
            parts = (os.urandom(8), random.SystemRandom().random(), uuid.uuid4(), file.name)
        with open("/dev/urandom", "rb") as source:
            os.write(1, repr((*parts, source.read(4))).encode())

    traces = explore(body, 2)

    completed(traces)
    assert len(outputs(traces)) == 1


def test_time_limits_inside_a_process_do_not_disturb_its_threads() -> None:
    def body() -> None:
        event, done = threading.Event(), []

        def waiter() -> None:
            done.append(event.wait(3600))

        thread = threading.Thread(target=waiter)
        thread.start()
        thread.join(60)
        assert thread.is_alive()
        event.set()
        thread.join()
        assert done == [True]

    completed(explore(body, 4))


def test_time_outs_of_sockets_and_queues_are_virtual() -> None:
    def body() -> None:
        one, two = socket.socketpair()
        one.settimeout(3600)
        try:
            one.recv(1)
        except TimeoutError:
            two.send(b"x")
        assert one.recv(1) == b"x"
        connection, _ = multiprocessing.Pipe()
        assert not connection.poll(3600)

    completed(explore(body, 3))


def test_a_wake_up_and_a_time_limit_may_meet() -> None:
    import posix_ipc

    def body() -> None:
        semaphore = posix_ipc.Semaphore("/meeting", posix_ipc.O_CREX, initial_value=0)
        child = os.fork()
        if not child:
            time.sleep(2)
            semaphore.release()
            os._exit(0)
        try:
            semaphore.acquire(1)
            os.write(1, b"in time")
        except posix_ipc.BusyError:
            os.write(1, b"too late")
        os.waitpid(child, 0)
        semaphore.unlink()

    traces = explore(body, 12)

    completed(traces)
    assert outputs(traces) == {"in time", "too late"}


def test_reading_clocks_is_no_step() -> None:
    def body() -> None:
        for _ in range(10):
            time.monotonic()
            time.time()

    trace = run(body)

    assert endings([trace]) == {Ending.COMPLETED}
    assert not steps(trace, Action.SLEEP, Action.CALL)
