"""The server of a run: it is there while it is needed, and whatever ends the lab ends it too."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.kernel.pidfd import pidfd_open
from lab.redis_server import Found, RedisServer, lacking
from lab.run import redis_process
from lab.run.limits import LabError
from lab.run.observe import observe_body
from lab.run.redis_process import served, serving
from lab.run.root import Command, Function
from lab.trace import Tally

needs_redis = pytest.mark.skipif(bool(lacking()), reason=f"no {'; no '.join(lacking())}")
PATIENCE = 60_000
"""Milliseconds after which what is still there counts as left behind."""


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """REDIS_URL of a server that others use as well."""
    with serving() as other:
        monkeypatch.setenv("REDIS_URL", other.server.url)
        yield other.server.url


def server_process(server: RedisServer) -> int:
    return int(server.client().info("server")["process_id"])


def ends(descriptor: int) -> bool:
    """Whether a process ends, soon."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(PATIENCE))


@needs_redis
def test_a_server_is_there_and_gone_afterwards_with_its_directory() -> None:
    with serving() as found:
        assert found.own
        path = Path(found.server.client().config_get("unixsocket")["unixsocket"])
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        process = pidfd_open(server_process(found.server))
    assert ends(process)
    assert not path.parent.exists()
    os.close(process)


@needs_redis
def test_a_lab_that_is_killed_leaves_no_server_and_no_directory() -> None:
    ours, theirs = socket.socketpair()
    lab = os.fork()
    if not lab:
        with serving() as found:
            path = found.server.client().config_get("unixsocket")["unixsocket"]
            theirs.sendall(f"{server_process(found.server)} {path}".encode())
            signal.pause()
        os._exit(0)
    number, path = ours.recv(4096).decode().split()
    process = pidfd_open(int(number))

    os.kill(lab, signal.SIGKILL)
    os.waitpid(lab, 0)

    assert ends(process)
    # The keeper removes it a moment later; how much later is the machine's affair.
    while Path(path).parent.exists():
        os.sched_yield()
    os.close(process)
    ours.close()
    theirs.close()


@needs_redis
def test_a_body_is_given_its_server_in_the_sandbox() -> None:
    def body(mine: RedisServer) -> Tally:
        return Tally(2, mine.client().incrby(mine.key("counter"), 2))

    trace = observe_body("body", body, server="mine")
    assert trace.failure is None
    assert trace.tally == Tally(2, 2)


def test_a_program_that_wants_none_is_left_alone() -> None:
    for program in (Command(("true",)), Function("body", lambda: None)):
        with served(program) as (ready, found):
            assert (ready, found) == (program, None)


@needs_redis
def test_a_server_of_others_keeps_their_keys_and_loses_those_of_the_run(url: str) -> None:
    others = RedisServer(url).client()
    others.set("lab", "theirs")
    others.set("lab:ours", "theirs too")
    with serving() as found:
        assert not found.own
        assert found.server.url == url
        found.server.client().set(found.server.key("a"), 1)
        found.server.client().rpush(found.server.key("b"), 1)
        assert others.dbsize() == 4
    assert sorted(others.keys()) == ["lab", "lab:ours"]


@needs_redis
def test_two_runs_on_one_server_have_keys_of_their_own(url: str) -> None:
    assert url
    with serving() as one, serving() as other:
        assert one.server.prefix != other.server.prefix


def test_a_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis", reason="redis-py is missing: install race-lab[redis]")
    monkeypatch.setenv("REDIS_URL", "unix:///no/such/socket")
    with (
        pytest.raises(LabError, match=r"server of REDIS_URL does not answer: .*/no/such/socket"),
        serving(),
    ):
        pass


def test_without_a_server_the_lab_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_process, "lacking", lambda: ("a Redis server: set REDIS_URL",))
    with pytest.raises(LabError, match="needs a Redis server: set REDIS_URL"), serving():
        pass


@pytest.mark.parametrize(
    ("script", "told"),
    [("echo it is too old >&2; exit 1", "it is too old"), ("exit 0", "without a word")],
)
def test_a_server_that_does_not_start_is_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, told: str
) -> None:
    pytest.importorskip("redis", reason="redis-py is missing: install race-lab[redis]")
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(redis_process, "lacking", lambda: ())
    monkeypatch.setattr(redis_process, "find", lambda: Found(program=str(program)))
    with pytest.raises(LabError, match=f"redis-server did not start: .*{told}"), serving():
        pass
