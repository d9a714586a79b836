"""A search whose runs a cluster makes: a real scheduler and two real workers, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from lab.cli import main
from lab.exploration import explore
from lab.run.limits import LabError
from lab.search.token import Origin, Source
from lab.seat import Assignment, Seat

SCENARIO = "counter.posix_guarded"
_PATIENCE = 120
"""Seconds: three interpreters import dask, on a machine that may be busy."""

SCRIPT = """
import dataclasses, os, signal, sys, time
from lab.exploration import explore, explored
from lab.loop import Plan
from lab.run.limits import LabError
from lab.target import target

address, victim = sys.argv[1], int(sys.argv[2])

def interrupted(text):
    if "3 of" in text:
        raise KeyboardInterrupt

def bereaved(text):
    os.kill(victim, signal.SIGKILL)

def told(stage):
    print(stage, round(time.monotonic() - began, 1), file=sys.stderr)

began = time.monotonic()
small = {"strategy": "dpor", "parameters": {"writers": "2", "increments": "2"}}
alone, shared = (
    dataclasses.replace(explore("counter.posix_guarded", cluster=where, **small), seconds=0)
    for where in (None, address)
)
print("the same" if shared == alone else shared, alone.verdict, alone.runs, alone.reason)
told("compared")
wanted = target("counter.posix_guarded")
options = {"strategy": "random", "seed": 0, "cluster": address}
results = explored(wanted, Plan(schedules=10_000), progress=interrupted, **options)
result = next(results)
print(result.verdict, result.runs, *result.notes)
try:
    next(results)
except KeyboardInterrupt:
    print("interrupted")
told("interrupted")
try:
    print(*explored(wanted, Plan(schedules=10_000), progress=bereaved, **options))
except LabError as error:
    print("error:", error)
told("bereaved")
"""


@dataclass(frozen=True)
class Dask:
    address: str
    workers: list[int]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Dask]:
    pytest.importorskip("distributed", reason="the extra [cluster] is not installed")
    file = tmp_path / "scheduler.json"
    started: list[subprocess.Popen[bytes]] = []
    common = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    own = ["--no-nanny", "--nthreads", "1", "--local-directory", str(tmp_path)]

    def start(*words: str) -> None:
        with (tmp_path / f"log{len(started)}").open("wb") as log:
            command = [sys.executable, "-m", "dask", *words, *common]
            started.append(subprocess.Popen(command, stdout=log, stderr=log))

    try:
        # The workers look for the file until it is there.
        start("scheduler", "--port", "0")
        start("worker", *own)
        start("worker", *own)
        yield Dask(_address(file, tmp_path), [each.pid for each in started[1:]])
    finally:
        for process in started:
            process.kill()
            process.wait()


def _address(file: Path, logs: Path) -> str:
    """When both workers are there, by the log of the scheduler."""
    until = time.monotonic() + _PATIENCE
    while (logs / "log0").read_text().count("Register worker") < 2:
        assert time.monotonic() < until, "".join(log.read_text() for log in logs.glob("log*"))
        time.sleep(0.05)
    address: str = json.loads(file.read_text())["address"]
    return address


@pytest.mark.usefixtures("control")
def test_a_cluster_gives_the_answer_of_one_process_or_none(cluster: Dask) -> None:
    """One test, for to start dask takes longer than all the rest."""
    command = [sys.executable, "-c", SCRIPT, cluster.address, str(cluster.workers[0])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    same, stopped, interrupted, bereaved = done.stdout.splitlines()

    assert same.startswith("the same proved 6")
    assert stopped.startswith("passed 3 stopped by Ctrl-C after 3 of 10000 schedules")
    assert interrupted == "interrupted"
    assert bereaved.startswith(f"error: a worker of {cluster.address} is gone: tcp://127.0.0.1:")
    assert psutil.Process(cluster.workers[1]).children() == [], done.stderr


def test_an_address_where_nobody_answers_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed", reason="the extra [cluster] is not installed")
    monkeypatch.setattr("lab.cluster._PATIENCE", 0.2)

    assert main(["explore", SCENARIO, "--cluster", "127.0.0.1:1"]) == 3
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1
    assert "127.0.0.1:1: no dask scheduler answers there" in err[0]


@pytest.mark.parametrize("address", ["", "8786", "somewhere", "somewhere:"])
def test_what_is_no_address_is_a_usage_error(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["explore", SCENARIO, "--cluster", address])

    assert end.value.code == 2
    assert "give HOST:PORT" in capsys.readouterr().err


def test_an_empty_address_starts_no_cluster() -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        explore(SCENARIO, cluster="")


def test_a_missing_extra_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)

    assert main(["explore", SCENARIO, "--cluster", "127.0.0.1:1"]) == 3
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1
    assert "pip install race-lab[cluster]" in err[0]


def test_a_seat_that_cannot_run_the_program_says_why_and_ends() -> None:
    from lab.ahead import Job

    seat = Seat(Assignment(Origin(Source.SCENARIO, ("counter.nowhere",)), 10.0))
    with contextlib.closing(seat), pytest.raises(LabError, match=r"no scenario 'counter\.nowhere'"):
        seat.make(Job(b"", (), 10))
    assert seat._process.returncode is not None


def test_a_seat_that_is_killed_is_an_error() -> None:
    from lab.ahead import Job

    seat = Seat(Assignment(Origin(Source.SCENARIO, (SCENARIO,)), 10.0))
    os.kill(seat._process.pid, 9)
    seat._process.wait()
    with contextlib.closing(seat), pytest.raises(LabError, match=r"gone|without a word"):
        seat.make(Job(b"", (), 10))
