"""multiprocessing's helpers: no concern of the program's author, and what they do is not his."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from multiprocessing import resource_tracker, shared_memory
from multiprocessing.context import ForkContext, SpawnContext

import pytest

from lab.detect import findings
from tests import forked
from tests.forked import in_child
from tests.reachable import make_reachable
from tests.run.conftest import Sandbox
from tests.run.looks import be_seen

pytestmark = pytest.mark.usefixtures("interpreter")


@pytest.fixture
def interpreter(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """What executes Python anew needs one that the sandbox's user may execute."""
    become = forked._become

    def refusal() -> str:
        try:
            make_reachable()
        except OSError as refused:
            return str(refused)
        return ""

    def reach_and_become(account: tuple[int, int]) -> None:
        make_reachable()
        become(account)

    if sandbox.user:
        if refused := in_child(refusal):
            pytest.skip(f"{sandbox.user} may not execute {sys.executable}: {refused}")
        monkeypatch.setattr(forked, "_become", reach_and_become)


def test_multiprocessings_resource_tracker_is_neither(sandbox: Sandbox) -> None:
    def body() -> None:
        resource_tracker.ensure_running()
        be_seen()

    trace = sandbox(body)

    assert findings(trace) == ()
    assert trace.process("P1").helper


def test_what_the_resource_tracker_removes_is_no_leak(sandbox: Sandbox) -> None:
    def body() -> None:
        # Of no variable: a finalizer that closes it is not to hide the point.
        memory = shared_memory.SharedMemory(create=True, size=64)
        sys.modules["kept"] = memory  # type: ignore[assignment]

    trace = sandbox(body)

    assert findings(trace) == ()
    assert "leaked shared_memory" in trace.output


def test_a_forkserver_is_a_helper_and_its_workers_are_not(sandbox: Sandbox) -> None:
    def body() -> None:
        context = multiprocessing.get_context("forkserver")
        seen = context.Event()
        worker = context.Process(target=seen.wait)
        worker.start()
        be_seen()
        seen.set()
        worker.join()

    trace = sandbox(body, seconds=60.0)

    assert findings(trace) == ()
    server = next(p for p in trace.processes if "multiprocessing.forkserver" in p.command)
    workers = [p for p in trace.processes if p.parent == server.name]
    assert server.helper
    assert [worker.helper for worker in workers] == [False]


@pytest.mark.parametrize(
    "context",
    [multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")],
    ids=["fork", "spawn"],
)
def test_multiprocessing_is_clean(sandbox: Sandbox, context: ForkContext | SpawnContext) -> None:
    def body() -> None:
        # Of the module, as in a script: a lock that nobody holds is removed before a spawned
        # process has found it.
        lock = globals()["kept"] = context.Lock()
        workers = [context.Process(target=_hold, args=(lock,)) for _ in range(3)]
        for worker in workers:
            worker.start()
        # Joined by the exit functions, as at the end of a script: in order, so that the second may
        # have to wait for the first.

    trace = sandbox(body, seconds=60.0, zombie_after=60.0)

    assert findings(trace) == ()
    assert trace.root.status == 0


def _hold(lock: threading.Lock) -> None:
    with lock:
        time.sleep(0.01)
