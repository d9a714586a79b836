"""What a run used and left, whose it is, and that nobody else's is touched."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import posix_ipc
import pytest
import sysv_ipc

from lab.kernel import ipc_tables
from lab.kernel.ipc_tables import Entry
from lab.kernel.queue_list import queue_directory
from lab.run.stock import HostStock
from lab.run.watch import Watch
from lab.trace import Messages, ObjectType, SharedObject, Tally, Trace
from tests.forked import in_child, stranger, user_of_its_own
from tests.run.conftest import Sandbox, in_private, on_host
from tests.run.looks import be_seen

NAME = f"/lab-test-{os.getpid()}"
KEY = 0x1AB00000 | os.getpid() & 0xFFFFF


def left(trace: Trace) -> list[SharedObject]:
    return [thing for thing in trace.objects if thing.left]


def only_left(trace: Trace) -> SharedObject:
    (thing,) = left(trace)
    return thing


def on_the_machine() -> set[str]:
    """Names of the tests' own objects among those of the machine."""
    queues = queue_directory()
    names = {entry.name for entry in ipc_tables.listing(queues)}
    if queues is not None:
        os.close(queues)
    return {name for name in names if NAME in name or f"{KEY:08x}" in name}


# --- One object of each type ---------------------------------------------------------------


def _posix_memory() -> None:
    memory = posix_ipc.SharedMemory(NAME, posix_ipc.O_CREX, size=100)
    _until_seen(memory)


def _posix_semaphore() -> None:
    _until_seen(posix_ipc.Semaphore(NAME, posix_ipc.O_CREX))


def _posix_queue() -> None:
    queue = posix_ipc.MessageQueue(NAME, posix_ipc.O_CREX, max_messages=3, max_message_size=16)
    queue.send("first")
    queue.send(b"\xff")
    _until_seen(queue)


def _sysv_memory() -> None:
    sysv_ipc.SharedMemory(KEY, sysv_ipc.IPC_CREX, size=100)


def _sysv_semaphores() -> None:
    sysv_ipc.Semaphore(KEY, sysv_ipc.IPC_CREX).release()


def _sysv_queue() -> None:
    queue = sysv_ipc.MessageQueue(KEY, sysv_ipc.IPC_CREX)
    queue.send("first")
    queue.send(b"\xff")


def _fifo() -> None:
    os.mkfifo(_temporary("fifo"))


def _unix_socket() -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(_temporary("socket"))


def _temporary_file() -> None:
    Path(_temporary("file")).write_bytes(b"x" * 100)


def _temporary_directory() -> None:
    os.mkdir(_temporary("directory"))


def _temporary(name: str) -> str:
    return os.path.join(tempfile.gettempdir(), name)


def _until_seen(thing: object) -> None:
    """Keep it open to the end of the root, at which it is looked at."""
    globals()["kept"] = thing


@pytest.mark.parametrize(
    ("make", "kind", "name", "size", "messages"),
    [
        (_posix_memory, ObjectType.POSIX_SHM, NAME, 100, ()),
        (_posix_semaphore, ObjectType.POSIX_SEM, NAME, 32, ()),
        (_posix_queue, ObjectType.POSIX_MQ, NAME, 6, ("first", "\\xff")),
        (_sysv_memory, ObjectType.SYSV_SHM, f"key 0x{KEY:08x}", 100, ()),
        (_sysv_semaphores, ObjectType.SYSV_SEM, f"key 0x{KEY:08x}", 1, ()),
        (_sysv_queue, ObjectType.SYSV_MQ, f"key 0x{KEY:08x}", 6, ("first", "\\xff")),
        (_fifo, ObjectType.FIFO, "fifo", 0, ()),
        (_unix_socket, ObjectType.UNIX_SOCKET, "socket", 0, ()),
        (_temporary_file, ObjectType.TEMP_FILE, "file", 100, ()),
        (_temporary_directory, ObjectType.TEMP_FILE, "directory", None, ()),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_what_a_run_leaves_is_told_and_removed(
    sandbox: Sandbox,
    make: Callable[[], None],
    kind: ObjectType,
    name: str,
    size: int | None,
    messages: tuple[str, ...],
) -> None:
    if make is _posix_queue and not sandbox.private:
        sandbox = _with_a_meter_of_its_own(sandbox)

    thing = only_left(sandbox(make))

    assert thing.type is kind
    assert thing.name.rpartition("/")[2] == name.rpartition("/")[2]
    assert thing.size == size or size is None
    assert thing.messages == messages
    assert thing.owner == in_child(os.geteuid, user=sandbox.user)
    assert on_the_machine() == set()


def _unused_queue() -> None:
    sysv_ipc.MessageQueue(KEY, sysv_ipc.IPC_CREX)


@on_host
def test_what_nobody_was_seen_to_use_is_doubted_and_stays(sandbox: Sandbox) -> None:
    try:
        trace = sandbox(_unused_queue)
        there = on_the_machine()
    finally:
        _remove_foreign()

    assert left(trace) == []
    assert there == {f"key 0x{KEY:08x}"}
    assert [doubt.split(",")[0] for doubt in trace.doubts if f"{KEY:08x}" in doubt] == [
        f"sysv-mq key 0x{KEY:08x} appeared during the run"
    ]


def test_a_fifo_in_the_working_directory_that_nobody_was_seen_to_use_is_doubted(
    sandbox: Sandbox, place: Path
) -> None:
    def body() -> None:
        os.chdir(place)
        os.mkfifo("unused")

    trace = in_child(_from(place, lambda: sandbox.observe(body)), user=sandbox.user)

    assert left(trace) == []
    assert any(f"fifo {place}/unused appeared" in doubt for doubt in trace.doubts)
    assert os.listdir(place) == ["unused"]


def _with_a_meter_of_its_own(sandbox: Sandbox) -> Sandbox:
    """Where nothing lists queues, a run is told by what all queues of its user take."""
    if sandbox.user:
        return replace(sandbox, user=user_of_its_own())
    if queue_directory() is None:
        pytest.skip("nothing lists this user's queues, and other tests make some meanwhile")
    return sandbox


def test_who_made_a_system_v_segment_is_known(sandbox: Sandbox) -> None:
    def body() -> None:
        child = os.fork()
        if child == 0:
            _sysv_memory()
            be_seen()
            os._exit(0)
        os.waitpid(child, 0)

    assert only_left(sandbox(body)).made_by == "P1"


def test_who_used_an_object_is_known(sandbox: Sandbox) -> None:
    def body() -> None:
        memory = posix_ipc.SharedMemory(NAME, posix_ipc.O_CREX, size=100)
        if os.fork():
            os.wait()
        else:
            be_seen()
        memory.close_fd()

    assert only_left(sandbox(body)).used_by == ("P0", "P1")


def test_what_is_removed_in_time_was_used_and_is_not_left(sandbox: Sandbox) -> None:
    def body() -> None:
        memory = sysv_ipc.SharedMemory(KEY, sysv_ipc.IPC_CREX, size=100)
        be_seen()
        memory.remove()

    (thing,) = sandbox(body).objects

    assert (thing.type, thing.left, thing.made_by) == (ObjectType.SYSV_SHM, False, "P0")


@in_private
def test_a_queue_that_its_own_user_may_not_read_is_left_all_the_same(sandbox: Sandbox) -> None:
    def body() -> None:
        posix_ipc.MessageQueue(NAME, posix_ipc.O_CREX, mode=0, max_messages=1, max_message_size=8)

    assert only_left(sandbox(body)).type is ObjectType.POSIX_MQ


def test_what_the_program_locked_itself_out_of_is_removed(sandbox: Sandbox) -> None:
    def body() -> None:
        os.makedirs(_temporary("shut/inner"))
        os.symlink("/usr", _temporary("shut/link"))
        Path(_temporary("shut/inner/file")).touch()
        os.chmod(_temporary("shut/inner"), 0)
        os.chmod(_temporary("shut"), 0)

    names = {thing.name.rpartition("/")[2] for thing in left(sandbox(body))}

    assert names in ({"shut"}, {"link", "file"})  # nobody may not look inside, root may


def test_a_name_that_is_no_utf8_can_be_printed(sandbox: Sandbox) -> None:
    def body() -> None:
        os.mkfifo(os.fsencode(_temporary("")) + b"\xff")

    name = only_left(sandbox(body)).name

    assert name.endswith("\\xff")
    name.encode()


@in_private
def test_what_is_no_file_in_dev_shm_is_told_as_what_it_is(sandbox: Sandbox) -> None:
    def body() -> None:
        os.makedirs("/dev/shm/place/inner")
        os.mkfifo("/dev/shm/door")

    assert {(thing.type, thing.name) for thing in left(sandbox(body))} == {
        (ObjectType.FIFO, "/dev/shm/door"),
        (ObjectType.TEMP_FILE, "/dev/shm/place"),
    }


# --- Temporary files that were there before ------------------------------------------------


@in_private
def test_a_file_that_was_there_before_is_changed_for_the_run_alone_and_is_no_leak(
    sandbox: Sandbox, own_tmp: Path
) -> None:
    kept, gone, place = own_tmp / "kept", own_tmp / "gone", own_tmp / "place"
    for path in (kept, gone):
        path.write_text("before")
    place.mkdir()
    if sandbox.user:  # an overlay of an ordinary user can hold no file of another
        for path in (kept, gone, place):
            shutil.chown(path, sandbox.user, pwd.getpwnam(sandbox.user).pw_gid)

    def body() -> None:
        kept.write_text("after")
        gone.unlink()
        (place / "passing").touch()
        (place / "passing").unlink()
        (place / "new").touch()

    trace = in_child(
        lambda: sandbox.observe(body), user=sandbox.user
    )  # not by the fixture, which wants an empty directory

    assert [thing.name for thing in left(trace)] == [str(place / "new")]
    assert (kept.read_text(), gone.read_text()) == ("before", "before")
    assert not (place / "new").exists()


@in_private
def test_where_nothing_can_be_covered_the_run_has_a_tmpdir_of_its_own(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.kernel.namespaces._private_tmp", tuple)

    def body() -> None:
        assert os.environ["TMPDIR"] == tempfile.gettempdir() == "/dev/shm/lab-tmp"
        _temporary_file()

    trace = sandbox(body)

    assert trace.failure is None
    assert only_left(trace).name == "/dev/shm/lab-tmp/file"


# --- Strangers -----------------------------------------------------------------------------


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that is no temporary one, and open to all."""
    with tempfile.TemporaryDirectory(prefix="lab-test.", dir="/var/tmp") as path:
        os.chmod(path, 0o1777)  # noqa: S103  # any user's
        monkeypatch.chdir(path)
        yield Path(path)


def test_a_strangers_objects_are_neither_blamed_on_a_run_nor_removed(
    sandbox: Sandbox, place: Path
) -> None:
    begin, begun = os.pipe(), os.pipe()

    def foreign() -> None:
        os.chdir(place)
        os.read(begin[0], 1)
        posix_ipc.SharedMemory(f"{NAME}-foreign", posix_ipc.O_CREX, size=10).close_fd()
        posix_ipc.Semaphore(f"{NAME}-foreign", posix_ipc.O_CREX).close()
        sysv_ipc.SharedMemory(KEY, sysv_ipc.IPC_CREX, size=10)
        sysv_ipc.Semaphore(KEY, sysv_ipc.IPC_CREX).release()
        sysv_ipc.MessageQueue(KEY, sysv_ipc.IPC_CREX).send("foreign")
        os.mkfifo("foreign")
        os.write(begun[1], b"!")
        while True:  # and others, too short-lived to be seen more than once
            posix_ipc.SharedMemory(f"{NAME}-short", posix_ipc.O_CREX, size=10).unlink()
            sysv_ipc.MessageQueue(KEY + 1, sysv_ipc.IPC_CREX).remove()

    def body() -> Messages:
        os.chdir(place)
        os.write(begin[1], b"!")
        os.read(begun[0], 1)
        be_seen()
        queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
        queue.send("mine")
        os.mkfifo("mine")
        _until_seen(os.open("mine", os.O_RDWR))
        return Messages(("mine",), ("mine",))

    try:
        with stranger(foreign, user=sandbox.user):
            trace = in_child(_from(place, lambda: sandbox.observe(body)), user=sandbox.user)
            still_there = on_the_machine()
    finally:
        _remove_foreign()
    for end in (*begin, *begun):
        os.close(end)

    assert sorted(thing.type for thing in left(trace)) == [ObjectType.FIFO, ObjectType.SYSV_MQ]
    assert {thing.messages for thing in left(trace)} == {(), ("mine",)}
    assert not any("foreign" in thing.name or f"{KEY:08x}" in thing.name for thing in trace.objects)
    assert os.listdir(place) == ["foreign"]
    assert {f"{NAME}-foreign", f"key 0x{KEY:08x}"} <= still_there
    doubted = {doubt.split()[1].rpartition("/")[2] for doubt in trace.doubts}
    assert "foreign" in doubted  # the FIFO, which the stranger does not have open
    assert f"0x{KEY:08x}" not in " ".join(trace.doubts)  # he lives, and was the last to use it


def _from(place: Path, function: Callable[[], Trace]) -> Callable[[], Trace]:
    def there() -> Trace:
        os.chdir(place)
        return function()

    return there


def _remove_foreign() -> None:
    for entry in list(ipc_tables.listing(None)):
        if f"{NAME}-" in entry.name or f"{KEY:08x}" in entry.name or f"{KEY + 1:08x}" in entry.name:
            ipc_tables.remove(entry)


def test_a_unix_socket_in_the_working_directory_is_its_processes(
    sandbox: Sandbox, place: Path
) -> None:
    def body() -> Tally:
        os.chdir(place)
        bound = socket.socket(socket.AF_UNIX)
        bound.bind("relative")
        _until_seen(bound)
        return Tally(1, 1)

    trace = in_child(_from(place, lambda: sandbox.observe(body)), user=sandbox.user)

    assert only_left(trace).type is ObjectType.UNIX_SOCKET
    assert os.listdir(place) == []


def test_an_object_that_cannot_be_removed_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_entry: Entry) -> None:
        raise PermissionError(1, "Operation not permitted")

    def noted() -> tuple[str, ...]:
        stock = HostStock()
        pid = os.fork()
        if pid == 0:
            sysv_ipc.SharedMemory(KEY, sysv_ipc.IPC_CREX, size=10)
            signal.pause()
        watch = Watch(lambda: [pid], orphan_after=1.0)
        watch.look()
        while f"key 0x{KEY:08x}" not in {entry.name for entry in ipc_tables.listing(None)}:
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        notes = stock.take(watch).notes
        monkeypatch.undo()
        with contextlib.suppress(sysv_ipc.ExistentialError):
            sysv_ipc.SharedMemory(KEY).remove()
        return notes

    monkeypatch.setattr(ipc_tables, "remove", refuse)
    notes = in_child(noted)

    assert f"sysv-shm key 0x{KEY:08x} could not be removed: Operation not permitted" in notes


@in_private
def test_a_private_directory_holds_modes_too(sandbox: Sandbox) -> None:
    """/tmp stays what it is: sticky, and open to all."""

    def body() -> Tally:
        return Tally(0o1777, stat.S_IMODE(os.stat("/tmp").st_mode))

    trace = sandbox(body)

    assert trace.tally == Tally(0o1777, 0o1777)
