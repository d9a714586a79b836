"""Processes that start others: whom they wait for, and what they learn from it.

`wait` gives the exit of whichever child ends first, and not of the one that was meant. With the
exit comes a status, which says whether the work was done, and which nobody has to read. And
whoever waits for a result of a child waits for ever, if nobody tells it that the child is dead.
"""

from __future__ import annotations

import concurrent.futures.process
import contextlib
import ctypes
import multiprocessing.connection
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab import Messages, scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

BUSY = 75  # exit code of a job that could not be done now (EX_TEMPFAIL of sysexits.h)
PR_SET_CHILD_SUBREAPER = 36
"""Of prctl(2), which Python has no function for."""

fork = multiprocessing.get_context("fork")


# --- The exit of another child -------------------------------------------------------------


@scenario(expects=["invariant"])
def any_child_will_do(work: float = 0.2) -> None:
    """A program goes on as if its compiler had ended, and what it compiles is not there yet.

    It happens when another child ends first, because `wait` returns whichever that is. The fix
    waits for the one that it means.
    """
    _compile_beside_another(lambda _compiler: os.wait(), work)


@scenario(fixes="any_child_will_do")
def the_child_that_is_meant(work: float = 0.2) -> None:
    """The program waits for the exit of its compiler, by its PID.

    That suffices because `waitpid` with a PID leaves the exits of other children alone. They
    stay zombies meanwhile, until somebody waits for them as well.
    """
    _compile_beside_another(lambda compiler: os.waitpid(compiler, 0), work)


def _compile_beside_another(wait: Callable[[int], object], work: float) -> None:
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "program")
        compiler = os.fork()
        if compiler == 0:
            time.sleep(work)  # compiles
            program.touch()
            os._exit(0)
        if os.fork() == 0:
            os._exit(0)  # something quick
        wait(compiler)
        is_there = program.exists()
        os.wait()
        assert is_there, "the program is to be run and is not there"


# --- A status that nobody reads ------------------------------------------------------------


@scenario(expects=["message-loss"])
def status_ignored(jobs: int = 2, work: float = 0.1) -> Messages:
    """A job is missing in the result, and nobody has noticed that it failed.

    It happens when a job finds the one licence taken and exits with a status that says so, for
    its parent waits for the exit and does not look at the status. The fix starts it again.
    """
    with tempfile.TemporaryDirectory() as directory:
        running = [_start_job(Path(directory), number, work) for number in range(jobs)]
        for pid in running:
            os.waitpid(pid, 0)
        return _done(Path(directory), jobs)


@scenario(fixes="status_ignored")
def started_again(jobs: int = 2, work: float = 0.1) -> Messages:
    """The parent looks at each status, and starts again what could not be done now.

    That suffices because a job that found the licence taken has done nothing, and says so by a
    status of its own. The second time it is alone, so that nobody has the licence.
    """
    with tempfile.TemporaryDirectory() as directory:
        running = [_start_job(Path(directory), number, work) for number in range(jobs)]
        codes = [_exit_code(pid) for pid in running]
        busy = [number for number, code in enumerate(codes) if code == BUSY]
        again = [_exit_code(_start_job(Path(directory), number, work)) for number in busy]
        assert {*codes, *again} <= {0, BUSY}, f"a job failed: {codes}, {again}"
        assert BUSY not in again, "a job found the licence taken, though it was alone"
        return _done(Path(directory), jobs)


def _start_job(directory: Path, number: int, work: float) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            (directory / "licence").open("x").close()
        except FileExistsError:
            os._exit(BUSY)
        time.sleep(work)  # does its job
        (directory / f"job {number}.done").touch()
        (directory / "licence").unlink()
        os._exit(0)
    return pid


def _exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _done(directory: Path, jobs: int) -> Messages:
    names = [f"job {number}" for number in range(jobs)]
    done = [name for name in names if (directory / f"{name}.done").exists()]
    return Messages(tuple(names), tuple(done))


@scenario(expects=["invariant"])
def exit_taken_by_a_handler(work: float = 0.05) -> None:
    """A job that failed counts as done, because its exit status is lost.

    It happens when a handler of SIGCHLD takes the exit of whatever child has ended before
    `subprocess` waits for its own: that finds no child, and takes the status for 0. The fix takes
    only the exits of the children that the handler is there for.
    """

    def reap(mine: list[int]) -> None:
        try:
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                mine[:] = [pid for pid in mine if pid != ended]
        except ChildProcessError:
            return  # there is no child left at all

    _run_beside_a_handler(reap, work)


@scenario(fixes="exit_taken_by_a_handler")
def exits_of_own_children(work: float = 0.05) -> None:
    """The handler waits for each of its own children by PID, and for no other.

    That suffices because the exit of the job is then left for `subprocess`, however late that
    asks. Who waits for any child must be the only one in the program who waits.
    """

    def reap(mine: list[int]) -> None:
        for pid in tuple(mine):
            # A second signal may interrupt the handler, and take the exit meanwhile.
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    mine.remove(pid)

    _run_beside_a_handler(reap, work)


def _run_beside_a_handler(reap: Callable[[list[int]], None], work: float) -> None:
    """Run a job that fails, while a handler waits for another child."""
    helper = os.fork()
    if helper == 0:
        os._exit(0)
    mine = [helper]
    signal.signal(signal.SIGCHLD, lambda *_: reap(mine))
    job = subprocess.Popen(["false"])
    time.sleep(work)  # without it the race is rare, not absent
    code = job.wait()
    while mine:
        time.sleep(work)  # the handler interrupts it
    assert code, "the job failed, and counts as done"


# --- A child without a parent --------------------------------------------------------------


@scenario(expects=["orphan"], may_show=["zombie"])
def forked_twice(work: float = 0.02, life: float = 0.3) -> None:
    """A job runs on when its program has ended, and nobody is left who knows of it.

    It happens because the child that has started it exits at once, so that nobody need wait for
    either. The fixes wait: for what falls to the program as a reaper, or for a child of its own.
    """
    _start_by_double_fork(life)
    time.sleep(work)  # does other things, and ends


@scenario(fixes="forked_twice")
def reaper_of_orphans(work: float = 0.02, life: float = 0.3) -> None:
    """The program declares itself the reaper of orphans among its descendants, and waits for them.

    That suffices because the kernel gives an orphan to the nearest ancestor that has declared so.
    Supervisors do that, and containers need it of their process 1.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    _start_by_double_fork(life)
    time.sleep(work)  # does other things
    os.wait()


@scenario(fixes="forked_twice")
def forked_once_into_a_session(work: float = 0.02, life: float = 0.3) -> None:
    """The job is a child of the program's own, in a session of its own, and is waited for.

    That suffices because a session keeps the terminal's signals away as well as a second fork
    does. The program still learns when and how the job has ended.
    """
    job = os.fork()
    if job == 0:
        os.setsid()
        time.sleep(life)  # does its job
        os._exit(0)
    time.sleep(work)  # does other things
    os.waitpid(job, 0)


def _start_by_double_fork(life: float) -> None:
    between = os.fork()
    if between == 0:
        if os.fork() == 0:
            time.sleep(life)  # does its job
        os._exit(0)
    os.waitpid(between, 0)


# --- A worker that dies --------------------------------------------------------------------


@scenario(expects=["hang"], may_show=["zombie"])
def worker_dies_unheard(workers: int = 2) -> None:
    """A program waits for ever for the result of a worker that is dead.

    It happens because all results come through one pipe, whose writing end the program has open
    itself: what a dead worker does not write is no end. The fix gives each worker its own pipe.
    """
    receiving, sending = fork.Pipe(duplex=False)
    pool = [_start_worker(sending, number) for number in range(workers)]
    results = [receiving.recv() for _ in pool]
    for worker in pool:
        worker.join()
    assert len(results) == workers


@scenario(fixes="worker_dies_unheard")
def pipe_for_each_worker(workers: int = 2) -> None:
    """Each worker writes its result to a pipe of its own, which only it has open for writing.

    That suffices because the pipe then ends with the worker, whatever it died of, and the reader
    gets an EOFError where the result would be. `concurrent.futures` watches its workers so too.
    """
    pool = []
    for number in range(workers):
        receiving, sending = fork.Pipe(duplex=False)
        pool.append((_start_worker(sending, number), receiving))
        sending.close()
    results = []
    for worker, receiving in pool:
        try:
            results.append(receiving.recv())
        except EOFError:
            results.append(f"{worker.name} is dead")
        worker.join()
    assert len(results) == workers


@scenario(fixes="worker_dies_unheard")
def sentinels_watched(workers: int = 2) -> None:
    """The program waits for a result and for the end of any worker at once.

    That suffices because a sentinel is ready as soon as its worker has ended, whatever it died
    of. What the others have sent is still in the pipe then, and is taken first.
    """
    receiving, sending = fork.Pipe(duplex=False)
    pool = [_start_worker(sending, number) for number in range(workers)]
    living = {worker.sentinel: worker for worker in pool}
    results = []
    while living:
        ready = multiprocessing.connection.wait([receiving, *living])
        if receiving in ready:
            results.append(receiving.recv())
            continue
        for worker in [living.pop(sentinel) for sentinel in living.keys() & ready]:
            worker.join()
            if worker.exitcode:
                results.append(f"{worker.name} is dead")
    assert len(results) == workers


def _start_worker(sending: Connection, number: int) -> ForkProcess:
    def work() -> None:
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
        sending.send(f"result {number}")

    worker = fork.Process(target=work)
    worker.start()
    return worker


@scenario(expects=["deadlock"])
def pool_waits_for_a_dead_worker(workers: int = 2) -> None:
    """`multiprocessing.Pool` waits for ever for a result when a worker is killed at its task.

    It happens because the pool starts another worker in its place, but nobody does the task that
    is gone. The fix takes a pool that looks after its workers.
    """
    with fork.Pool(workers) as pool:
        results = pool.map(_square, range(workers), chunksize=1)
    assert results


@scenario(fixes="pool_waits_for_a_dead_worker")
def executor_notices_a_dead_worker(workers: int = 2) -> None:
    """`concurrent.futures` fails all that is waited for, by a BrokenProcessPool.

    That suffices because its executor watches the workers beside the results. Whoever gets the
    exception can start the tasks again in a new pool.
    """
    try:
        with concurrent.futures.ProcessPoolExecutor(workers, mp_context=fork) as pool:
            list(pool.map(_square, range(workers)))
    except concurrent.futures.process.BrokenProcessPool:
        return
    raise AssertionError("the pool did not notice that a worker was dead")


def _square(number: int) -> int:
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
    return number * number
