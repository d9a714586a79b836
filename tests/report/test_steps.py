"""The table of steps, whole: a reader sees exactly this."""

from __future__ import annotations

import dataclasses

import pytest

from lab.finding import Finding, Kind
from lab.operation import PRINTED
from lab.report.steps import last_steps, table
from lab.report.style import Style, columns
from lab.search.schedule import Schedule
from lab.search.token import Origin, Source, Token
from lab.trace import Action, Event
from tests.detect.events import in_order, read, step, write

LOSS = in_order(
    step("P0", Action.FORK),
    read("P1", 4),
    read("P2", 4),
    step("P3", Action.SLEEP),
    write("P2", 4, 5),
    step("P1", Action.SLEEP),
    write("P1", 5, 5),
    step("P1", Action.EXIT, "P1"),
)


def _finding(steps: tuple[Event, ...], *key_steps: int) -> Finding:
    return Finding(Kind.LOST_UPDATE, "/n", "It was lost.", key_steps=key_steps, steps=steps)


LOST = _finding(LOSS, 1, 4, 6)


def test_each_process_has_a_column_and_the_step_that_did_the_damage_a_mark() -> None:
    assert table(LOST) == (
        "    step │ P1                              │ P2\n"
        "       1 │ read /n -> 4                    │\n"
        "       2 │   » switch (1 of 1)             │ read /n -> 4\n"
        "       4 │                                 │ write /n = 5\n"
        "  !    6 │ write /n = 5                    │\n"
        "         │ 2 other steps in between, not shown"
    )


def _scheduled(*deviations: tuple[int, str]) -> Finding:
    """An assertion that failed: no steps are known to conflict."""
    token = Token(Origin(Source.COMMAND, ("true",)), Schedule(deviations, len(deviations)))
    return Finding(Kind.INVARIANT, "/n", "It failed.", schedule=str(token), steps=LOSS)


def test_without_steps_that_conflict_the_turns_of_the_schedule_are_shown() -> None:
    assert table(_scheduled((2, "P2"))) == (
        "    step │ P1                              │ P2\n"
        "       1 │ read /n -> 4                    │\n"
        "       2 │   » switch (1 of 1)             │ read /n -> 4\n"
        "       5 │ sleep                           │"
    )


def test_a_process_that_was_only_born_then_is_shown_at_work() -> None:
    steps = in_order(read("P1", 4), step("P2", Action.START), write("P2", 4, 5), read("P1", 5))
    finding = dataclasses.replace(_scheduled((1, "P2")), steps=steps)

    assert [line[:9].strip() for line in table(finding).splitlines()] == ["step", "0", "2", "3"]


def test_many_turns_are_no_explanation() -> None:
    assert not table(_scheduled((1, "P1"), (2, "P2"), (4, "P2"), (5, "P1")))


def test_lines_of_the_program_stand_at_the_right_and_make_the_columns_narrower() -> None:
    steps = tuple(dataclasses.replace(event, where="scenarios/counter.py:31") for event in LOSS)
    lines = table(dataclasses.replace(LOST, steps=steps)).splitlines()

    assert lines[1] == (
        "       1 │ read /n -> 4              │                            counter.py:31"
    )
    assert max(columns(line) for line in lines) <= 80


def test_taking_and_giving_back_a_lock_in_between_is_shown() -> None:
    steps = in_order(
        read("P1", 4), step("P1", Action.ACQUIRE, "posix-sem:/s"), write("P2", 4, 5),
        write("P1", 5, 5),
    )  # fmt: skip

    assert "acquire /s" in table(_finding(steps, 0, 2, 3))


def test_an_end_is_shown_without_all_else_that_concerned_its_process() -> None:
    steps = in_order(
        step("P1", Action.EXIT, "P1"),
        step("P0", Action.DELIVER, "P0"),
        step("P0", Action.EXIT, "P0"),
    )

    assert table(_finding(steps, 0, 2)).splitlines()[1:] == [
        "       0 │                                 │ exit P1",
        "  !    2 │ exit P0                         │",
        "         │ 1 other step in between, not shown",
    ]


def test_of_very_many_steps_only_those_that_conflict_are_shown() -> None:
    busy = in_order(read("P1", 4), *[write("P2", 4, 5)] * 50, write("P1", 5, 5))

    lines = table(_finding(busy, 0, 50, 51)).splitlines()

    assert [line[4:8].strip() for line in lines[1:4]] == ["0", "50", "51"]
    assert lines[4].endswith("49 other steps in between, not shown")


def test_of_many_steps_what_led_to_those_that_conflict_is_shown() -> None:
    others = [each for value in range(9) for each in (read("P2", value), write("P2", value, 9))]
    busy = in_order(read("P1", 0), *others, write("P1", 9, 0), write("P1", 0, 1))

    lines = table(_finding(busy, 0, 18, 20)).splitlines()

    assert [line[4:8].strip() for line in lines[1:-1]] == ["0", "17", "18", "20"]
    assert lines[-1].endswith("17 other steps in between, not shown")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("posix-shm:/a-name-that-says-more-than-it-has-to", "/a-name-that-say..."),
        ("file:/var/lib/a/long/way/down/to/the/file.json", ".../the/file.json"),
        ("file:/var/lib/a/long-name-of-one-single-file.json", "...single-file.json"),
    ],
)
def test_a_long_name_gives_way_to_the_value(name: str, shown: str) -> None:
    steps = tuple(dataclasses.replace(event, object=name, offset=8, call="load") for event in LOSS)

    lines = table(_finding(steps, 1, 4, 6)).splitlines()

    assert f"read {shown}+8 -> 4 " in lines[1]
    assert "+8 = 5 " in lines[-2]


def test_no_more_than_three_columns_fit() -> None:
    crowd = in_order(*(read(f"P{number}", 4) for number in range(1, 7)), write("P1", 4, 5))

    text = table(_finding(crowd, *range(7)))

    assert text.splitlines()[0].split("│")[1:] == [
        " P1                   ",
        " P2                   ",
        " P3",
    ]
    assert max(columns(line) for line in text.splitlines()) <= 80


def test_columns_are_in_order_of_birth() -> None:
    steps = in_order(read("P10", 4), write("P2", 4, 5), write("P10", 5, 5))

    assert table(_finding(steps, 0, 1, 2)).splitlines()[0].split()[2::2] == ["P2", "P10"]


@pytest.mark.parametrize("finding", [_finding((), 1, 2), _finding(LOSS), _finding(LOSS, 90, 91)])
def test_without_steps_that_conflict_there_is_no_table(finding: Finding) -> None:
    assert table(finding) == ""


def test_nothing_of_a_program_reaches_the_terminal_unescaped() -> None:
    steps = tuple(
        dataclasses.replace(event, object="shm:\x1b[2J\u202e", where="\x1b") for event in LOSS
    )

    assert all(line.isprintable() for line in table(_finding(steps, 1, 4, 6)).split("\n"))


def test_colour_changes_no_letter_and_ascii_needs_no_other() -> None:
    coloured = table(LOST, Style(colour=True))
    for code in ("\x1b[2m", "\x1b[31m", "\x1b[0m"):
        coloured = coloured.replace(code, "")

    assert coloured == table(LOST)
    assert table(LOST, Style(unicode=False)).isascii()


def test_the_last_steps_are_what_was_done_to_things_and_not_what_was_printed() -> None:
    steps = in_order(
        read("P1", 4), step("P1", Action.WRITE, PRINTED), step("P1", Action.SLEEP), read("P2", 4)
    )

    assert [event.step for event in last_steps(_finding(steps))] == [0, 3]


def test_a_wide_terminal_shows_more_of_a_long_name() -> None:
    name = "posix-shm:/a-name-too-long-for-eighty-columns"
    events = in_order(read("P1", 4, object=name), write("P2", 4, 5, object=name))
    finding = Finding(Kind.LOST_UPDATE, name, "Lost.", key_steps=(0, 1), steps=events)
    narrow, wide = table(finding), table(finding, Style(width=140))
    assert (
        max(map(columns, narrow.splitlines())) <= 80 < max(map(columns, wide.splitlines())) <= 140
    )
    assert "eighty-columns" in wide
    assert "eighty-columns" not in narrow


def test_of_more_than_six_processes_those_without_a_column_are_named() -> None:
    steps = in_order(*(read(f"P{number}", 4) for number in range(1, 9)), step("P9", Action.SLEEP))
    text = table(_finding(steps, *range(8)))
    assert text.splitlines()[0].split() == ["step", "│", "P1", "│", "P2", "│", "P3"]
    assert "P4 P5 P6 P7 P8 did the like, not shown" in text
    assert "P9" not in text
