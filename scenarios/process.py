"""Processes that start others: whom they wait for, and what they learn from it.

`wait` gives the exit of whichever child ends first, and not of the one that was meant. With the
exit comes a status, which says whether the work was done, and which nobody has to read. And
whoever waits for a result of a child waits for ever, if nobody tells it that the child is dead.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
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

fork = multiprocessing.get_context("fork")


# --- The exit of another child -------------------------------------------------------------


@scenario(expects=["invariant"])
def any_child_will_do(work: float = 0.06) -> None:
    """A program goes on as if its compiler had ended, and what it compiles is not there yet.

    It happens when another child ends first, because `wait` returns whichever that is. The fix
    waits for the one that it means.
    """
    _compile_beside_another(lambda _compiler: os.wait(), work)


@scenario(fixes="any_child_will_do")
def the_child_that_is_meant(work: float = 0.06) -> None:
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
            time.sleep(work)
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
def status_ignored(jobs: int = 2, work: float = 0.02) -> Messages:
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
def started_again(jobs: int = 2, work: float = 0.02) -> Messages:
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
        time.sleep(work)
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


def _start_worker(sending: Connection, number: int) -> ForkProcess:
    def work() -> None:
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
        sending.send(f"result {number}")

    worker = fork.Process(target=work)
    worker.start()
    return worker
