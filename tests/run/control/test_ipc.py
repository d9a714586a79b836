"""System V and POSIX objects: semaphores, queues, segments."""

from __future__ import annotations

import os
import signal
import time

import posix_ipc
import pytest
import sysv_ipc

from lab.detect import findings
from lab.finding import Kind
from lab.trace import Action, Ending, Tally
from tests.run.control.conftest import Compile
from tests.run.control.controlled import completed, endings, explore, order, outputs, run, steps


def children(*bodies: object) -> list[int]:
    """Fork a child for each function."""
    pids = []
    for body in bodies:
        pid = os.fork()
        if not pid:
            body()  # type: ignore[operator]
            os._exit(0)
        pids.append(pid)
    return pids


def reap(pids: list[int]) -> None:
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0


def add(memory: sysv_ipc.SharedMemory) -> None:
    memory.write(str(int(memory.read(4).rstrip(b"\0")) + 1).encode().ljust(4, b"\0"))


def counter(semaphore: object) -> Tally:
    memory = sysv_ipc.SharedMemory(0x4C, sysv_ipc.IPC_CREX, size=4096, init_character=b"\0")
    memory.write(b"0\0\0\0")

    def work() -> None:
        for _ in range(2):
            with semaphore:  # type: ignore[attr-defined]
                add(memory)

    reap(children(work, work))
    total = int(memory.read(4).rstrip(b"\0"))
    memory.remove()
    return Tally(4, total)


class Nothing:
    def __enter__(self) -> None:
        """Guard nothing."""

    def __exit__(self, *_: object) -> None:
        """Guard nothing."""


def test_a_segment_without_a_semaphore_loses_updates() -> None:
    traces = explore(lambda: counter(Nothing()), 8)

    completed(traces)
    assert {trace.tally for trace in traces} > {Tally(4, 4)}
    assert steps(traces[0], of="sysv-shm:key 0x0000004c")


def test_a_system_v_semaphore_keeps_every_update() -> None:
    def body() -> Tally:
        semaphore = sysv_ipc.Semaphore(0x4D, sysv_ipc.IPC_CREX, initial_value=1)
        tally = counter(semaphore)
        semaphore.remove()
        return tally

    traces = explore(body, 12)

    completed(traces)
    assert {trace.tally for trace in traces} == {Tally(4, 4)}
    assert all(not findings(trace) for trace in traces)
    taken = steps(traces[0], Action.ACQUIRE, of="sysv-sem:key 0x0000004d")
    assert [(event.before, event.after) for event in taken] == [(b"\1\0\0\0", b"\0\0\0\0")] * 4


def test_a_semaphore_of_several_takes_all_or_nothing(compiled: Compile) -> None:
    source = r"""
    #include <stdio.h>
    #include <sys/ipc.h>
    #include <sys/sem.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        int set = semget(IPC_PRIVATE, 2, 0600);
        unsigned short ones[] = {1, 1};
        semctl(set, 0, SETALL, ones);
        for (int child = 0; child < 2; child++)
            if (!fork()) {
                struct sembuf both[] = {{child, -1, 0}, {!child, -1, 0}};
                struct sembuf back[] = {{0, 1, 0}, {1, 1, 0}};
                semop(set, both, 2);
                semop(set, back, 2);
                _exit(0);
            }
        struct sembuf zero = {0, 0, 0};
        if (!fork()) { semop(set, &zero, 1); _exit(0); }
        while (semctl(set, 0, GETZCNT) || semctl(set, 0, GETNCNT)) usleep(1);
        int ends = 0;
        while (ends < 2 && wait(0) > 0) ends++;
        semctl(set, 0, IPC_RMID);
        while (wait(0) > 0);
        printf("%d\n", ends);
        return 0;
    }
    """
    traces = explore(compiled(source), 12, max_steps=500)

    completed(traces)
    assert outputs(traces) == {"2\n"}


def test_what_a_process_took_is_undone_at_its_end() -> None:
    def body() -> None:
        semaphore = sysv_ipc.Semaphore(0x4D, sysv_ipc.IPC_CREX, initial_value=1)
        semaphore.undo = True

        def hold() -> None:
            semaphore.acquire()
            signal.pause()

        (child,) = children(hold)
        time.sleep(1)
        os.kill(child, signal.SIGKILL)
        semaphore.acquire()
        os.waitpid(child, 0)
        semaphore.remove()

    completed(explore(body, 8))


def test_without_undo_it_stays_taken() -> None:
    def body() -> None:
        semaphore = sysv_ipc.Semaphore(0x4D, sysv_ipc.IPC_CREX, initial_value=1)
        reap(children(semaphore.acquire))
        semaphore.acquire()

    trace = run(body)

    assert trace.ending is Ending.STUCK
    (blocked,) = trace.blocked
    assert (blocked.call, blocked.object) == ("semtimedop", "key 0x0000004d")
    assert blocked.on == ("P1",)


def test_a_removed_semaphore_wakes_its_waiters() -> None:
    def body() -> None:
        semaphore = sysv_ipc.Semaphore(0x4D, sysv_ipc.IPC_CREX, initial_value=0)

        def wait() -> None:
            try:
                semaphore.acquire()
            except sysv_ipc.ExistentialError:
                os._exit(0)
            os._exit(1)

        pids = children(wait)
        semaphore.remove()
        reap(pids)

    completed(explore(body, 6))


def test_a_system_v_queue_keeps_order_by_type() -> None:
    def body() -> None:
        queue = sysv_ipc.MessageQueue(0x4E, sysv_ipc.IPC_CREX)

        def produce() -> None:
            for text in (b"a", b"b"):
                queue.send(text, type=1)
            queue.send(b"c", type=2)

        pids = children(produce)
        assert queue.receive(type=2) == (b"c", 2)
        assert queue.receive(type=1) == (b"a", 1)
        assert queue.receive() == (b"b", 1)
        reap(pids)
        queue.remove()

    completed(explore(body, 10))


def test_a_full_queue_blocks_its_sender_until_there_is_room() -> None:
    def body() -> None:
        queue = sysv_ipc.MessageQueue(0x4E, sysv_ipc.IPC_CREX)
        queue.max_size = 10
        pids = children(lambda: [queue.send(b"12345") for _ in range(4)])
        for _ in range(4):
            assert queue.receive()[0] == b"12345"
        reap(pids)
        queue.remove()

    completed(explore(body, 10))


def test_a_posix_queue_keeps_order_by_priority_and_blocks_when_full() -> None:
    def body() -> None:
        queue = posix_ipc.MessageQueue(
            "/jobs", posix_ipc.O_CREX, max_messages=2, max_message_size=8
        )

        def produce() -> None:
            for number in range(4):
                queue.send(b"%d" % number, priority=number % 2)

        pids = children(produce)
        got = [queue.receive()[0] for _ in range(4)]
        reap(pids)
        os.write(1, b"".join(got))
        queue.unlink()

    traces = explore(body, 15)

    completed(traces)
    assert all(sorted(text) == list("0123") for text in outputs(traces))
    assert len(outputs(traces)) > 1
    assert all(not findings(trace) for trace in traces)


def test_messages_left_in_a_queue_are_told_with_its_maker() -> None:
    def body() -> None:
        queue = posix_ipc.MessageQueue(
            "/left", posix_ipc.O_CREX, max_messages=2, max_message_size=8
        )
        queue.send(b"lost")

    trace = run(body)

    (left,) = trace.objects
    assert (left.type, left.name, left.made_by) == ("posix-mq", "/left", "P0")
    assert left.messages == ("lost",)


def test_a_queue_notifies_its_reader(compiled: Compile) -> None:
    source = r"""
    #include <fcntl.h>
    #include <mqueue.h>
    #include <signal.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        struct mq_attr attributes = {.mq_maxmsg = 2, .mq_msgsize = 8};
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
        mqd_t queue = mq_open("/told", O_CREAT | O_RDWR, 0600, &attributes);
        sigset_t signals;
        sigemptyset(&signals);
        sigaddset(&signals, SIGUSR1);
        sigprocmask(SIG_BLOCK, &signals, 0);
        mq_notify(queue, &event);
        if (!fork()) { mq_send(queue, "x", 1, 0); _exit(0); }
        int number;
        sigwait(&signals, &number);
        mq_getattr(queue, &attributes);
        mq_unlink("/told");
        wait(0);
        return number != SIGUSR1 || attributes.mq_curmsgs != 1;
    }
    """
    completed(explore(compiled(source, "-lrt"), 6))


def test_producers_and_consumers_that_count_wrongly_lose_a_message() -> None:
    def body() -> None:
        queue = posix_ipc.MessageQueue(
            "/jobs", posix_ipc.O_CREX, max_messages=4, max_message_size=8
        )
        reap(children(lambda: [queue.send(b"x") for _ in range(3)], queue.receive))
        queue.unlink()

    completed(explore(body, 6))


def test_two_semaphores_taken_crosswise_deadlock() -> None:
    def body() -> None:
        one = posix_ipc.Semaphore("/one", posix_ipc.O_CREX, initial_value=1)
        two = posix_ipc.Semaphore("/two", posix_ipc.O_CREX, initial_value=1)

        def take(*semaphores: posix_ipc.Semaphore) -> None:
            for semaphore in semaphores:
                semaphore.acquire()
            for semaphore in semaphores:
                semaphore.release()

        try:
            reap(children(lambda: take(one, two), lambda: take(two, one)))
        finally:
            one.unlink()
            two.unlink()

    traces = explore(body, 12)

    assert endings(traces) == {Ending.COMPLETED, Ending.STUCK}
    stuck = next(trace for trace in traces if trace.ending is Ending.STUCK)
    assert Kind.DEADLOCK in {finding.kind for finding in findings(stuck)}
    waits = {blocked.process: (blocked.object, blocked.on) for blocked in stuck.blocked}
    assert waits["P1"] == ("/two", ("P2",))
    assert waits["P2"] == ("/one", ("P1",))


def test_a_semaphore_that_is_used_before_it_is_made_is_missing() -> None:
    def body() -> None:
        def use() -> None:
            try:
                posix_ipc.Semaphore("/late")
            except posix_ipc.ExistentialError:
                os._exit(3)

        pids = children(use)
        semaphore = posix_ipc.Semaphore("/late", posix_ipc.O_CREX)
        status = os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1])
        os.write(1, b"missing" if status == 3 else b"there")
        semaphore.unlink()

    traces = [run(body, order("P1", "P0")), run(body)]

    completed(traces)
    assert [trace.output for trace in traces] == ["missing", "there"]


@pytest.mark.parametrize("removed", [True, False])
def test_a_segment_that_is_marked_for_removal_lives_on_while_it_is_mapped(removed: bool) -> None:
    def body() -> None:
        memory = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=4096)
        if removed:
            memory.remove()
        reap(children(lambda: memory.write(b"hello")))
        assert memory.read(5) == b"hello"
        memory.detach()
        if not removed:
            memory.remove()

    traces = explore(body, 3)

    completed(traces)
    assert traces[0].objects == ()
