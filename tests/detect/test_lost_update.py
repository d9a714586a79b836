from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.detect.invariant import detect as invariants
from lab.detect.lost_update import detect
from lab.finding import Kind
from lab.trace import Messages, Tally
from tests.detect.builders import run, untimed


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
