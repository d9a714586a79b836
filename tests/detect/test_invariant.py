from __future__ import annotations

from lab.detect.invariant import detect
from lab.finding import Kind
from lab.trace import Failure, Messages, Tally
from tests.detect.builders import run


def _failed(message: str = "stock is 7") -> Failure:
    return Failure("AssertionError", message, "shop.py:31", "Traceback\nAssertionError", True)


def test_a_failed_assertion_breaks_an_invariant() -> None:
    (finding,) = detect(run(failure=_failed()))

    assert finding.kind is Kind.INVARIANT
    assert finding.object == "shop.py:31"
    assert finding.summary == "An assertion failed at shop.py:31: stock is 7."
    assert finding.details == ("Traceback", "AssertionError")


def test_an_assertion_that_says_nothing_should_say_something() -> None:
    (finding,) = detect(run(failure=_failed("")))

    assert "it has no message" in finding.summary
    assert "message" in finding.advice


def test_an_assertion_without_a_place_is_the_roots() -> None:
    failure = Failure("AssertionError", "no", "", "Traceback", True)

    (finding,) = detect(run(failure=failure))

    assert finding.object == "P0"


def test_the_message_is_no_part_of_the_identity() -> None:
    (one,), (other,) = (detect(run(failure=_failed(f"stock is {n}"))) for n in (7, 8))

    assert one.identity == other.identity


def test_another_exception_is_none() -> None:
    failure = Failure("ValueError", "no", "shop.py:31", "Traceback", False)

    assert not list(detect(run(failure=failure)))


def test_more_updates_than_were_made_are_one() -> None:
    (finding,) = detect(run(tally=Tally(15, 17)))

    assert finding.object == "updates"
    assert "17 updates came out, 2 more than the 15 expected" in finding.summary


def test_a_message_that_came_twice_is_one() -> None:
    (finding,) = detect(run(tally=Messages(("red",), ("red", "red"))))

    assert finding.object == "messages"
    assert finding.details == ("'red'",)


def test_what_was_expected_is_none() -> None:
    assert not list(detect(run(tally=Tally(15, 15))))
    assert not list(detect(run(tally=Messages(("red",), ("red",)))))
    assert not list(detect(run()))
