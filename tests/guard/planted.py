"""A suite whose tests leave things behind, one sort each; what, their names and docstrings say.

Run by test_plugin.py, under the guard. A test whose docstring is empty leaves nothing.
"""

from __future__ import annotations

import _thread
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path
from typing import IO, Any

import posix_ipc
import pytest
import sysv_ipc

PREFIX = f"planted-{os.environ['PLANT']}"
kept: list[Any] = []


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IO[str]]:
    with (tmp_path_factory.mktemp("shared") / "file").open("w") as file:
        yield file


def nap() -> None:
    time.sleep(60)


def handler(*_: object) -> None: ...


def test_nothing_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("pytest keeps it")


def test_zombie() -> None:
    """zombie"""
    if (pid := os.fork()) == 0:
        os._exit(3)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_program() -> None:
    """child"""
    kept.append(subprocess.Popen(["sleep", "60"]))


def test_fork() -> None:
    """child"""
    if os.fork() == 0:
        nap()


def test_orphaned_program() -> None:
    """orphan"""
    subprocess.run(["sh", "-c", "sleep 60 &"], check=True, stdout=subprocess.DEVNULL)


def test_daemon() -> None:
    """orphan"""
    if (pid := os.fork()) == 0:
        if os.fork() == 0:
            os.setsid()
            os.closerange(0, 256)
            nap()
        os._exit(0)
    os.waitpid(pid, 0)


def test_shared_memory() -> None:
    """posix-shm"""
    memory = shared_memory.SharedMemory(create=True, size=10)
    memory.close()
    resource_tracker.unregister(memory._name, "shared_memory")  # type: ignore[attr-defined]


def test_posix_memory() -> None:
    """posix-shm"""
    posix_ipc.SharedMemory(f"/{PREFIX}", posix_ipc.O_CREX, size=10).close_fd()


def test_posix_semaphore() -> None:
    """posix-sem"""
    posix_ipc.Semaphore(f"/{PREFIX}", posix_ipc.O_CREX).close()


def test_posix_queue() -> None:
    """posix-mq"""
    options = {"max_messages": 1, "max_message_size": 8}
    posix_ipc.MessageQueue(f"/{PREFIX}", posix_ipc.O_CREX, **options).close()


def test_sysv_memory() -> None:
    """sysv-shm"""
    sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=10)


def test_sysv_semaphore() -> None:
    """sysv-sem"""
    sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)


def test_sysv_queue() -> None:
    """sysv-mq"""
    sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)


def test_fifo() -> None:
    """fifo"""
    os.mkfifo(f"{tempfile.gettempdir()}/{PREFIX}")


def test_fifo_in_a_directory() -> None:
    """fifo"""
    os.mkfifo(f"{tempfile.mkdtemp()}/fifo")


def test_unix_socket() -> None:
    """unix-socket"""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tempfile.gettempdir()}/{PREFIX}.sock")


def test_file_in_shared_memory() -> None:
    """temp-file"""
    Path(f"/dev/shm/{PREFIX}.txt").write_text("left")


def test_memory_of_a_child() -> None:
    """posix-shm"""
    program = f"import posix_ipc as p; p.SharedMemory('/{PREFIX}.child', p.O_CREX, size=1)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_open_file(tmp_path: Path) -> None:
    """fd"""
    kept.append((tmp_path / "file").open("w"))


def test_pipe() -> None:
    """fd fd"""
    os.pipe()


def test_socket() -> None:
    """fd"""
    kept.append(socket.create_server(("127.0.0.1", 0)))


def test_flock(tmp_path: Path) -> None:
    """lock-held"""
    file = (tmp_path / "file").open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    kept.append(file)


def test_lock_of_a_shared_file(shared: IO[str]) -> None:
    """lock-held"""
    fcntl.lockf(shared, fcntl.LOCK_EX)


def test_handler() -> None:
    """signal-handler"""
    signal.signal(signal.SIGUSR1, handler)


def test_ignored_signal() -> None:
    """signal-handler"""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def test_thread() -> None:
    """thread"""
    threading.Thread(target=nap, name="napper", daemon=True).start()


def test_thread_without_an_object() -> None:
    """thread"""
    _thread.start_new_thread(nap, ())


def test_nothing_last(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("pytest keeps it")
