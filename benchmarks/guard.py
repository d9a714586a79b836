"""What the guard costs: the same suite with it and without it, in pairs, in one run.

    python -m benchmarks.guard

Empty tests show its cost for each test and at start-up. A clean suite that uses processes, sockets,
threads and shared memory as they are meant to be used shows whether it blames anybody for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

TIMER = """
import json, time
import pytest

reached = []
spent = []

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call():
    if not reached:
        reached.append(time.perf_counter())

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    start = time.thread_time()
    result = yield
    spent.append(time.thread_time() - start)
    return result

def pytest_unconfigure():
    with open("spent.json", "w") as file:
        json.dump([*reached, spent], file)
"""

CLEAN = """
import asyncio, concurrent.futures, fcntl, multiprocessing, os, queue, signal, socket, subprocess
import sys, tempfile, threading
from multiprocessing import shared_memory

import pytest

NUMBERS = range({each})


@pytest.mark.parametrize("number", NUMBERS)
def test_files(tmp_path, number):
    with (tmp_path / "file").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("x")
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place + "/socket")
    os.mkfifo(tmp_path / "fifo")


@pytest.mark.parametrize("number", NUMBERS)
def test_programs(number):
    assert subprocess.run(["true"]).returncode == 0
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.communicate(b"x") == (b"x", None)


@pytest.mark.parametrize("number", NUMBERS)
def test_forks(number):
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, b"x")
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 2) == b"x"
    os.close(reader)
    os.waitpid(child, 0)


def double(queue, value):
    with value.get_lock():
        value.value += 1
    queue.put(2)


@pytest.mark.parametrize("number", NUMBERS)
def test_multiprocessing(number):
    context = multiprocessing.get_context("fork")
    results, value = context.Queue(), context.Value("i", 0)
    workers = [context.Process(target=double, args=(results, value)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=20) for _ in workers] == [2, 2]
    for worker in workers:
        worker.join()
    results.close()
    results.join_thread()
    assert value.value == 2


@pytest.mark.parametrize("number", NUMBERS)
def test_spawned(number):
    if number % 10:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            assert list(pool.map(abs, [-1, -2])) == [1, 2]
    else:
        context = multiprocessing.get_context(["spawn", "forkserver"][number // 10 % 2])
        with context.Pool(1) as pool:
            assert pool.map(abs, [-1]) == [1]
            pool.close()
            pool.join()


@pytest.mark.parametrize("number", NUMBERS)
def test_shared_memory(number):
    memory = shared_memory.SharedMemory(create=True, size=100)
    try:
        memory.buf[0] = 1
    finally:
        memory.close()
        memory.unlink()


@pytest.mark.parametrize("number", NUMBERS)
def test_sockets(number):
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            accepted, _ = server.accept()
            with accepted:
                client.sendall(b"x")
                assert accepted.recv(1) == b"x"


@pytest.mark.parametrize("number", NUMBERS)
def test_threads(number):
    work = queue.Queue()
    thread = threading.Thread(target=lambda: work.put(1))
    thread.start()
    assert work.get() == 1
    thread.join()


@pytest.mark.parametrize("number", NUMBERS)
def test_event_loops(number):
    async def both():
        process = await asyncio.create_subprocess_exec("true")
        await asyncio.gather(process.wait(), asyncio.to_thread(int), asyncio.sleep(0))

    asyncio.run(both())


@pytest.mark.parametrize("number", NUMBERS)
def test_signals(number):
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
"""


class Session(NamedTuple):
    """What one took."""

    start: float
    """Seconds until its first test was called."""
    whole: float
    """Seconds until it had ended."""
    tests: list[float]
    """CPU seconds of each test."""
    output: str


def run(place: Path, *options: str) -> Session:
    """Run a session."""
    # Without bytecode each session would compile the guard anew.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYT")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "timer"]
    began = time.perf_counter()
    session = subprocess.run(
        [*command, *options],
        cwd=place,
        env=inherited | {"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    assert session.returncode == 0, session.stdout + session.stderr
    reached, tests = json.loads((place / "spent.json").read_text())
    return Session(reached - began, seconds, tests, session.stdout)  # one clock for all processes


def suite(text: str) -> tempfile.TemporaryDirectory[str]:
    """A directory with one test file, and what measures."""
    place = tempfile.TemporaryDirectory(prefix="lab-benchmark-")
    Path(place.name, "timer.py").write_text(TIMER)
    Path(place.name, "test_it.py").write_text(text)
    return place


def cost_of_a_test(tests: int, pairs: int) -> float:
    """Milliseconds that the guard adds at the median; pairs one after the other, in turn."""
    empty = f"import pytest\n@pytest.mark.parametrize('n', range({tests}))\ndef test_it(n): pass\n"
    added = []
    with suite(empty) as place:
        for _ in range(pairs):
            without, with_it = run(Path(place)), run(Path(place), "--lab-guard=error")
            bare, guarded = statistics.median(without.tests), statistics.median(with_it.tests)
            added.append((guarded - bare) * 1000)
            print(
                f"  {tests} empty tests: {bare * 1000:.3f} ms each, {guarded * 1000:.3f} ms under "
                f"the guard: {added[-1]:.3f} ms more, {guarded / bare:.2f} times"
            )
    return statistics.median(added)


def cost_of_a_session(pairs: int) -> tuple[float, float]:
    """Milliseconds that the guard adds before the first test, and to all, at the medians.

    Of a session with one test that does nothing. What comes after that test is mostly a wait for
    the kernel, which lets go of a fanotify group in its own time.
    """
    starts, wholes = [], []
    with suite("def test_it(): pass\n") as place:
        run(Path(place), "--lab-guard=error")  # the first one writes bytecode
        for _ in range(pairs):
            without, with_it = run(Path(place)), run(Path(place), "--lab-guard=error")
            starts.append((with_it.start - without.start) * 1000)
            wholes.append((with_it.whole - without.whole) * 1000)
    return statistics.median(starts), statistics.median(wholes)


def clean(tests: int) -> str:
    """What the guard says of a suite that leaves nothing behind."""
    with suite(CLEAN.format(each=tests // 10)) as place:
        without, with_it = run(Path(place)), run(Path(place), "--lab-guard=warn")
    (told,) = (line for line in with_it.output.splitlines() if " left" in line and " test" in line)
    print(f"  {told}; {without.whole:.1f} s without the guard, {with_it.whole:.1f} s with it")
    return told


def main() -> None:
    """Measure all, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=5000)
    parser.add_argument("--clean", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    print(f"cost at the median: {cost_of_a_test(given.tests, given.pairs):.3f} ms a test")
    start, whole = cost_of_a_session(4 * given.pairs)
    print(f"start-up: {start:.0f} ms; a whole session: {whole:.0f} ms")
    print(f"clean suite: {clean(given.clean)}")


if __name__ == "__main__":
    main()
