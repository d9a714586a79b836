"""Proofs over real processes: as many runs as there are traces, and nothing left out."""

from __future__ import annotations

import errno
import fcntl
import functools
import mmap
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Hashable

import posix_ipc
import pytest

import lab
from lab import Tally
from lab.finding import Kind, Verdict
from lab.run.control import Runner, in_controller
from lab.run.limits import Limits
from lab.run.root import Function
from lab.search.dependence import Footprint, Footprints, dependent, process_of
from lab.search.random import Random
from lab.trace import Ending, Trace
from scenarios import counter
from tests.run.control.controlled import proved

Body = Callable[[], Tally | None]


pytestmark = pytest.mark.usefixtures("control")


def _trace_class(trace: Trace) -> Hashable:
    """What runs have in common that differ only in the order of independent steps."""
    footprints, counts = Footprints(), dict[str, int]()
    names, order = list[tuple[str, int]](), set[tuple[tuple[str, int], tuple[str, int]]]()
    known: list[tuple[tuple[str, int], Footprint]] = []
    for event in trace.events:
        counts[event.process] = counts.get(event.process, 0) + 1
        name, footprint = (event.process, counts[event.process]), footprints.follow(event)
        order.update((other, name) for other, its in known if dependent(its, footprint))
        known.append((name, footprint))
        names.append(name)
    return (frozenset(names), frozenset(order))


def _at_random(body: Body, runs: int) -> list[Trace]:
    def work(runner: Runner, _report: Callable[[object], None]) -> list[Trace]:
        strategy, traces = Random(0), []
        for _ in range(runs):
            strategy.begin()
            traces.append(runner.run(strategy.choose, max_steps=1000))
        return traces

    return in_controller(work, Function("chance", body), Limits())


def _results(traces: list[Trace]) -> set[int]:
    return {trace.tally.actual for trace in traces if isinstance(trace.tally, Tally)}


@pytest.mark.parametrize("guarded", [counter.posix_guarded, counter.sysv_guarded])
@pytest.mark.parametrize(("writers", "increments", "orders"), [(2, 3, 20), (3, 2, 90)])
def test_a_guarded_counter_takes_one_run_for_each_order_of_its_lock(
    guarded: Callable[..., Tally], writers: int, increments: int, orders: int
) -> None:
    body = functools.partial(guarded, writers=writers, increments=increments, window=0.0)
    dpor, traces = proved(body)

    assert (dpor.executions, dpor.redundant, dpor.exhausted) == (orders, 0, True)
    assert len({_trace_class(trace) for trace in traces}) == orders
    assert _results(traces) == {writers * increments}


def test_exploring_says_what_isproved() -> None:
    body = functools.partial(counter.posix_guarded, writers=2, increments=2, window=0.0)
    result = lab.explore(body, strategy="dpor", schedules=50)

    assert result.verdict is Verdict.PROVED
    assert result.runs == 6
    assert "every order of dependent steps" in result.reason


def test_an_unguarded_counter_is_notproved() -> None:
    body = functools.partial(counter.posix_unguarded, writers=2, increments=1, window=0.0)
    result = lab.explore(body, strategy="dpor", schedules=50)

    assert result.verdict is Verdict.FAILED
    assert Kind.LOST_UPDATE in {finding.kind for finding in result.findings}


# --- Small programs ------------------------------------------------------------------------


def _cell() -> memoryview[int]:
    return memoryview(mmap.mmap(-1, 4096)).cast("i")


def _children(*works: Callable[[], object]) -> list[int]:
    children = []
    for work in works:
        child = os.fork()
        if child == 0:
            work()
            os._exit(0)
        children.append(child)
    return children


def _join(children: list[int]) -> None:
    for child in children:
        os.waitpid(child, 0)


def tried_lock() -> Tally:
    """multiprocessing.Lock tries before it waits."""
    cell, lock = _cell(), multiprocessing.get_context("fork").Lock()

    def work() -> None:
        for _ in range(2):
            with lock:
                cell[0] += 1

    _join(_children(work, work))
    return Tally(4, cell[0])


def order_of_holders(first: str) -> Tally:
    """A consumer that is wrong if it takes the lock before the producer."""
    cell, lock = _cell(), posix_ipc.Semaphore("/order", posix_ipc.O_CREX, initial_value=1)

    def produce() -> None:
        with lock:
            cell[0] = 1

    def consume() -> None:
        with lock:
            cell[1] = 1 - cell[0]

    _join(_children(*((produce, consume) if first == "producer" else (consume, produce))))
    lock.unlink()
    return Tally(0, cell[1])


def end_of_file() -> Tally:
    """A pipe whose end comes when both writers have ended."""
    reader, writer = os.pipe()
    children = _children(lambda: os.write(writer, b"a"), lambda: os.write(writer, b"b"))
    os.close(writer)
    got = b""
    while part := os.read(reader, 8):
        got += part
    _join(children)
    return Tally(0, int.from_bytes(got, "big"))


def file_lock() -> Tally:
    """flock, which can only be tried."""
    cell = _cell()
    path = f"{os.environ.get('TMPDIR', '/tmp')}/file-lock"
    os.close(os.open(path, os.O_CREAT | os.O_RDWR))

    def work() -> None:
        file = os.open(path, os.O_RDWR)
        fcntl.flock(file, fcntl.LOCK_EX)
        cell[0] += 1
        fcntl.flock(file, fcntl.LOCK_UN)

    _join(_children(work, work))
    os.unlink(path)
    return Tally(2, cell[0])


def bounded_queue() -> Tally:
    """A queue with room for one message."""
    cell = _cell()
    queue = posix_ipc.MessageQueue("/q", posix_ipc.O_CREX, max_messages=1, max_message_size=4)

    def receive() -> None:
        for _ in range(3):
            cell[0] = cell[0] * 4 + queue.receive()[0][0] - ord("a")

    def send(text: bytes) -> None:
        for letter in text:
            queue.send(bytes([letter]))

    _join(_children(receive, lambda: send(b"ab"), lambda: send(b"c")))
    queue.close()
    queue.unlink()
    return Tally(0, cell[0])


def any_child() -> Tally:
    """Which of two children is waited for first."""
    children = _children(lambda: None, lambda: None)
    first, _ = os.wait()
    os.wait()
    return Tally(0, children.index(first))


def looked_for_child() -> Tally:
    """A look whether a child has ended, which finds that or not."""
    (child,) = _children(lambda: None)
    time.sleep(1)  # in the first run the child has ended
    found, _ = os.waitpid(child, os.WNOHANG)
    if not found:
        os.waitpid(child, 0)
    return Tally(0, found // child)


def terminated() -> Tally:
    """A signal that ends its receiver somewhere."""
    cell = _cell()

    def count() -> None:
        for number in range(1, 4):
            cell[0] = number

    (child,) = _children(count)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    return Tally(0, cell[0])


def handled() -> Tally:
    """A signal whose handler comes somewhere between two writes."""
    cell = _cell()

    def double(_number: int, _frame: object) -> None:
        cell[0] *= 2

    def put(value: int) -> None:  # the interpreter runs handlers when it calls a function
        cell[0] = value

    signal.signal(signal.SIGUSR1, double)
    parent = os.getpid()
    children = _children(lambda: os.kill(parent, signal.SIGUSR1))
    put(1)
    put(3)
    _join(children)
    return Tally(0, cell[0])


def executed() -> Tally:
    """A program that is executed before it is there, while it is written, or after."""
    path = f"{os.environ.get('TMPDIR', '/tmp')}/program"

    def make() -> None:
        file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o755)
        os.write(file, b"#!/bin/sh\nexit 3\n")

    def execute() -> None:
        try:
            os.execv(path, [path])
        except OSError as refused:
            os._exit(refused.errno or 0)

    maker, child = _children(make, execute)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    _join([maker])
    return Tally(0, code)


def overwritten() -> Tally:
    """A program that is opened for writing before, while, or after another process executes it."""
    cell, path = _cell(), f"{os.environ.get('TMPDIR', '/tmp')}/program"
    shutil.copy("/bin/true", path)

    def overwrite() -> None:
        try:
            os.open(path, os.O_WRONLY)
        except OSError as refused:
            cell[0] = refused.errno or 0

    def execute() -> None:
        try:
            os.execv(path, [path])
        except OSError as refused:
            cell[1] = refused.errno or 0

    _join(_children(overwrite, execute))
    return Tally(0, 100 * cell[0] + cell[1])


def opposite_locks() -> None:
    """Two locks in opposite order."""
    one, other = (
        posix_ipc.Semaphore(name, posix_ipc.O_CREX, initial_value=1) for name in ("/one", "/other")
    )

    def take(first: posix_ipc.Semaphore, second: posix_ipc.Semaphore) -> None:
        with first, second:
            pass

    _join(_children(lambda: take(one, other), lambda: take(other, one)))
    one.unlink()
    other.unlink()


def limited_wait() -> Tally:
    """A wait with a time limit, that a third process's sleep brings about."""
    cell, semaphore = _cell(), posix_ipc.Semaphore("/limited", posix_ipc.O_CREX, initial_value=0)

    def wait() -> None:
        try:
            semaphore.acquire(0.05)
        except posix_ipc.BusyError:
            cell[0] = 1

    _join(_children(wait, semaphore.release, lambda: time.sleep(1)))
    semaphore.unlink()
    return Tally(0, cell[0])


SMALL: dict[str, tuple[Body, set[int]]] = {
    "tried lock": (tried_lock, {4}),
    "end of file": (end_of_file, {0x6162, 0x6261}),
    "file lock": (file_lock, {2}),
    "bounded queue": (bounded_queue, {0b000110, 0b001001, 0b100001}),
    "executed": (executed, {3, errno.ENOENT, errno.ETXTBSY}),
    "overwritten": (overwritten, {0, 100 * errno.ETXTBSY, errno.ETXTBSY}),
    "any child": (any_child, {0, 1}),
    "looked for child": (looked_for_child, {0, 1}),
    "terminated": (terminated, {0, 1, 2, 3}),
    "handled": (handled, {3, 6}),
    "limited wait": (limited_wait, {0, 1}),
}


@pytest.mark.parametrize("name", SMALL)
def test_no_trace_is_left_out_and_none_is_run_twice(name: str) -> None:
    body, results = SMALL[name]
    dpor, traces = proved(body)
    classes = [_trace_class(trace) for trace in traces]

    assert dpor.exhausted
    assert len(set(classes)) == len(classes) == dpor.executions
    assert _results(traces) == results
    assert {_trace_class(trace) for trace in _at_random(body, 25)} <= set(classes)


def test_a_lock_that_is_tried_first_has_more_traces() -> None:
    dpor, _ = proved(tried_lock)

    assert dpor.executions == 34
    assert dpor.redundant <= 5


@pytest.mark.parametrize("first", ["producer", "consumer"])
def test_the_holder_that_must_not_come_first_does_so_soon(first: str) -> None:
    dpor, traces = proved(functools.partial(order_of_holders, first))
    wrong = [_results([trace]) == {1} for trace in traces]

    assert dpor.executions == 2
    assert any(wrong)


def test_a_deadlock_is_one_of_three_traces() -> None:
    dpor, traces = proved(opposite_locks)

    assert dpor.executions == 3
    assert sum(trace.ending is Ending.STUCK for trace in traces) == 1


def test_no_process_takes_part_that_the_program_does_not_know() -> None:
    """The count above is of the program's own steps: whoever moves was born in the run."""
    _, traces = proved(any_child)

    assert {process_of(event.process) for trace in traces for event in trace.events} == {
        "P0",
        "P1",
        "P2",
    }
