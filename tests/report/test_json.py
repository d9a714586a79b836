"""The JSON that other programs read."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from lab import __version__
from lab.finding import Finding, Kind, Outcome, Result, Shrinkage, Verdict
from lab.report.json import encode, render, scenario_object, write
from lab.report.story import Report, Story
from lab.scenario import declared, scenario
from lab.trace import Action, Event

if TYPE_CHECKING:
    from pathlib import Path

FAILED = Result(
    scenario="queue.left_behind",
    mode="observed",
    verdict=Verdict.FAILED,
    runs=3,
    seconds=0.5,
    findings=(
        Finding(
            Kind.LEAK,
            "/jobs",
            "/jobs stayed behind.",
            subject="posix-mq",
            processes=("P0",),
            advice="Unlink it.",
            details=("3 messages",),
            key_steps=(7,),
            schedule="1token",
            shrunk=Shrinkage(9, 1, 1, 12, complete=True),
            steps=(Event(7, "P0", Action.WRITE, "store", "sysv-shm:1", 8, 2, b"\0\1", b"\xff\0"),),
        ),
    ),
    seen_in=(2,),
    notes=("a note",),
    outcomes=(Outcome("12 of 15", 3, allowed=False),),
    output="hello",
    isolation="namespaces",
    parameters=(("producers", "3"),),
    search="random, seed 0",
)


def test_a_result_holds_everything_under_the_promised_keys() -> None:
    assert json.loads(render(Report((Story(FAILED),), {"a.py": {3: "x = 1"}}))) == {
        "format": 1,
        "lab": __version__,
        "results": [
            {
                "scenario": "queue.left_behind",
                "mode": "observed",
                "verdict": "failed",
                "runs": 3,
                "seconds": 0.5,
                "findings": [
                    {
                        "kind": "leak",
                        "object": "/jobs",
                        "summary": "/jobs stayed behind.",
                        "processes": ["P0"],
                        "subject": "posix-mq",
                        "advice": "Unlink it.",
                        "details": ["3 messages"],
                        "seen_in": 2,
                        "known": False,
                        "schedule": "1token",
                        "replay": "1token",
                        "key_steps": [7],
                        "shrunk": {
                            "before": 9,
                            "after": 1,
                            "preemptions": 1,
                            "runs": 12,
                            "complete": True,
                        },
                        "steps": [
                            {
                                "step": 7,
                                "process": "P0",
                                "action": "write",
                                "call": "store",
                                "object": "sysv-shm:1",
                                "offset": 8,
                                "size": 2,
                                "before": "0001",
                                "after": "ff00",
                                "result": None,
                                "where": "",
                                "time": 0.0,
                                "also": [],
                                "waits": False,
                                "timed": False,
                            }
                        ],
                    }
                ],
                "reason": "",
                "notes": ["a note"],
                "outcomes": [{"result": "12 of 15", "runs": 3, "allowed": False}],
                "isolation": "namespaces",
                "parameters": {"producers": "3"},
                "search": "random, seed 0",
                "exhausted": False,
                "saved": 0,
                "stale": [],
                "elsewhere": [],
                "lacking": [],
                "output": "hello",
                "summary": "",
                "where": "",
                "leading": None,
                "led": [],
                "code": [],
            }
        ],
        "sources": {"a.py": {"3": "x = 1"}},
    }


def test_a_document_that_was_stopped_cannot_be_taken_for_a_whole_one() -> None:
    assert "stopped" not in json.loads(render(Report(())))
    assert json.loads(render(Report((), stopped="Ctrl-C")))["stopped"] == "Ctrl-C"


def test_a_scenario_tells_its_declaration() -> None:
    @scenario(expects=["zombie", "leak"], may_show=["hang"], needs=["redis"], zombie_after=0.1)
    def sloppy(children: int = 2, gentle: bool = False) -> None:
        """Leave everything behind.

        In every run.
        """

    found = declared(sloppy)
    assert found
    assert json.loads(encode(scenario_object(found))) == {
        "id": "test_json.sloppy",
        "family": "test_json",
        "role": "bug",
        "fixes": "",
        "expects": ["leak", "zombie"],
        "may_show": ["hang"],
        "needs": ["redis"],
        "parameters": {"children": 2, "gentle": False},
        "summary": "Leave everything behind.",
    }


def test_bytes_that_are_no_text_are_replaced() -> None:
    smuggled = b"caf\xe9".decode("utf-8", "surrogateescape")
    text = encode({smuggled: [smuggled, {"nested": (smuggled, "\ud800")}]})
    assert "\\ud" not in text
    assert json.loads(text) == {"caf\ufffd": ["caf\ufffd", {"nested": ["caf\ufffd", "\ufffd"]}]}


def test_the_document_cannot_drive_a_terminal() -> None:
    text = encode({"object": "\x1b[2J\x9b\u202e"})
    assert text.isascii()
    assert "\x1b" not in text


def test_a_file_is_replaced_whole_and_readable_as_the_umask_says(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    old = path.open()
    mask = os.umask(0o027)
    try:
        write(path, "new")
    finally:
        os.umask(mask)
    with old:
        assert old.read() == "old", "a reader of the old file must not see the new one grow"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_a_link_goes_on_pointing_where_it_did(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    write(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_what_is_no_regular_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(fifo, "through the pipe")
        assert os.read(reader, 100) == b"through the pipe"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path / "result.json", "\ud800")
    assert list(tmp_path.iterdir()) == []
