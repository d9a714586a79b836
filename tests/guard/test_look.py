"""A look shows what is new, each sort in its place, and nothing where nothing is."""

from __future__ import annotations

import _thread
import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import posix_ipc
import pytest
import sysv_ipc

from lab.guard import look as looking
from lab.guard.births import Births
from lab.guard.look import Look, Looker
from lab.kernel.queue_list import queue_directory
from tests.forked import in_child


@pytest.fixture
def looker(births: Births, tmp_path: Path) -> Iterator[Looker]:
    (tmp_path / "watched").mkdir()
    looker = Looker(births, (str(tmp_path / "watched"),), queue_directory())
    yield looker
    looker.close()


@contextmanager
def _pipe(_: Path) -> Iterator[None]:
    pair = os.pipe()
    yield
    for each in pair:
        os.close(each)


@contextmanager
def _child(_: Path) -> Iterator[None]:
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    yield
    os.waitpid(pid, 0)


@contextmanager
def _child_that_is_gone(_: Path) -> Iterator[None]:
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    yield


@contextmanager
def _thread_of_threading(_: Path) -> Iterator[None]:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield
    end.set()
    thread.join()


@contextmanager
def _raw_thread(_: Path) -> Iterator[None]:
    begun, end = _thread.allocate_lock(), _thread.allocate_lock()
    begun.acquire()
    end.acquire()

    def wait() -> None:
        begun.release()
        end.acquire()

    _thread.start_new_thread(wait, ())
    begun.acquire()
    yield
    end.release()


@contextmanager
def _handler(_: Path) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGUSR1, before)


@contextmanager
def _queue(_: Path) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root lists POSIX queues wherever they are mounted, or not")
    name = f"/guard-look-{os.getpid()}"
    posix_ipc.MessageQueue(name, posix_ipc.O_CREX, max_messages=1, max_message_size=1).close()
    yield
    posix_ipc.unlink_message_queue(name)


@contextmanager
def _sysv(_: Path) -> Iterator[None]:
    made = [
        sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX),
        sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX),
    ]
    yield
    for each in made:
        each.remove()


@contextmanager
def _fifo(place: Path) -> Iterator[None]:
    os.mkfifo(place / "fifo")
    yield
    os.unlink(place / "fifo")


MAKERS: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "descriptors": _pipe,
    "children": _child,
    "reaped": _child_that_is_gone,
    "handlers": _handler,
    "sysv": _sysv,
    "queues": _queue,
    "places": _fifo,
}


@pytest.mark.parametrize("field", MAKERS)
def test_what_is_new_is_in_its_field_while_it_is_there(
    looker: Looker, tmp_path: Path, field: str
) -> None:
    def seen() -> object:
        now = getattr(looker(), field)
        return now[1:] if field == "places" else now  # others use shared memory as well

    before = seen()
    with MAKERS[field](tmp_path / "watched"):
        assert seen() != before
    if field not in {"reaped", "sysv", "queues"}:
        assert seen() == before


@pytest.mark.parametrize(
    ("make", "known"), [(_thread_of_threading, True), (_raw_thread, False)], ids=["known", "raw"]
)
def test_a_thread_is_seen_and_counted_whether_threading_knows_it_or_not(
    looker: Looker,
    tmp_path: Path,
    make: Callable[[Path], AbstractContextManager[None]],
    known: bool,
) -> None:
    def seen() -> tuple[bool, int]:
        threads, tasks = looker().threads, looking.tasks()
        with make(tmp_path):
            (new,) = looker().threads - threads
            return new > 0, looking.tasks() - tasks

    # In a child that has no other: a thread that was joined is there for some moments more.
    assert in_child(seen) == (known, 1)


def test_another_thing_behind_the_same_number_is_new(looker: Looker, tmp_path: Path) -> None:
    number = os.open(tmp_path / "first", os.O_CREAT)
    before = looker().descriptors
    os.close(number)
    assert os.open(tmp_path / "second", os.O_CREAT) == number
    try:
        assert looker().descriptors[number] != before[number]
    finally:
        os.close(number)


def test_standard_streams_are_not_looked_at(looker: Looker) -> None:
    assert not looker().descriptors.keys() & {0, 1, 2}


@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf])
def test_a_lock_is_seen_by_the_descriptor_it_was_taken_through(
    looker: Looker, tmp_path: Path, lock: Callable[..., None]
) -> None:
    with (tmp_path / "file").open("w") as file:
        before = looker().locks
        lock(file, fcntl.LOCK_EX)
        ((number, told),) = looker().locks - before
        assert number == file.fileno()
        assert ("FLOCK" if lock is fcntl.flock else "POSIX") in told
        lock(file, fcntl.LOCK_UN)
        assert looker().locks == before


def test_only_fifos_and_sockets_count_in_a_watched_directory(
    looker: Looker, tmp_path: Path
) -> None:
    place = tmp_path / "watched"
    (place / "file").touch()
    (place / "folder").mkdir()
    (place / "broken").symlink_to("nowhere")
    os.mkfifo(place / "fifo")
    (place / "link").symlink_to("fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "socket"))
    assert {name for name, _ in looker().places[1]} == {"fifo", "socket"}


def test_in_shared_memory_everything_counts(looker: Looker) -> None:
    path = Path(f"/dev/shm/guard-look-{os.getpid()}")
    path.mkdir()
    try:
        assert path.name in {name for name, _ in looker().places[0]}
    finally:
        path.rmdir()


def test_a_change_with_the_date_of_the_one_before_is_seen(looker: Looker, tmp_path: Path) -> None:
    place = tmp_path / "watched"
    now = time.time_ns() + 10**9  # however long the looks take, they are not later than this
    for number in range(3):
        os.mkfifo(place / str(number))
        os.utime(place, ns=(now, now))
        assert len(looker().places[1]) == number + 1


def test_a_directory_that_has_not_changed_for_a_while_is_not_listed_again(
    looker: Looker, tmp_path: Path
) -> None:
    place = looker.places[1]
    os.utime(tmp_path / "watched", ns=(0, 0))
    listed = place()
    place._list = lambda: pytest.fail("listed again")  # type: ignore[method-assign]
    assert place() == listed


def test_a_directory_that_goes_takes_its_names_along(looker: Looker, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "watched" / "fifo")
    assert looker().places[1]
    os.unlink(tmp_path / "watched" / "fifo")
    (tmp_path / "watched").rmdir()
    assert not looker().places[1]


def test_who_made_a_name_is_known_where_the_kernel_tells(looker: Looker, tmp_path: Path) -> None:
    place = tmp_path / "watched"
    if looker._news is None:
        pytest.skip("this machine refuses fanotify")
    os.mkfifo(place / "mine")
    if (pid := os.fork()) == 0:
        os.mkfifo(place / "other")
        os._exit(0)
    os.waitpid(pid, 0)
    looker()
    assert looker.maker(str(place / "mine")) == os.getpid()
    assert looker.maker(str(place / "other")) == (pid if os.geteuid() == 0 else 0)
    assert looker.maker(str(place / "unmade")) is None
    assert looker.maker("/elsewhere/mine") is None


def test_of_makers_the_newest_are_remembered(
    looker: Looker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if looker._news is None:
        pytest.skip("this machine refuses fanotify")
    monkeypatch.setattr(looking, "_MAKERS", 4)
    looker._makers = {str(number): number for number in range(9)}
    os.mkfifo(tmp_path / "watched" / "fifo")
    looker()
    *others, newest = looker._makers
    assert others == ["2", "3", "4", "5", "6", "7", "8"]
    assert newest == str(tmp_path / "watched" / "fifo")


def test_a_look_without_a_directory_of_queues_sees_none(births: Births) -> None:
    looker = Looker(births, ("/nowhere",))
    seen: Look = looker()
    assert seen.queues == frozenset()
    assert seen.places[1] == frozenset()
    looker.close()
