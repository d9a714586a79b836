"""Ctrl-C and SIGKILL of the lab, at any moment: nothing of the run remains."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import posix_ipc
import pytest
import sysv_ipc

from lab.kernel import ipc_tables
from lab.kernel.ipc_tables import Entry
from lab.run.limits import Isolation
from lab.run.observe import observe_body
from lab.run.worlds import choose
from lab.trace import ObjectType

ATTEMPTS = 40
_PATIENCE = 60.0
"""Seconds after which a process that is still there counts as left behind: it takes milliseconds,
and the machine may be busy."""


@dataclass(frozen=True)
class Launcher:
    """A process of its own, and all that comes from it can be found by a variable in it."""

    mark: str
    tmp: Path
    key: int

    def marked(self) -> set[int]:
        """PIDs of all processes that have the mark in their environment."""
        found = set()
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                environment = Path(f"/proc/{name}/environ").read_bytes()
            except OSError:
                continue  # gone, or another user's
            if self.mark.encode() in environment:
                found.add(int(name))
        return found

    def objects(self) -> list[Entry]:
        """IPC objects of the machine by the name or the key of the mark."""
        return [
            entry
            for entry in ipc_tables.listing(None)
            if self.mark in entry.name or entry.name == f"key 0x{self.key:08x}"
        ]


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    with tempfile.TemporaryDirectory(prefix="lab-test.", dir="/tmp") as tmp:
        mark = uuid.uuid4().hex
        made = Launcher(mark, Path(tmp), 0x20000000 | int(mark[:7], 16))
        yield made
        for pid in made.marked():
            os.kill(pid, signal.SIGKILL)
        for entry in made.objects():
            ipc_tables.remove(entry)


def body(mark: str, key: int) -> Callable[[], None]:
    """A program that makes one of everything, soon ends or never does, and minds no SIGTERM."""

    def program() -> None:
        memory = posix_ipc.SharedMemory(f"/{mark}", posix_ipc.O_CREX, size=64)
        semaphore = posix_ipc.Semaphore(f"/{mark}", posix_ipc.O_CREX)
        segment = sysv_ipc.SharedMemory(key, sysv_ipc.IPC_CREX, size=64)
        array = sysv_ipc.Semaphore(key, sysv_ipc.IPC_CREX, initial_value=1)
        queue = sysv_ipc.MessageQueue(key, sysv_ipc.IPC_CREX)
        queue.send("left")
        os.mkfifo(os.path.join(tempfile.gettempdir(), "left"))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.pause()
            signal.pause()
        time.sleep(random.choice([0.0, 0.02, 60.0]))  # noqa: S311  # no secret
        semaphore.unlink()
        memory.unlink()
        segment.remove()
        array.remove()
        queue.remove()

    return program


def launch(isolation: Isolation, mark: str, key: int) -> None:
    """In a process of its own: on each line of input, fork a lab that runs one program after the
    other, tell its PID, and tell its wait status when it has ended."""
    observe_body("warm-up", lambda: None, isolation=isolation)
    for _ in sys.stdin:
        lab = os.fork()
        if lab == 0:
            status = 1
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                os.write(1, f"{os.getpid()}\n".encode())
                while True:
                    observe_body("program", body(mark, key), isolation=isolation)
            except KeyboardInterrupt:
                status = 130
            finally:
                os._exit(status)
        os.write(1, f"{os.waitpid(lab, 0)[1]}\n".encode())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "sigkill"])
@pytest.mark.parametrize("isolation", [Isolation.NAMESPACES, Isolation.SNAPSHOTS])
def test_nothing_of_a_run_outlives_the_lab(
    launcher: Launcher, isolation: Isolation, number: signal.Signals
) -> None:
    if isolation is Isolation.NAMESPACES and (refused := choose(Isolation.AUTO).refusal):
        pytest.skip(f"no namespaces here: {refused}")
    moments = random.Random(f"{isolation} {number}")  # noqa: S311  # no secret
    mounts = Path("/proc/self/mounts").read_text()
    with _started(launcher, isolation) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(ATTEMPTS):
            process.stdin.write("\n")
            process.stdin.flush()
            lab = int(process.stdout.readline())
            time.sleep(moments.uniform(0, 0.2))
            os.kill(lab, number)
            status = os.waitstatus_to_exitcode(int(process.stdout.readline()))

            assert status == (130 if number == signal.SIGINT else -signal.SIGKILL)
            _until(lambda: launcher.marked() == {process.pid})
            assert [entry for entry in launcher.objects() if not _unused(entry)] == []
            assert os.listdir(launcher.tmp) == []
            for entry in launcher.objects():
                assert isolation is Isolation.SNAPSHOTS
                ipc_tables.remove(entry)
    assert Path("/proc/self/mounts").read_text() == mounts


def _unused(entry: Entry) -> bool:
    """On the host nothing tells who made a System V queue or semaphore set until it is used.

    The moment between is short, but a SIGKILL can hit it.
    """
    kinds = (ObjectType.SYSV_SEM, ObjectType.SYSV_MQ)
    return entry.type in kinds and not any(touch.pid for touch in entry.touched_by)


def _started(launcher: Launcher, isolation: Isolation) -> subprocess.Popen[str]:
    code = (
        "from tests.run.test_end_of_the_lab import launch; from lab.run.limits import Isolation; "
        f"launch(Isolation({str(isolation)!r}), {launcher.mark!r}, {launcher.key})"
    )
    # The checkout last: the lab is to come from where this process has it.
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([*(path for path in sys.path if path), root])
    environment = {
        **os.environ,
        "LAB_TEST_MARK": launcher.mark,
        "TMPDIR": str(launcher.tmp),
        "PYTHONPATH": paths,
    }
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "processes of the run are left"
        time.sleep(0.005)
