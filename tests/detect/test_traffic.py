from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lab.detect.traffic import Torn, Traffic, compare
from lab.trace import Messages
from tests.detect.builders import untimed

_framed = st.lists(
    st.integers(0, 9).map(lambda number: f"<message {number}>"), max_size=8
)  # a text that begins and ends as no part of another does: nothing is ambiguous


def _brute_force_lost(sent: list[str], received: list[str]) -> list[str]:
    left = list(sent)
    for item in received:
        if item in left:
            left.remove(item)
    return left


@untimed
@given(_framed, st.data())
def test_whole_messages_are_lost_exactly_as_a_multiset_says(
    sent: list[str], data: st.DataObject
) -> None:
    kept = [text for text in sent if data.draw(st.booleans())]
    received = data.draw(st.permutations(kept))

    traffic = compare(Messages(tuple(sent), tuple(received)))

    assert Counter(traffic.lost) == Counter(_brute_force_lost(sent, received))
    assert not traffic.torn
    assert not traffic.extra


@untimed
@given(_framed, st.data())
def test_a_stream_cut_anywhere_loses_nothing(sent: list[str], data: st.DataObject) -> None:
    """Reads of any size, by any number of readers, that together see every byte."""
    stream = "".join(sent)
    places = data.draw(st.sets(st.integers(0, len(stream))))
    cuts = sorted({0, len(stream), *places})
    chunks = [stream[start:end] for start, end in itertools.pairwise(cuts)]
    received = data.draw(st.permutations(chunks))

    traffic = compare(Messages(tuple(sent), tuple(received)))

    assert not traffic.lost
    assert not traffic.extra
    assert bool(traffic.torn) == (Counter(received) != Counter(sent))


@untimed
@given(st.lists(st.text("ab", max_size=4)), st.lists(st.text("ab", max_size=6)))
def test_every_received_item_is_accounted_for_once(sent: list[str], received: list[str]) -> None:
    traffic = compare(Messages(tuple(sent), tuple(received)))

    delivered = Counter(sent) & Counter(filter(None, received))
    accounted = delivered + Counter(t.item for t in traffic.torn) + Counter(traffic.extra)
    assert accounted == Counter(filter(None, received))
    assert Counter(traffic.lost) <= Counter(sent) - delivered


@untimed
@given(st.lists(st.text("ab", max_size=4)), st.lists(st.text("ab", max_size=6)))
def test_the_pieces_of_a_torn_item_make_the_item(sent: list[str], received: list[str]) -> None:
    for torn in compare(Messages(tuple(sent), tuple(received))).torn:
        assert "".join(torn.pieces) == torn.item
        assert all(any(piece in text for text in sent) for piece in torn.pieces)


def test_two_messages_of_11_bytes_read_by_20_are_one_and_a_piece_then_the_rest() -> None:
    sent = ("hello world", "HELLO WORLD")
    stream = "".join(sent)

    traffic = compare(Messages(sent, (stream[:20], stream[20:])))

    assert traffic == Traffic(
        lost=(),
        torn=(
            Torn("hello worldHELLO WOR", ("hello world", "HELLO WOR")),
            Torn("LD", ("LD",)),
        ),
        extra=(),
    )


def test_a_message_of_which_nothing_arrived_is_lost_beside_torn_ones() -> None:
    traffic = compare(Messages(("one", "two", "six"), ("onetwo",)))

    assert traffic.torn == (Torn("onetwo", ("one", "two")),)
    assert traffic.lost == ("six",)


def test_a_whole_message_in_a_torn_item_is_no_trace_of_a_longer_one() -> None:
    traffic = compare(Messages(("job 1", "job 2", "job 10"), ("job 1job 2",)))

    assert traffic.lost == ("job 10",)


def test_a_message_of_which_no_piece_arrived_is_lost_beside_pieces_of_another() -> None:
    assert compare(Messages(("one", "six"), ("on", "e"))).lost == ("six",)


def test_two_missing_messages_may_read_like_one_that_was_delivered() -> None:
    traffic = compare(Messages(("ab", "a", "b"), ("ab", "ab")))

    assert traffic == Traffic((), (Torn("ab", ("a", "b")),), ())


def test_a_piece_of_a_message_that_was_delivered_is_torn_too() -> None:
    assert compare(Messages(("ab",), ("ab", "a"))) == Traffic((), (Torn("a", ("a",)),), ())


def test_one_copy_too_many_is_extra_and_not_torn() -> None:
    assert compare(Messages(("a", "b"), ("a", "a", "b"))) == Traffic((), (), ("a",))


def test_what_nobody_sent_is_extra() -> None:
    assert compare(Messages(("hello",), ("hello", "xyz"))).extra == ("xyz",)


def test_the_empty_read_at_the_end_of_a_stream_counts_as_nothing() -> None:
    assert compare(Messages(("hello",), ("hello", ""))) == Traffic((), (), ())


def test_an_empty_message_can_be_lost() -> None:
    assert compare(Messages(("",), ())).lost == ("",)


def _lines(writer: str) -> list[str]:
    return [f"{writer}, line {number:7}\n" for number in range(6)]


def test_messages_whose_writers_took_turns_are_torn_and_not_lost() -> None:
    a, b = _lines("A"), _lines("B")
    sent = ("".join(a), "".join(b))
    pieces = [a[:2], b[:3], a[2:4], b[3:5], a[4:], b[5:]]
    stream = "".join(line for piece in pieces for line in piece)
    half = len(sent[0])

    traffic = compare(Messages(sent, (stream[:half], stream[half:])))

    assert not traffic.lost
    assert not traffic.extra
    assert [torn.pieces for torn in traffic.torn] == [
        ("".join(a[:2]), "".join(b[:3]), a[2]),
        (a[3], "".join(b[3:5]), "".join(a[4:]), b[5]),
    ]


def test_short_pieces_out_of_many_messages_prove_nothing() -> None:
    sent = ("".join(_lines("A")), "".join(_lines("B")))
    garbled = "line 2, line 1, B, A"

    traffic = compare(Messages(sent, (garbled, sent[1])))

    assert traffic.extra == (garbled,)
    assert traffic.lost == sent[:1]
