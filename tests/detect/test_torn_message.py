from __future__ import annotations

import pytest

from lab.detect.torn_message import detect
from lab.finding import Kind
from lab.trace import Messages, Tally
from tests.detect.builders import run


def test_items_made_of_pieces_are_torn_and_taken_apart() -> None:
    messages = Messages(("hello world", "HELLO WORLD"), ("hello worldHELLO WOR", "LD"))

    (finding,) = detect(run(tally=messages))

    assert finding.kind is Kind.TORN_MESSAGE
    assert finding.object == "messages"
    assert "2 of 2 received items are no message that was sent" in finding.summary
    assert finding.details == (
        "'hello worldHELLO WOR' is 'hello world' + part 'HELLO WOR'",
        "'LD' is a part of 'HELLO WORLD'",
    )
    assert "length before each message" in finding.advice


@pytest.mark.parametrize(
    "received",
    [
        pytest.param(("onetwo",), id="two glued together"),
        pytest.param(("on", "e", "two"), id="one in two pieces"),
        pytest.param(("w", "one"), id="the middle of one"),
        pytest.param(("netw",), id="an end and a beginning"),
    ],
)
def test_every_way_to_tear_is_seen(received: tuple[str, ...]) -> None:
    assert list(detect(run(tally=Messages(("one", "two"), received))))


def test_a_piece_that_reads_like_a_whole_message_is_told_as_a_part_of_the_missing_one() -> None:
    (finding,) = detect(run(tally=Messages(("a", "xay"), ("a", "a"))))

    assert finding.details == ("'a' is a part of 'xay'",)


@pytest.mark.parametrize(
    "tally",
    [
        pytest.param(Messages(("one", "two"), ("two", "one")), id="whole, in any order"),
        pytest.param(Messages(("one", "two"), ("one",)), id="one is lost"),
        pytest.param(Messages(("one",), ("one", "one")), id="one came twice"),
        pytest.param(Messages(("one",), ("xyz",)), id="from nowhere"),
        pytest.param(Messages(("one",), ("one", "")), id="the end of the stream"),
        pytest.param(Tally(2, 1), id="a tally of numbers"),
        pytest.param(None, id="no tally"),
    ],
)
def test_what_is_not_torn(tally: Messages | Tally | None) -> None:
    assert not list(detect(run(tally=tally)))
