"""RESP: commands and replies, whole and in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.run.control.redis.wire import Failure, NotRespError, commands, replies


def sent(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def texts(data: bytes) -> list[tuple[bytes, ...]]:
    return [tuple(word.text for word in command) for command in commands(data)[0]]


def test_a_word_is_found_where_it_lies() -> None:
    data = sent(b"PING") + sent(b"BLPOP", b"jobs", b"2.5")
    last = commands(data)[0][1][2]
    assert data[last.start : last.start + 3] == last.text == b"2.5"


@given(st.lists(st.lists(st.binary(), min_size=1, max_size=4).map(tuple), max_size=4), st.data())
def test_a_stream_may_be_cut_anywhere(wanted: list[tuple[bytes, ...]], data: st.DataObject) -> None:
    stream = b"".join(sent(*words) for words in wanted)
    cut = data.draw(st.integers(0, len(stream)))

    found, rest = commands(stream[:cut])
    more, nothing = commands(rest + stream[cut:])

    assert [tuple(word.text for word in each) for each in (*found, *more)] == wanted
    assert nothing == b""


@pytest.mark.parametrize("data", [b"GET a\r\n", b"*1\r\n:3\r\n", b"*x\r\n", b"\x16\x03\x01\r\n"])
def test_what_is_no_command_is_refused(data: bytes) -> None:
    with pytest.raises(NotRespError):
        commands(data)


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"+OK\r\n", b"OK"),
        (b"-ERR no\r\n", Failure(b"ERR no")),
        (b":-3\r\n", -3),
        (b"$5\r\na\r\nbc\r\n", b"a\r\nbc"),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"_\r\n", None),
        (b",1.5\r\n", b"1.5"),
        (b"#t\r\n", b"t"),
        (b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", [b"a", [1]]),
        (b"%1\r\n+k\r\n:1\r\n", [b"k", 1]),
        (b"=5\r\ntxt:a\r\n", b"txt:a"),
        (b"!3\r\nERR\r\n", Failure(b"ERR")),
    ],
)
def test_a_reply_is_read_in_either_version_of_the_protocol(data: bytes, reply: object) -> None:
    assert replies(data) == [reply]
    assert replies(data + data[:-1]) == [reply]


def test_what_is_no_reply_is_refused() -> None:
    with pytest.raises(NotRespError):
        replies(b"HTTP/1.1 400\r\n")
