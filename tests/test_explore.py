"""Exploring real processes, from Python: the whole way through the controller."""

from __future__ import annotations

import dataclasses
import mmap
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import posix_ipc
import pytest

import lab
from lab import Tally
from lab.comparison import guided
from lab.finding import Finding, Kind, Result, Verdict
from lab.loop import Plan
from lab.report.steps import table
from lab.report.terminal import render
from lab.search.token import Token
from lab.target import target

pytestmark = pytest.mark.usefixtures("control")


def _in_children(*works: Callable[[], None]) -> None:
    children = []
    for work in works:
        child = os.fork()
        if child == 0:
            work()
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def _add(page: mmap.mmap) -> None:
    (value,) = struct.unpack_from("=i", page)
    struct.pack_into("=i", page, 0, value + 1)


def unguarded() -> None:
    """Three children add 1 five times; nobody says what should come out."""
    page = mmap.mmap(-1, 4096)

    def work() -> None:
        for _ in range(5):
            _add(page)

    _in_children(work, work, work)


def guarded() -> Tally:
    """The same under a semaphore."""
    page = mmap.mmap(-1, 4096)
    semaphore = posix_ipc.Semaphore("/count", posix_ipc.O_CREX, initial_value=1)

    def work() -> None:
        for _ in range(2):
            with semaphore:
                _add(page)

    _in_children(work, work)
    semaphore.unlink()
    return Tally(4, struct.unpack_from("=i", page)[0])


def opposite() -> None:
    """Two locks in opposite order."""
    locks = [posix_ipc.Semaphore(f"/{name}", posix_ipc.O_CREX, initial_value=1) for name in "ab"]
    for lock in locks:
        lock.unlink()

    def take(order: list[posix_ipc.Semaphore]) -> None:
        with order[0], order[1]:
            pass

    _in_children(lambda: take(locks), lambda: take(locks[::-1]))


def published() -> None:
    """A value and a flag that says that it is there: right, and ordered by nothing but the flag."""
    page = mmap.mmap(-1, 4096)

    def writes() -> None:
        page[8] = 7
        page[0] = 1

    def reads() -> None:
        if page[0]:
            assert page[8] == 7

    _in_children(writes, reads)


def apart() -> None:
    """Children that each count for themselves."""
    counts = [0]

    def work() -> None:
        counts[0] += 1

    _in_children(work, work)


def _only(result: Result, kind: Kind) -> Finding:
    assert [finding.kind for finding in result.findings] == [kind], result.reason
    return result.findings[0]


def test_both_ends_of_a_pair_of_sockets_are_made_by_the_run_and_no_hindrance_to_a_proof() -> None:
    def talk() -> None:
        ours, theirs = socket.socketpair()
        _in_children(lambda: theirs.sendall(b"hello"))
        assert ours.recv(5) == b"hello"

    assert lab.explore(talk, schedules=10).verdict is Verdict.PROVED


def test_a_lost_update_is_found_without_a_tally_and_told_with_its_steps() -> None:
    result = lab.explore(unguarded, schedules=5)
    finding = _only(result, Kind.LOST_UPDATE)

    assert result.verdict is Verdict.FAILED
    assert result.mode == "controlled"
    read, overwritten, late = (finding.steps[step] for step in finding.key_steps)
    assert read.process == late.process != overwritten.process
    assert read.object == overwritten.object == late.object
    assert f"{late.process} read" in finding.summary
    assert late.where.endswith(f"test_explore.py:{_add.__code__.co_firstlineno + 2}")


def test_its_schedule_is_shrunk_to_one_preemption_and_no_more_than_six_rows() -> None:
    finding = _only(lab.explore(unguarded, strategy="random", schedules=1), Kind.LOST_UPDATE)
    schedule = Token.read(finding.schedule).schedule
    rows = [line for line in table(finding).splitlines()[1:] if "not shown" not in line]

    assert (schedule.preemptions, len(schedule.deviations)) == (1, 1)
    assert finding.shrunk is not None
    assert finding.shrunk.before > 1
    assert finding.shrunk.complete
    assert 3 <= len(rows) <= 6
    assert lab.replay(finding, unguarded).findings[0].summary == finding.summary


def test_it_takes_no_more_than_three_schedules() -> None:
    for seed in range(5):
        result = lab.explore(unguarded, schedules=20, seed=seed, stop_at_first=True, shrinking=0)
        assert result.runs <= 3


def test_under_the_semaphore_nothing_is_lost() -> None:
    result = lab.explore(guarded, strategy="random", schedules=30)

    assert result.verdict is Verdict.PASSED, result.findings
    assert [(outcome.result, outcome.runs) for outcome in result.outcomes] == [
        ("4 of 4 updates", 30)
    ]
    assert result.notes == ()


def test_a_data_race_is_told_although_the_outcome_is_right() -> None:
    result = lab.explore(published, schedules=4)

    assert result.findings == ()
    assert [note.partition(":")[0] for note in result.notes] == ["data race on shared-memory"]
    assert f"in {result.runs} of {result.runs} runs" in result.notes[0]
    strict = lab.explore(published, schedules=2, strict_races=True)
    assert _only(strict, Kind.DATA_RACE).object == "shared-memory:1"


@pytest.mark.parametrize("body", [unguarded, opposite])
def test_a_token_shows_the_same_run_twenty_times_of_twenty(body: Callable[[], None]) -> None:
    finding = lab.explore(body, schedules=30, stop_at_first=True).findings[0]

    for _ in range(20):
        again = lab.replay(finding, body)
        assert again.verdict is Verdict.FAILED, again.reason
        assert again.findings[0].summary == finding.summary
        assert again.findings[0].steps == finding.steps


def test_a_token_finds_a_function_of_a_module_by_itself() -> None:
    finding = lab.explore(unguarded, schedules=5).findings[0]

    assert Token.read(finding.schedule).origin.words == (f"{__name__}:unguarded",)


def test_a_token_on_another_program_is_an_error_and_never_a_pass() -> None:
    finding = lab.explore(unguarded, schedules=5).findings[0]
    result = lab.replay(finding, guarded)

    assert result.verdict is Verdict.ERROR
    assert "the replay went another way at step" in result.reason


def test_a_deadlock_is_found_and_told_with_who_holds_what() -> None:
    finding = _only(lab.explore(opposite, schedules=30), Kind.DEADLOCK)

    assert finding.object == "/a, /b"
    assert sum(" holds /" in detail for detail in finding.details) == 2
    assert len(finding.key_steps) == 2


def test_processes_that_share_nothing_but_their_ends_say_so() -> None:
    result = lab.explore(apart, schedules=5)

    assert result.verdict is Verdict.PROVED
    assert "shared nothing but their exits" in result.notes[0]


def test_a_body_that_shares_nothing_at_all_is_vacuous() -> None:
    assert lab.explore(lambda: None, schedules=2).verdict is Verdict.VACUOUS


def test_a_loop_that_waits_for_nobody_is_an_error_that_names_it() -> None:
    def waits() -> None:
        page = mmap.mmap(-1, 4096)

        def work() -> None:
            while not page[0]:
                pass

        _in_children(work)

    result = lab.explore(waits, schedules=1, max_steps=200)

    assert result.verdict is Verdict.ERROR
    assert "was ended after 200 steps: P1 took" in result.reason
    assert "read shared-memory:1 -> 0" in result.reason


def test_a_command_is_explored_and_its_token_replays_it() -> None:
    command = ["sh", "-c", "true & true & wait; exit 3"]
    result = lab.explore(command, schedules=3)
    finding = _only(result, Kind.CRASH)

    assert "exit status 3" in finding.summary
    assert lab.replay(finding.schedule).findings[0].summary == finding.summary


def _lab(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """As the command `lab` starts, which does not look for modules where it stands (-P)."""
    program = "import sys; from lab.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_program_of_the_working_directory_makes_the_same_steps_when_replayed(
    tmp_path: Path,
) -> None:
    program = tmp_path / "fails"
    program.write_text("#!/bin/sh\ntrue & wait; exit 3\n")
    program.chmod(0o755)

    explored = _lab(tmp_path, "exec", "--explore", "2", "--", "./fails")
    (saved,) = (tmp_path / ".lab" / "schedules").iterdir()
    replayed = _lab(tmp_path, "replay", str(saved))

    assert explored.returncode == 1
    assert replayed.returncode == 1, replayed.stdout


def test_a_plan_is_for_a_hundred_schedules_of_ten_thousand_steps() -> None:
    assert Plan() == Plan(schedules=100, max_steps=10_000, stop_at_first=False)


def test_a_fix_led_along_the_schedule_of_its_bug_waits_where_the_bug_went_on() -> None:
    finding = _only(lab.explore(unguarded, schedules=5), Kind.LOST_UPDATE)
    guidance = guided(target(guarded), finding, max_steps=1000)

    assert guidance.result.verdict is Verdict.PASSED
    assert guidance.waits[0].pending.object == "posix-sem:/count"
    assert guidance.waits[0].pending.process in finding.processes


def tallied() -> Tally:
    """Two children add 1 once, and the sum is known."""
    page = mmap.mmap(-1, 4096)
    _in_children(lambda: _add(page), lambda: _add(page))
    return Tally(2, struct.unpack_from("=i", page)[0])


def test_each_result_is_in_the_table_as_allowed_or_forbidden() -> None:
    result = lab.explore(tallied, schedules=20, shrinking=0)
    rows = [line.split() for line in render(result).splitlines() if "%" in line]

    assert {(row[0], row[-1]) for row in rows} == {("2", "allowed"), ("1", "FORBIDDEN")}
    assert sum(outcome.runs for outcome in result.outcomes) == 20


def test_two_jobs_give_the_answer_of_one() -> None:
    alone, divided = (lab.explore(unguarded, schedules=6, jobs=jobs) for jobs in (1, 2))

    assert divided.findings == alone.findings
    assert (divided.runs, divided.seen_in, divided.outcomes) == (6, alone.seen_in, alone.outcomes)


def guarded_by_posix(page: mmap.mmap, semaphore: posix_ipc.Semaphore) -> None:
    for _ in range(2):
        semaphore.acquire()
        _add(page)
        semaphore.release()


@pytest.mark.parametrize("strategy", ["dpor", "auto"])
def test_two_jobs_prove_what_one_proves_in_as_many_executions(strategy: str) -> None:
    def both() -> None:
        page = mmap.mmap(-1, 4096)
        semaphore = posix_ipc.Semaphore("/s", posix_ipc.O_CREX, initial_value=1)
        _in_children(*[lambda: guarded_by_posix(page, semaphore)] * 2)
        semaphore.unlink()

    alone, divided = (lab.explore(both, strategy=strategy, jobs=jobs) for jobs in (1, 2))

    assert alone.verdict is Verdict.PROVED
    assert dataclasses.replace(divided, seconds=alone.seconds) == alone


@pytest.mark.parametrize("strategy", ["random", "dpor"])
def test_two_jobs_leave_no_process_behind_when_they_are_stopped(strategy: str) -> None:
    def heard(text: str) -> None:
        raise KeyboardInterrupt(text)

    with pytest.raises(KeyboardInterrupt):
        lab.explore(unguarded, strategy=strategy, schedules=50, jobs=2, progress=heard)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
