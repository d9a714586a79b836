"""A bug beside its fix, whole: a reader sees exactly this."""

from __future__ import annotations

import dataclasses

from lab.finding import Finding, Kind
from lab.report.compare import compare, listing
from lab.report.style import Style, columns
from lab.search.guided import Wait
from lab.search.strategy import Pending
from lab.trace import Action, Event
from tests.detect.events import in_order, read, step, write

BUG = in_order(read("P1", 4), read("P2", 4), write("P2", 4, 5), write("P1", 5, 5))
LOST = Finding(Kind.LOST_UPDATE, "/n", "It was lost.", key_steps=(0, 2, 3), steps=BUG)
LOCK = "posix-sem:/s"
FIX = in_order(
    step("P1", Action.ACQUIRE, LOCK),
    read("P1", 4),
    write("P1", 4, 5),
    step("P1", Action.RELEASE, LOCK),
    step("P2", Action.ACQUIRE, LOCK),
    read("P2", 5),
    write("P2", 5, 6),
)
WAIT = Wait(2, Pending("P2", Action.ACQUIRE, LOCK))


def _compared(style: Style | None = None, events: tuple[Event, ...] = FIX) -> str:
    sides = ("n.racy", "n.guarded")
    return compare(sides, LOST, events, [WAIT], *([style] if style else []))


def test_the_fix_waits_beside_the_step_that_the_bug_took() -> None:
    assert _compared().splitlines() == [
        "BUG n.racy                             │ FIX n.guarded",
        "     0 P1   read /n -> 4               │      0 P1   acquire /s",
        "     1 P2   read /n -> 4               │      1 P1   read /n -> 4",
        "     2 P2   write /n = 5               │ »    2 P2   waits to acquire /s",
        "!    3 P1   write /n = 5               │      2 P1   write /n = 5",
        "                                       │      3 P1   release /s",
        "                                       │      4 P2   acquire /s",
        "                                       │      5 P2   read /n -> 5",
    ]


def test_of_an_end_only_it_and_the_wait_for_it_are_shown() -> None:
    bug = in_order(step("P1", Action.EXIT, "P1"), step("P0", Action.EXIT, "P0"))
    zombie = Finding(Kind.ZOMBIE, "P1", "It stayed.", key_steps=(0, 1), steps=bug)
    fix = in_order(
        step("P1", Action.START, "P1"),
        step("P0", Action.SIGNAL, "P1"),
        step("P1", Action.EXIT, "P1"),
        step("P0", Action.WAIT, "P1"),
        step("P0", Action.EXIT, "P0"),
    )
    lines = compare(("s.racy", "s.waits"), zombie, fix, []).splitlines()

    assert [line.partition("│ ")[2].split() for line in lines[1:]] == [
        ["2", "P1", "exit", "P1"],
        ["3", "P0", "wait", "P1"],
        ["4", "P0", "exit", "P0"],
    ]


def test_colour_changes_no_letter() -> None:
    coloured = _compared(Style(colour=True))
    for sign in ("\x1b[33m", "\x1b[31m", "\x1b[1m", "\x1b[2m", "\x1b[0m"):
        coloured = coloured.replace(sign, "")

    assert coloured == _compared()


def test_a_long_run_is_cut_and_says_so() -> None:
    long = in_order(*[read("P1", 4)] * 50)
    lines = _compared(events=long).splitlines()

    assert lines[-1].endswith("shown 20 of 51")
    assert max(map(columns, lines)) <= 80


def test_nothing_of_a_program_reaches_the_terminal_unescaped() -> None:
    bad = tuple(dataclasses.replace(event, object="shm:\x1b[2J", where="\x1b") for event in BUG)
    finding = dataclasses.replace(LOST, steps=bad)
    lines = [*compare(("\x1b", "\x1b"), finding, bad, []).splitlines(), *listing(bad).splitlines()]

    assert all(line.isprintable() for line in lines)


def test_a_listing_has_every_step_and_where_it_was() -> None:
    steps = tuple(dataclasses.replace(event, where="scenarios/n.py:31") for event in BUG[:2])

    assert listing(steps).splitlines() == [
        f"  {number:>6} {process}    read posix-shm:/n -> 4".ljust(73) + "n.py:31"
        for number, process in enumerate(["P1", "P2"])
    ]
