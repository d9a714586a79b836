"""`lab compare` and `lab replay --until`, over toys in place of the controller."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.cli import main
from tests.search import stand_in
from tests.search.models import account, counter
from tests.search.toy import Program, Task, ToyRunner, receive, send, write

RACY, GUARDED = "counter.posix_unguarded", "counter.posix_guarded"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The first exploration runs the first program, every later one the next."""

    def controlled(*programs: Program) -> None:
        left = iter(programs)

        class Next(ToyRunner):
            def __init__(self, _program: Program) -> None:
                super().__init__(next(left))

        stand_in.control(monkeypatch, programs[0], Next)

    return controlled


def test_the_bug_is_found_and_its_fix_waits_beside_it(
    control: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter(), counter(guarded=True))

    assert main(["compare", RACY, GUARDED]) == 0
    text = capsys.readouterr().out
    assert f"BUG {RACY}" in text
    assert f"FIX {GUARDED}" in text
    assert "P2   waits to acquire lock" in text
    assert "(the schedule of the bug)" in " ".join(text.split())
    assert not Path(".lab").exists()


def test_a_fix_runs_with_the_parameters_of_the_run_that_it_is_compared_with(
    control: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter(), counter(), counter(guarded=True), counter(), counter(guarded=True))
    main(["explore", "--json", "-", RACY, "-p", "writers=2", "-p", "window=0"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    token = document["results"][0]["findings"][0]["schedule"]

    main(["compare", token, GUARDED])
    assert "writers=2" in capsys.readouterr().out
    main(["compare", token, GUARDED, "-p", "writers=4"])
    assert "writers=4" in capsys.readouterr().out


def test_where_no_steps_conflict_the_last_ones_are_compared_and_who_waits_is_told(
    control: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def takes() -> Task:
        yield write("n", 1)
        yield receive("replies")

    def answers() -> Task:
        yield receive("requests")

    def sends() -> Task:
        yield write("n", 1)
        yield send("requests", 1)

    control(Program({"P1": takes, "P2": answers}), Program({"P1": sends, "P2": answers}))

    assert main(["compare", RACY, GUARDED]) == 0
    text = capsys.readouterr().out
    assert " sleep for ever: each waits" in text
    assert "P1: in receive on replies" in text
    assert [line.split() for line in text.splitlines() if "write n" in line] == [
        ["0", "P1", "write", "n", "=", "1", "│", "0", "P1", "write", "n", "=", "1"]
    ]


def test_a_fix_that_is_none_exits_1(
    control: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter(), counter())

    assert main(["compare", RACY, GUARDED]) == 1
    assert "waits to" not in capsys.readouterr().out


def test_a_saved_schedule_will_do_for_the_bug(
    control: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter(), counter(), counter(guarded=True))
    main(["explore", RACY, "--schedules", "5"])
    (file,) = Path(".lab", "schedules").iterdir()
    capsys.readouterr()

    assert main(["compare", "--json", "-", str(file), GUARDED]) == 0
    (bug,) = json.loads(capsys.readouterr().out)["results"]
    (fix,) = (led["result"] for led in bug["led"])
    assert (bug["scenario"], bug["verdict"]) == (RACY, "failed")
    assert (fix["scenario"], fix["verdict"]) == (GUARDED, "passed")
    assert any("P2 waits" in note for note in fix["notes"])


def test_without_a_bug_there_is_nothing_to_compare(
    control: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter(guarded=True), account())

    assert main(["compare", RACY, GUARDED, "--schedules", "3"]) == 3
    assert "Nothing to compare" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["compare", RACY, "counter"], "counter is a family"),
        (["compare", "2xyz", GUARDED], "lab compare: '2xyz' is no token"),
        (["compare", "./none.json", GUARDED], "No such file"),
        (["compare", RACY, GUARDED, "--strategy", "luck"], "there is no strategy 'luck'"),
        (["compare", RACY, GUARDED, "-p", "writer=2"], "nearest: writers"),
    ],
)
def test_a_question_without_sense_exits_2(
    words: list[str],
    answer: str,
    control: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    control(counter(), counter())

    assert main(words) == 2
    assert answer in capsys.readouterr().err


def test_a_replay_lists_every_step_up_to_the_one_that_is_wanted(
    control: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter(), counter())
    main(["explore", "--json", "-", RACY])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    token = document["results"][0]["findings"][0]["schedule"]

    assert main(["replay", token, "--until", "3"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["0", "P1"],
        ["1", "P2"],
        ["2", "P2"],
        ["3", "P2"],
    ]
    assert lines[4].startswith("✗ LOST UPDATE")
