"""Times to live on the virtual clock, against a server that is none, on a clock that is none."""

from __future__ import annotations

from typing import Any, cast

import pytest

from lab.run.control.machine import UnexpectedStopError
from lab.run.control.redis import expiry
from lab.run.control.redis.expiry import Expiry

MILLI = 1_000_000


class Server:
    """Keys and when they end, on a clock that the test moves."""

    slow = 0
    """Milliseconds before and after each thing that it does."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.ends: dict[bytes, float] = {b"other": 9e9}
        self.asked = 0

    def eval(self, script: str, number: int, *words: Any) -> list[Any]:
        self.asked += 1
        self.now += self.slow
        try:
            return self._done(script, number, *words)
        finally:
            self.now += self.slow

    def _done(self, script: str, number: int, *words: Any) -> list[Any]:
        self.ends = {key: end for key, end in self.ends.items() if end > self.now}
        if script == expiry._ENDS:
            prefix = words[0].removesuffix("*").encode()
            ours = {key: end for key, end in self.ends.items() if key.startswith(prefix)}
            return [word for key, end in ours.items() for word in (key, int(end - self.now))]
        gone = [key for key in words[:number] if key not in self.ends]
        for key, left in zip(words[:number], words[number:], strict=True):
            if key in self.ends:
                self.ends[key] = self.now + left
        return gone


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(expiry, "_real", lambda: made.now)
    return made


@pytest.fixture
def kept(server: Server) -> Expiry:
    return Expiry(cast("Any", server), "lab:")


def command(
    kept: Expiry, server: Server, at: int, watched: bool = False, **lives: int
) -> dict[bytes, float]:
    """A command at a virtual millisecond; gives the times to live that it finds."""
    kept.before(at * MILLI)
    found = {k: end - server.now for k, end in server.ends.items() if end > server.now}
    stated = {f"lab:{name}".encode(): left for name, left in lives.items()}
    server.ends |= {key: server.now + left for key, left in stated.items()}
    server.now += 3
    kept.after(at * MILLI, stated, certain=True, watched=watched)
    return found


def test_what_the_virtual_clock_has_moved_is_gone_from_a_time_to_live(
    kept: Expiry, server: Server
) -> None:
    command(kept, server, at=0, a=1000)
    server.now += 50_000  # which are nobody's business
    assert command(kept, server, at=400)[b"lab:a"] == 600
    assert b"lab:a" in command(kept, server, at=999)
    assert b"lab:a" not in command(kept, server, at=1000)


def test_other_keys_are_left_alone(kept: Expiry, server: Server) -> None:
    end = server.ends[b"other"]
    command(kept, server, at=0, a=1000)
    command(kept, server, at=5000)
    assert server.ends[b"other"] == end


def test_a_server_without_times_to_live_is_not_asked_before(kept: Expiry, server: Server) -> None:
    kept.before(5)
    assert server.asked == 0


def test_a_new_time_to_live_takes_the_place_of_the_old_one(kept: Expiry, server: Server) -> None:
    command(kept, server, at=0, a=1000)
    command(kept, server, at=900, a=1000)
    assert command(kept, server, at=1500)[b"lab:a"] == 400


def test_a_watched_key_is_not_touched_while_the_virtual_clock_stands_still(
    kept: Expiry, server: Server
) -> None:
    command(kept, server, at=0, watched=True, a=1000)
    end = server.ends[b"lab:a"]
    server.now += 300
    command(kept, server, at=0, watched=True)
    assert server.ends[b"lab:a"] == end


def test_a_watched_key_that_is_gone_too_early_is_an_error(kept: Expiry, server: Server) -> None:
    command(kept, server, at=0, watched=True, a=1000)
    server.now += 2000
    with pytest.raises(UnexpectedStopError, match="lab:a ran out on the real clock"):
        kept.before(10 * MILLI)


def test_a_command_may_take_longer_than_a_key_has_left(kept: Expiry, server: Server) -> None:
    command(kept, server, at=0, a=1000)
    kept.before(999 * MILLI)
    server.now += 100
    kept.after(999 * MILLI, {}, certain=True, watched=False)
    assert b"lab:a" in command(kept, server, at=999)
    assert b"lab:a" not in command(kept, server, at=1000)


def test_a_key_that_is_gone_before_it_was_seen_is_an_error(kept: Expiry, server: Server) -> None:
    kept.before(0)
    server.now += 20
    with pytest.raises(UnexpectedStopError, match="lab:a ran out on the real clock"):
        kept.after(0, {b"lab:a": 10}, certain=True, watched=False)


def test_a_slow_machine_makes_no_difference_to_an_end(kept: Expiry, server: Server) -> None:
    server.slow = 40
    command(kept, server, at=0, a=1000)
    for at in range(100, 1000, 100):
        assert b"lab:a" in command(kept, server, at=at)
    assert b"lab:a" not in command(kept, server, at=1000)


def test_the_same_time_once_more_is_a_new_one(kept: Expiry, server: Server) -> None:
    command(kept, server, at=0, a=200)
    command(kept, server, at=100, a=expiry._LEAST)  # which the server was told anyway
    assert b"lab:a" in command(kept, server, at=300)


def test_what_a_script_gives_is_read_from_the_server(kept: Expiry, server: Server) -> None:
    kept.before(0)
    server.ends[b"lab:a"] = server.now + 70_000
    kept.after(0, {}, certain=True, watched=False)
    assert b"lab:a" in command(kept, server, at=70_000)
    assert b"lab:a" not in command(kept, server, at=70_002)


def test_a_key_that_a_command_removed_has_no_end(kept: Expiry, server: Server) -> None:
    command(kept, server, at=0, a=1000)
    kept.before(0)
    del server.ends[b"lab:a"]
    kept.after(0, {}, certain=True, watched=False)
    assert not kept.any
