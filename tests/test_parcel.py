from __future__ import annotations

import io
import socket
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.parcel import CutOff, put, take

THINGS = st.recursive(
    st.none() | st.integers() | st.binary() | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner),
    max_leaves=10,
)


@given(st.lists(THINGS))
def test_what_is_put_is_taken_in_the_same_order(things: list[object]) -> None:
    stream = io.BytesIO()
    for thing in things:
        put(stream.write, thing)
    stream.seek(0)

    assert [take(stream.read) for _ in things] == things
    with pytest.raises(EOFError) as nothing:
        take(stream.read)
    assert not isinstance(nothing.value, CutOff)


def test_a_parcel_may_come_in_pieces() -> None:
    stream = io.BytesIO()
    put(stream.write, "in pieces")
    stream.seek(0)

    assert take(lambda _: stream.read(1)) == "in pieces"


@given(st.data())
def test_a_part_of_a_parcel_is_no_parcel(data: st.DataObject) -> None:
    stream = io.BytesIO()
    put(stream.write, "whole")
    whole = stream.getvalue()
    part = io.BytesIO(whole[: data.draw(st.integers(1, len(whole) - 1))])

    with pytest.raises(CutOff):
        take(part.read)


def test_a_large_one_goes_through_a_small_buffer_of_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        large = bytes(5 << 20)
        sender = Thread(target=put, args=(theirs.sendall, large))
        sender.start()
        assert take(ours.recv) == large
        sender.join()
