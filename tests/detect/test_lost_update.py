from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.detect.invariant import detect as invariants
from lab.detect.lost_update import detect
from lab.finding import Kind
from lab.trace import Action, Event, Failure, Messages, Tally
from tests.detect.builders import run, untimed
from tests.detect.events import controlled, read, step, write


def test_fewer_than_were_made_are_lost_updates() -> None:
    (finding,) = detect(run(tally=Tally(15, 12)))

    assert finding.kind is Kind.LOST_UPDATE
    assert finding.object == "updates"
    assert "3 of 15 updates lost" in finding.summary
    assert finding.advice


def test_all_updates_can_be_lost() -> None:
    (finding,) = detect(run(tally=Tally(15, 0)))

    assert "15 of 15 updates lost" in finding.summary


def test_a_balance_below_zero_does_not_lose_more_than_there_was() -> None:
    (finding,) = detect(run(tally=Tally(15, -5, "euros")))

    assert "-5 euros came out, 20 fewer than 15" in finding.summary


@untimed
@given(st.integers(), st.integers())
def test_a_tally_is_short_or_right_or_too_large_and_only_one_of_them(
    expected: int, actual: int
) -> None:
    trace = run(tally=Tally(expected, actual))

    assert len(list(detect(trace))) == (actual < expected)
    assert len(list(invariants(trace))) == (actual > expected)


def test_numbers_are_no_part_of_the_identity() -> None:
    (one,), (other,) = detect(run(tally=Tally(15, 12))), detect(run(tally=Tally(15, 14)))

    assert one.identity == other.identity


@pytest.mark.parametrize("tally", [None, Messages(("a",), ())])
def test_without_a_tally_there_is_nothing_to_say(tally: Messages | None) -> None:
    assert not list(detect(run(tally=tally)))


# --- Seen in the steps of a controlled run --------------------------------------------------

LOST = (read("P1", 4), read("P2", 4), write("P2", 4, 5), write("P1", 5, 5))
UNSURE = (read("P1", 4), read("P1", 0, object="flag"), write("P2", 4, 5), write("P1", 5, 5))
FAILURE = Failure("AssertionError", "5 != 6", "count.py:9", "", is_assertion=True)


def test_the_stale_read_the_hidden_write_and_the_late_write_are_named() -> None:
    (finding,) = detect(controlled(*LOST))

    assert finding.kind is Kind.LOST_UPDATE
    assert finding.object == "posix-shm:/n"
    assert finding.summary == (
        "P1 read posix-shm:/n = 4 at step 0 and wrote 5 at step 3, over the 5 that P2 wrote at "
        "step 2 and P1 never saw."
    )
    assert finding.processes == ("P1", "P2")
    assert finding.key_steps == (0, 2, 3)


def test_a_tally_that_falls_short_is_told_with_the_steps_and_not_beside_them() -> None:
    (finding,) = detect(controlled(*LOST, tally=Tally(15, 14)))

    assert finding.key_steps == (0, 2, 3)
    assert finding.summary.endswith("1 of 15 updates lost: 14 came out.")


def test_a_tally_that_no_step_explains_is_told_alone() -> None:
    (finding,) = detect(controlled(read("P1", 4), write("P1", 4, 0), tally=Tally(15, 14)))

    assert finding.object == "updates"
    assert finding.key_steps == ()


@pytest.mark.parametrize("facts", [{"tally": Tally(15, 14)}, {"failure": FAILURE}])
def test_what_may_depend_on_the_read_explains_a_wrong_result(facts: dict[str, object]) -> None:
    (finding,) = detect(controlled(*UNSURE, **facts))

    assert finding.key_steps == (0, 2, 3)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"tally": Tally(15, 15)},
        {"failure": dataclasses.replace(FAILURE, is_assertion=False)},
    ],
)
def test_and_is_no_finding_by_itself(facts: dict[str, object]) -> None:
    assert not list(detect(controlled(*UNSURE, **facts)))


def test_each_place_is_a_finding_and_each_further_loss_there_a_detail() -> None:
    again = tuple(dataclasses.replace(event) for event in LOST)
    elsewhere = tuple(dataclasses.replace(event, offset=8) for event in LOST)
    one, other = detect(controlled(*LOST, *again, *elsewhere))

    assert (one.object, other.object) == ("posix-shm:/n", "posix-shm:/n+8")
    assert one.details == (
        "also: P1 read at step 4, P2 wrote at step 6, and P1 wrote over that at step 7",
    )
    assert other.details == ()


def test_the_loss_that_takes_the_fewest_steps_to_show_is_told_first() -> None:
    slow = (read("P3", 4), *LOST, write("P3", 5, 5))
    (finding,) = detect(controlled(*slow))

    assert finding.key_steps == (1, 3, 4)
    assert finding.details[0].startswith("also: P3 read at step 0")


def test_of_many_losses_some_are_told_and_the_rest_counted() -> None:
    (finding,) = detect(controlled(*LOST * 10))

    assert len(finding.details) == 4
    assert finding.details[-1] == "and 6 more such writes"


def test_what_was_put_behind_an_end_that_was_found_is_told_so_and_once_for_a_file() -> None:
    log = "file:/tmp/log"

    def lost_at(end: int) -> tuple[Event, ...]:
        return (
            step("P1", Action.READ, log, call="lseek", result=end),
            step("P2", Action.WRITE, log, size=4, offset=end, after=b"two\n"),
            step("P1", Action.WRITE, log, size=4, offset=end, after=b"one\n"),
        )

    (finding,) = detect(controlled(*lost_at(0), *lost_at(4)))

    assert finding.summary == (
        "P1 found the end of file:/tmp/log at step 0 and wrote 'one\\n' there at step 2, over the "
        "'two\\n' that P2 had put there at step 1 and P1 never saw."
    )
    assert finding.details == (
        "also: P1 read at step 3, P2 wrote at step 4, and P1 wrote over that at step 5",
    )


def test_a_name_that_is_drawn_anew_is_no_part_of_the_identity() -> None:
    one, other = (
        next(detect(controlled(*(dataclasses.replace(event, object=name) for event in LOST))))
        for name in ("posix-shm:/psm_12345678", "posix-shm:/psm_abcdef12")
    )

    assert one.identity == other.identity
    assert "psm_12345678" in one.summary
