"""What things without a name are called: the same in every order."""

from __future__ import annotations

import mmap
import os
import socket
from collections.abc import Iterable

from lab.trace import Action, Trace
from tests.run.control.controlled import explore, in_children


def _written(traces: Iterable[Trace]) -> set[tuple[str, str]]:
    """Which processes wrote to which things without a name of their own."""
    return {
        (event.process, event.object)
        for trace in traces
        for event in trace.events
        if event.action in (Action.SEND, Action.WRITE)
        and ":" in event.object
        and "lab-output" not in event.object
    }


def test_pipes_keep_their_names_in_whichever_order_they_are_used() -> None:
    def body() -> None:
        (_, first), (_, second) = os.pipe(), os.pipe()
        in_children(lambda: os.write(first, b"a"), lambda: os.write(second, b"b"))

    assert _written(explore(body, 8)) == {("P1", "pipe:1"), ("P2", "pipe:2")}


def test_who_made_a_thing_is_in_its_name() -> None:
    def talks() -> None:
        _, writer = os.pipe()
        os.write(writer, b"a")
        one, _other = socket.socketpair()
        one.send(b"a")
        os.eventfd_write(os.eventfd(0), 1)

    def body() -> None:
        in_children(talks, talks)

    assert _written(explore(body, 8)) == {
        (child, f"{kind}:{child}.1")
        for child in ("P1", "P2")
        for kind in ("pipe", "socketpair", "eventfd")
    }


def test_memory_goes_by_who_mapped_it() -> None:
    def body() -> None:
        mmap.mmap(-1, 4096)
        second = mmap.mmap(-1, 4096)

        def writes() -> None:
            second[0] = 1

        in_children(writes, writes)

    assert {thing for _, thing in _written(explore(body, 4))} == {"shared-memory:2"}
