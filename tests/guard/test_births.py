"""What the interpreter announces, and what the guard makes of it; none of it may disturb."""

from __future__ import annotations

import _socket
import _thread
import fcntl
import importlib.util
import inspect
import mmap
import multiprocessing.heap
import os
import socket
import sqlite3
import struct
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NoReturn

import posix_ipc
import pytest

from lab.guard import births as recorder
from lab.guard.births import Births, is_machinery
from lab.guard.leak import Birth

SHORT = Births().short
HERE = f"{SHORT(__file__)}:"


def here(above: int = 0) -> str:
    """Where the caller stands, or so many lines above."""
    frame = inspect.stack()[1]
    return f"{SHORT(frame.filename)}:{frame.lineno - above}"


def _open_by_os(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT))


def _bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def _bind_bytes(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.fsencode(path))


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.open("w").close(),
        lambda path: open(os.fsencode(path), "wb").close(),
        _open_by_os,
        _bind,
        _bind_bytes,
        lambda path: sqlite3.connect(path).close(),
    ],
    ids=["pathlib", "bytes", "os.open", "bind", "bind with bytes", "sqlite3"],
)
def test_what_has_a_path_is_known_by_it(
    births: Births, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "made")
    assert births.paths[str(tmp_path / "made")].where.startswith(HERE)


def test_a_path_is_told_as_it_was_where_the_file_was_opened(
    births: Births, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open("made", "w").close()
    assert births.paths[str(tmp_path / "made")].where == here(1)


def test_nothing_is_kept_of_before_the_start_after_the_stop_and_after_a_new_beginning(
    births: Births, tmp_path: Path
) -> None:
    births.stop()
    (tmp_path / "unseen").touch()
    births.start()
    (tmp_path / "seen").touch()
    assert list(births.paths) == [str(tmp_path / "seen")]
    births.begin()
    assert not births.paths


def test_of_more_than_can_be_kept_the_first_are(
    births: Births, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_MOST", 2)
    for name in "abc":
        (tmp_path / name).touch()
    assert [os.path.basename(path) for path in births.paths] == ["a", "b"]


def test_a_module_that_is_read_is_nobodys_and_what_it_makes_is_the_imports(
    births: Births, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_by_import.py").write_text(f"file = open({str(tmp_path / 'log')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    births.begin()
    import made_by_import  # type: ignore[import-not-found]

    made_by_import.file.close()
    del sys.modules["made_by_import"]
    assert births.paths.keys() == {str(tmp_path / "log")}
    assert births.paths[str(tmp_path / "log")].owner == "import of made_by_import"


def test_a_socket_is_known_while_it_is_open(births: Births) -> None:
    with socket.socket() as made:
        number = made.fileno()
        assert births.of_descriptor(number, "socket:[1]").where == here(2)
        assert births.numbered() == {number}
    assert births.of_descriptor(number, "socket:[1]") == Birth()
    assert births.numbered() == {-1}


def test_shared_memory_is_known_by_the_descriptor_that_was_mapped(births: Births) -> None:
    name = f"/guard-births-{os.getpid()}"
    memory = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, size=100)
    try:
        mmap.mmap(memory.fd, 100).close()
        assert births.paths[f"/dev/shm{name}"].where == here(1)
        assert f"/dev/shm{name}" not in births.opened
    finally:
        memory.close_fd()
        memory.unlink()


def test_directories_are_kept_but_pytests_own(births: Births, tmp_path: Path) -> None:
    births.begin()
    births.basetemp = lambda: str(tmp_path / "pytest")
    for name in (b"mine", b"pytest"):
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)
    assert births.folders == {str(tmp_path / "mine"): Birth(here(1))}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="announced since CPython 3.12")
def test_a_thread_is_known_by_where_it_was_started(births: Births) -> None:
    thread = threading.Thread(target=int)
    thread.start()
    assert births.of_thread(thread).where == here(1)
    thread.join()


def test_what_a_thread_of_before_makes_is_its_owners(births: Births, tmp_path: Path) -> None:
    begin, end = threading.Event(), threading.Event()

    def work() -> None:
        begin.wait()
        (tmp_path / "made").touch()
        end.set()

    thread = threading.Thread(target=work)
    thread.start()
    births.foreign = {thread.ident or 0: "an earlier test"}
    begin.set()
    end.wait()
    thread.join()
    assert births.paths[str(tmp_path / "made")].owner == "an earlier test"


def test_what_the_methods_of_a_fixtures_value_make_is_the_fixtures(
    births: Births, tmp_path: Path
) -> None:
    class Client:
        def connect(self) -> None:
            (tmp_path / "made").write_text("")

    client, other = Client(), Client()
    births.owners.add(client, "fixture client (module)")
    client.connect()
    assert births.paths[str(tmp_path / "made")].owner == "fixture client (module)"
    other.connect()
    assert births.paths[str(tmp_path / "made")].owner == ""


def test_a_program_is_known_by_its_command_and_a_fork_if_all_were_in_one_line(
    births: Births,
) -> None:
    subprocess.run(["true", "1"], check=True)
    subprocess.run(["true", "2"], check=True)
    assert births.of_program("true 1").where == here(2)
    assert births.of_program("true 2").where == here(2)
    assert births.of_program("sh") == Birth()  # of which of the two, nothing tells

    for _ in range(2):
        _fork_and_wait()
    assert births.of_fork() == births.of_program("sh")
    assert births.of_fork().where
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert births.of_fork() == Birth()


def _fork_and_wait() -> None:
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def test_a_child_writes_down_what_it_makes_for_others_and_nothing_else(
    births: Births, tmp_path: Path
) -> None:
    reader, writer = os.pipe()

    def note(path: str, where: str) -> None:
        os.write(writer, f"{path} {where}\n".encode())

    births.note = note
    shared = f"/dev/shm/guard-births-{os.getpid()}.txt"
    if (pid := os.fork()) == 0:
        (tmp_path / "file").touch()
        Path(shared).touch()
        _bind(tmp_path / "socket")
        os._exit(0)
    os.waitpid(pid, 0)
    os.unlink(shared)
    os.close(writer)
    with open(reader) as told:
        noted = [line.split()[0] for line in told]
    assert noted == [shared, f"{tmp_path}/socket"]


@pytest.mark.parametrize(
    "call",
    [
        lambda file: fcntl.flock(file, fcntl.LOCK_EX),
        lambda file: fcntl.flock(file, fcntl.LOCK_UN),
        lambda file: fcntl.lockf(file, fcntl.LOCK_EX),
        lambda file: fcntl.fcntl(
            file, fcntl.F_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)
        ),
        lambda file: os.lockf(file.fileno(), os.F_LOCK, 0),
    ],
    ids=["flock", "unlock", "fcntl.lockf", "fcntl", "os.lockf"],
)
def test_that_a_lock_was_taken_or_given_back_is_heard(
    births: Births, tmp_path: Path, call: Callable[[IO[str]], object]
) -> None:
    with (tmp_path / "file").open("w") as file:
        births.locks = False
        call(file)
        assert births.locks


def test_multiprocessings_heap_is_its_own_whoever_asked_for_it(births: Births) -> None:
    arena = multiprocessing.heap.Arena(4096)
    assert arena.fd >= 0
    owners = {birth.owner for birth in (*births.paths.values(), *births.numbers.values())}
    assert owners == {"multiprocessing"}


def test_what_a_plugin_makes_that_has_its_hands_in_all_tests_is_its_own(
    births: Births, tmp_path: Path
) -> None:
    place = f"{sysconfig.get_path('purelib')}/xdist/remote.py"
    code = compile(f"def make(): open({str(tmp_path / 'log')!r}, 'w').close()", place, "exec")
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  # as if xdist had
    names["make"]()
    assert births.paths[str(tmp_path / "log")].owner == "xdist"
    assert is_machinery(names["make"])
    assert not is_machinery(_fork_and_wait)
    assert not is_machinery(len)


# A hook that raises fails the call of the program under test that it only looks at.


def test_a_socket_that_no_weak_reference_can_lead_to_is_made(births: Births) -> None:
    class Bare(_socket.socket):
        __slots__ = ()

    for kind in (_socket.socket, Bare):
        kind().close()
    assert births.numbered() <= {-1}


def test_a_working_directory_that_is_gone_disturbs_nothing(
    births: Births, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    socket.socket().close()
    (tmp_path / "made").touch()
    assert births.paths[str(tmp_path / "made")].where.startswith(HERE)
    with pytest.raises(FileNotFoundError, match="'relative'"):
        open("relative", "w").close()
    _fork_and_wait()


def test_strange_arguments_disturb_nothing(births: Births, tmp_path: Path) -> None:
    subprocess.run([Path("/bin/true"), b"\xff", tmp_path], check=True)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.ftruncate(987654, 0)
    with socket.socket(socket.AF_UNIX) as unnamed:
        unnamed.bind(f"\0abstract-{os.getpid()}")
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(done.release, ())
    done.acquire()
    assert not births.paths


def test_a_module_found_by_its_place_is_still_read_by_python(
    births: Births, tmp_path: Path
) -> None:
    (tmp_path / "by_place.py").write_text("")
    births.begin()
    spec = importlib.util.spec_from_file_location("by_place", tmp_path / "by_place.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert str(tmp_path / "by_place.py") not in births.paths


def test_what_a_test_puts_for_functions_of_the_system_is_not_met(
    births: Births, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> NoReturn:
        raise AssertionError("the guard called what the test had replaced")

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched:
        for name in ("getcwd", "getpid", "readlink", "stat", "fsdecode", "open", "write"):
            patched.setattr(os, name, forbidden)
        for name in ("abspath", "normpath", "realpath"):
            patched.setattr(os.path, name, forbidden)
        with open("made", "w") as file:
            os.ftruncate(file.fileno(), 1)
            number = file.fileno()
    assert births.paths[str(tmp_path / "made")].where == here(3)
    assert births.numbers[number].where == here(3)
