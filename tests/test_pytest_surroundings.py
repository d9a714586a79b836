"""Tests under control whose wider fixtures made IPC objects and files that the runs change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.two_children import BOTH

pytestmark = pytest.mark.usefixtures("control")

FIXTURES = (
    """
import os
import posix_ipc
import pytest
import sysv_ipc

NAME = f"/lab-{os.getpid()}"
"""
    + BOTH
    + """

@pytest.fixture(scope="session")
def segment():
    segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=8)
    segment.write(b"segment ")
    yield segment.id
    assert segment.read() == b"segment "
    segment.remove()


@pytest.fixture(scope="module")
def semaphores():
    made = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=5)
    yield made
    assert made.value == 5
    made.remove()


@pytest.fixture(scope="module")
def letters():
    made = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
    made.send(b"second type", type=2)
    made.send(b"first type", type=1)
    yield made
    assert made.receive() == (b"second type", 2)
    assert made.receive() == (b"first type", 1)
    made.remove()


@pytest.fixture(scope="class")
def memory():
    made = posix_ipc.SharedMemory(NAME, posix_ipc.O_CREX, size=8)
    os.pwrite(made.fd, b"memory  ", 0)
    yield made
    assert os.pread(made.fd, 8, 0) == b"memory  "
    made.close_fd()
    made.unlink()


@pytest.fixture(scope="package")
def semaphore():
    made = posix_ipc.Semaphore(NAME, posix_ipc.O_CREX, initial_value=3)
    yield made
    assert made.value == 3
    made.unlink()


@pytest.fixture(scope="session")
def queue():
    made = posix_ipc.MessageQueue(NAME, posix_ipc.O_CREX, max_messages=2, max_message_size=8)
    made.send(b"low", priority=1)
    made.send(b"high", priority=9)
    yield made
    assert made.receive() == (b"high", 9)
    assert made.receive() == (b"low", 1)
    made.close()
    made.unlink()


@pytest.fixture(scope="session")
def file():
    with open("file", "w") as made:
        made.write("file")
    yield "file"
    with open("file") as made:
        assert made.read() == "file"


@pytest.fixture(scope="session")
def temporary(tmp_path_factory):
    path = tmp_path_factory.mktemp("wide") / "file"
    path.write_text("temporary")
    yield path
    assert path.read_text() == "temporary"
"""
)
CHANGES = """

class TestIt:
    @pytest.mark.race(strategy="random", schedules=4)
    def test_it(
        self, segment, semaphores, letters, memory, semaphore, queue, file, temporary
    ):
        attached = sysv_ipc.attach(segment)
        assert attached.read() == b"segment "
        assert semaphores.value == 5
        assert semaphore.value == 3
        assert os.pread(memory.fd, 8, 0) == b"memory  "
        with open("file") as text:
            assert text.read() == "file"
        assert temporary.read_text() == "temporary"

        def change():
            attached.write(b"changed ")
            semaphores.acquire()
            semaphore.release()
            letters.receive()
            queue.receive()
            os.pwrite(memory.fd, b"changed ", 0)
            with open("file", "w") as text:
                text.write("changed")
            temporary.unlink(missing_ok=True)

        both(change)
        posix_ipc.SharedMemory(NAME).close_fd()
"""


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_it=FIXTURES + source)
    return pytester.runpytest("-p", "no:cacheprovider", *options)


def test_each_run_finds_what_wider_fixtures_made_as_the_first_did(
    pytester: pytest.Pytester,
) -> None:
    junit = pytester.path / "junit.xml"

    run(pytester, CHANGES, f"--junitxml={junit}").assert_outcomes(passed=1)

    assert 'value="passed, 4 runs"' in junit.read_text()


@pytest.mark.parametrize(
    ("fixture", "work"),
    [
        ("semaphores", "semaphores.remove() if semaphores.id else None"),
        ("memory", "os.path.exists('/dev/shm' + NAME) and posix_ipc.unlink_shared_memory(NAME)"),
    ],
)
def test_what_cannot_be_put_back_is_an_error(
    pytester: pytest.Pytester, fixture: str, work: str
) -> None:
    source = f"""

class TestIt:
    @pytest.mark.race(schedules=2)
    def test_it(self, {fixture}):
        both(lambda: os.path.exists("/tmp/any"))
        {work}
"""

    result = run(pytester, source)

    result.stdout.fnmatch_lines(["*ERROR *test_it.py::*test_it *"])
    told = " ".join(result.stdout.str().split())
    assert "was made by a wider fixture and cannot be put back" in told
    assert "make it in a fixture of function scope" in told


def test_what_a_run_makes_beside_them_is_its_leak_and_is_removed(pytester: pytest.Pytester) -> None:
    source = """

class TestIt:
    @pytest.mark.race(schedules=2)
    def test_it(self, memory):
        both(lambda: os.pread(memory.fd, 8, 0))
        posix_ipc.Semaphore(NAME + "-left", posix_ipc.O_CREX)
"""

    result = run(pytester, source)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*LEAK *test_it.py::*test_it *", "*posix-sem*/lab-*-left*"])
    assert not list(Path("/dev/shm").glob("*lab-*-left"))


def test_a_program_explored_by_hand_has_the_tests_own_fixtures_around_it(
    pytester: pytest.Pytester,
) -> None:
    source = """

@pytest.fixture
def value():
    made = posix_ipc.SharedMemory(NAME, posix_ipc.O_CREX, size=8)
    made.close_fd()
    yield
    posix_ipc.unlink_shared_memory(NAME)


def add():
    memory = posix_ipc.SharedMemory(NAME)
    assert os.pread(memory.fd, 1, 0) in (b"\\0", b"\\1")

    def count():
        before = os.pread(memory.fd, 1, 0)[0]
        os.pwrite(memory.fd, bytes([before + 1]), 0)

    both(count)


def test_it(value, race):
    race.explore(add, schedules=5).assert_finds("lost-update")
"""

    run(pytester, source).assert_outcomes(passed=1)
