"""Sessions on tables that others use too: eight workers at once, and an ordinary user.

Root's processes have tables of their own; an ordinary user's have not. There what the interpreter
announces, what children write down and what the kernel knows of makers have to tell whose is what.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.kernel.queue_list import queue_directory
from tests.forked import in_child, user_of_its_own
from tests.guard.sessions import CLEANS, DOUBT, EXPECTED, PLANT, session

LEAKS = """
import os, socket, subprocess, tempfile, time
from multiprocessing import resource_tracker, shared_memory

import pytest, sysv_ipc

NAME = f"side-{os.environ['PLANT']}"
KEY = int(os.environ["PLANT"], 16) & 0x7FFFFFF0  # the machine's keys are everybody's

@pytest.fixture
def together(tmp_path_factory):
    place = tmp_path_factory.getbasetemp().parent
    def meet(number, stage):
        (place / f"{number}.{stage}").touch()
        until = time.monotonic() + 300
        while sum((place / f"{each}.{stage}").exists() for each in range(8)) < 8:
            assert time.monotonic() < until, "the others have not come"
            time.sleep(0.02)
    return meet

@pytest.mark.parametrize("number", range(8))
def test_leaks(number, together):
    together(number, "begin")
    memory = shared_memory.SharedMemory(f"{NAME}-{number}", True, 10)
    memory.close()
    resource_tracker.unregister(memory._name, "shared_memory")
    open(f"/dev/shm/{NAME}-{number}.txt", "w").close()
    sysv_ipc.SharedMemory(KEY + number, sysv_ipc.IPC_CREX, size=10).detach()
    sysv_ipc.Semaphore(KEY + number, sysv_ipc.IPC_CREX)
    if (pid := os.fork()) == 0:
        memory = shared_memory.SharedMemory(f"{NAME}-{number}.child", True, 10)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{tempfile.gettempdir()}/{number}.sock")
        os._exit(0)
    os.waitpid(pid, 0)
    subprocess.run(f"sleep 6{number} &", shell=True, stdout=subprocess.DEVNULL)
    together(number, "end")
"""
LEFT = {
    "orphan": "sleep 6{}",
    "posix-shm": "-{}",
    "sysv-sem": "{}, id ",
    "sysv-shm": "{}, id ",
    "temp-file": "-{}.txt",
    "unix-socket": "/{}.sock",
}


@pytest.mark.parametrize("ordinary", [False, True], ids=["whoever", "ordinary"])
def test_eight_workers_that_leak_at_once_are_each_blamed_for_their_own(
    tmp_path: Path, ordinary: bool
) -> None:
    told = session(
        tmp_path, *CLEANS, "-n", "8", user=another_user() if ordinary else "", test_it=LEAKS
    )
    for number in range(8):
        left = [each for each in told.leaks[f"test_leaks[{number}]"] if DOUBT not in each[0]]
        assert sorted(kind for kind, _ in left) == sorted([*LEFT, "posix-shm"]), told.output
        assert all(LEFT[kind].format(number) in said for kind, said in left), left
    assert told.output.count("= lab guard =") == 1
    assert "56 things left behind by 8 of 8 tests" in told.output
    assert "nothing tells" not in told.output


def another_user() -> str:
    """An ordinary one; skips where whoever runs the tests is one."""
    if os.geteuid() != 0:
        pytest.skip("whoever runs these tests is an ordinary user already")
    return user_of_its_own()


def test_an_ordinary_user_is_told_of_the_whole_plant(tmp_path: Path) -> None:
    user = another_user()
    lists_queues = in_child(lambda: queue_directory() is not None, user=user)
    told = session(tmp_path, *CLEANS, user=user, test_planted=PLANT.read_text())
    expected = {
        test: [kind for kind in kinds if kind != "posix-mq" or lists_queues]
        for test, kinds in EXPECTED.items()
    }
    assert {test: told.kinds(test) for test in told.leaks} == expected
    assert told.failed == {test for test, kinds in expected.items() if kinds}
    assert ("POSIX queues were not looked for" in told.output) == (not lists_queues)


IPC = "import os\ndef test_it(): print('[', os.readlink('/proc/self/ns/ipc'), ']')\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's session is where it began")
@pytest.mark.parametrize("isolation", ["auto", "snapshots"])
def test_a_session_keeps_the_machines_tables_where_that_is_asked_for(
    tmp_path: Path, isolation: str
) -> None:
    told = session(tmp_path, "--lab-guard=error", f"--lab-isolation={isolation}", "-s", test_it=IPC)
    machines = f"[ {os.readlink('/proc/self/ns/ipc')} ]" in told.output
    assert machines == (isolation == "snapshots")
