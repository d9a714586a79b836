"""multiprocessing as its users write it: every start method, and what its processes share."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import pytest

from lab.detect import findings
from lab.finding import Kind
from lab.run.root import Command
from lab.trace import Action, Tally, Trace
from tests.forked import in_child
from tests.run.control.controlled import completed, explore, outputs, steps

FORK = multiprocessing.get_context("fork")


def test_a_pool_maps() -> None:
    def body() -> None:
        with FORK.Pool(2) as pool:
            assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]

    completed(explore(body, 4))


def test_a_queue_hands_over_in_order() -> None:
    def body() -> None:
        queue = FORK.Queue()

        def put() -> None:
            for item in range(3):
                queue.put(item)

        child = FORK.Process(target=put)
        child.start()
        assert [queue.get() for _ in range(3)] == [0, 1, 2]
        child.join()

    completed(explore(body, 6))


def add(value: Any, lock: Any, times: int) -> None:
    for _ in range(times):
        with lock:
            value.value += 1


def tally(lock: Any) -> Tally:
    value = FORK.Value("i", 0, lock=False)
    children = [FORK.Process(target=add, args=(value, lock, 2)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return Tally(4, value.value)


class Nothing:
    def __enter__(self) -> None:
        """Guard nothing."""

    def __exit__(self, *_: object) -> None:
        """Guard nothing."""


def test_a_value_without_a_lock_loses_updates() -> None:
    traces = explore(lambda: tally(Nothing()), 12)

    completed(traces)
    assert {trace.tally for trace in traces} > {Tally(4, 4)}
    assert any(Kind.LOST_UPDATE in {f.kind for f in findings(trace)} for trace in traces)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore"])
def test_a_lock_keeps_every_update(kind: str) -> None:
    traces = explore(lambda: tally(getattr(FORK, kind)()), 12)

    completed(traces)
    assert {trace.tally for trace in traces} == {Tally(4, 4)}
    assert all(not findings(trace) for trace in traces)


def nested() -> None:
    def leaf() -> None:
        pass

    def start(target: Callable[[], None], times: int) -> None:
        children = [FORK.Process(target=target) for _ in range(times)]
        for child in children:
            child.start()
        for child in children:
            child.join()

    start(lambda: start(leaf, 3), 3)


def test_children_come_in_the_same_order_beside_any_heap() -> None:
    def beside(pieces: int) -> list[Trace]:
        junk: list[object] = [bytes(16 + number % 480) for number in range(pieces)]
        junk[::3] = [None] * len(junk[::3])
        return explore(nested, 1, repeats=1)

    traces = [in_child(partial(beside, pieces)) for pieces in (0, 100, 3_000, 100_000)]

    completed([trace for each in traces for trace in each])
    assert traces == traces[:1] * 4


def bump(name: str) -> None:
    memory = shared_memory.SharedMemory(name)
    assert memory.buf is not None
    memory.buf[0] += 1
    memory.close()


def test_shared_memory_by_name_is_one_object() -> None:
    def body() -> Tally:
        memory = shared_memory.SharedMemory(create=True, size=64, name="tally")
        assert memory.buf is not None
        memory.buf[0] = 0
        children = [FORK.Process(target=bump, args=("tally",)) for _ in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        total = memory.buf[0]
        memory.close()
        memory.unlink()
        return Tally(2, total)

    traces = explore(body, 8)

    completed(traces)
    assert {trace.tally for trace in traces} == {Tally(2, 1), Tally(2, 2)}
    writers = {event.process for event in steps(traces[0], Action.WRITE, of="posix-shm:/tally")}
    assert len(writers) == 3


def test_an_event_and_a_barrier_and_a_condition_release_their_waiters() -> None:
    def body() -> None:
        event, barrier, condition = FORK.Event(), FORK.Barrier(2), FORK.Condition()

        def child() -> None:
            event.wait()
            barrier.wait()
            with condition:
                condition.notify()

        process = FORK.Process(target=child)
        process.start()
        event.set()
        with condition:
            barrier.wait()
            assert condition.wait(5)
        process.join()
        assert process.exitcode == 0

    completed(explore(body, 6))


SCRIPT = """
import multiprocessing, sys
def work(lock, value, queue):
    with lock:
        value.value += 1
    queue.put(value.value)
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    lock, value, queue = context.Lock(), context.Value("i", 0), context.SimpleQueue()
    children = [context.Process(target=work, args=(lock, value, queue)) for _ in range(2)]
    for child in children: child.start()
    for child in children: child.join()
    print(value.value, [child.exitcode for child in children])
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_start_methods_run_as_a_script_does(tmp_path: Path, method: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(SCRIPT)

    command = Command((sys.executable, str(script), method))
    traces = explore(command, 2, repeats=3, seconds=60, max_steps=100_000)

    completed(traces)
    assert outputs(traces) == {"2 [0, 0]\n"}
    assert all(not findings(trace) for trace in traces)
    helpers = [process.command for process in traces[0].processes if process.helper]
    assert any("resource_tracker" in command for command in helpers)


def test_a_worker_that_is_killed_leaves_its_lock_taken() -> None:
    def body() -> None:
        lock, taken = FORK.Lock(), FORK.Event()

        def holder() -> None:
            lock.acquire()
            taken.set()
            FORK.Event().wait()

        process = FORK.Process(target=holder)
        process.start()
        taken.wait()
        process.kill()
        process.join()
        assert process.exitcode == -9
        assert not lock.acquire(timeout=3600)
        os.write(1, b"never released")

    traces = explore(body, 5)

    completed(traces)
    assert outputs(traces) == {"never released"}
