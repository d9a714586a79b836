"""The Chrome trace: by the rules of the format, and with the arrows that tell who woke whom."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from hypothesis import given

from lab.report.perfetto import render
from lab.report.story import Report, Story
from lab.trace import Action
from tests.detect.events import in_order, step
from tests.report.reports import FEW, reports
from tests.report.samples import ALL, FAILED, FINDING, LED


def events(report: Report) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(render(report))["traceEvents"]
    return found


def check(report: Report) -> None:
    """The rules of the trace event format, as far as they concern what is written."""
    found = events(report)
    slices = [event for event in found if event["ph"] == "X"]
    assert all(event["ph"] in "XMsf" for event in found)
    assert all(event["dur"] > 0 and event["ts"] >= 0 for event in slices)
    named = {(e["pid"], e["tid"]) for e in found if e["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in found if event["ph"] != "M"} <= named
    by_track: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for event in slices:
        by_track[event["pid"], event["tid"]].append(event)
    for track in by_track.values():
        _check_nested(track)
    flows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in found:
        if event["ph"] in "sf":
            flows[event["id"]].append(event)
    for start, end in flows.values():
        assert (start["ph"], end["ph"], end["bp"]) == ("s", "f", "e")
        assert (start["name"], start["cat"]) == (end["name"], end["cat"])
        assert start["ts"] < end["ts"]
        for each in (start, end):
            around = by_track[each["pid"], each["tid"]]
            assert any(s["ts"] <= each["ts"] <= s["ts"] + s["dur"] for s in around)


def _check_nested(track: list[dict[str, Any]]) -> None:
    open_ends: list[float] = []
    for event in sorted(track, key=lambda each: (each["ts"], -each["dur"])):
        end = event["ts"] + event["dur"]
        while open_ends and open_ends[-1] <= event["ts"]:
            open_ends.pop()
        assert not open_ends or end <= open_ends[-1]
        open_ends.append(end)


def test_the_samples_keep_the_rules() -> None:
    check(ALL)


@FEW
@given(reports)
def test_any_report_keeps_the_rules(report: Report) -> None:
    check(report)


def test_a_run_is_a_group_and_each_process_a_track_in_it() -> None:
    names = [
        (event["name"], event["args"]["name"])
        for event in events(Report((LED,)))
        if event["ph"] == "M"
    ]
    assert names[:3] == [
        ("process_name", "LOST UPDATE counter.unguarded"),
        ("thread_name", "P0"),
        ("thread_name", "P1"),
    ]
    assert ("process_name", "passed counter.guarded") in names
    assert ("thread_name", "/n") in names


def test_the_steps_that_conflict_are_marked_and_the_damage_more_so() -> None:
    shown = {
        event["args"]["step"]: event["name"][:2]
        for event in events(Report((FAILED,)))
        if event["ph"] == "X" and "args" in event
    }
    assert [step for step, mark in shown.items() if mark == "* "] == [2, 4]
    assert [step for step, mark in shown.items() if mark == "! "] == [5]


def arrows(*steps: Any) -> list[tuple[str, float, float]]:
    import dataclasses

    finding = dataclasses.replace(FINDING, key_steps=(), steps=in_order(*steps))
    result = dataclasses.replace(FAILED.result, findings=(finding,))
    found = [event for event in events(Report((Story(result),))) if event["ph"] in "sf"]
    return [
        (start["name"], start["ts"] // 1000, end["ts"] // 1000)
        for start, end in zip(found[::2], found[1::2], strict=True)
    ]


def test_an_arrow_goes_from_a_release_to_who_waited_for_it() -> None:
    lock = "posix-sem:/lock"
    one = step("P0", Action.ACQUIRE, lock, waits=True)
    other = step("P1", Action.ACQUIRE, lock, waits=True)
    assert arrows(one, step("P0", Action.RELEASE, lock), other) == [("wake", 1, 2)]
    # Who moved after the release did not stand before it.
    moved = step("P1", Action.READ, "file:a")
    assert arrows(one, step("P0", Action.RELEASE, lock), moved, other) == []


def test_an_arrow_goes_from_a_message_to_its_receipt_and_from_an_exit_to_its_wait() -> None:
    assert [name for name, _, _ in arrows(*FINDING.steps)] == ["fork", "reap"]
    sent = step("P0", Action.SEND, "posix-mq:/q", after=b"a")
    got = step("P1", Action.RECEIVE, "posix-mq:/q", before=b"a")
    assert arrows(sent, got) == [("message", 0, 1)]
