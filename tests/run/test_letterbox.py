from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from lab.run.letterbox import SIZE, Letterbox, Payload, State
from lab.trace import Failure, Messages, Tally
from tests.forked import stranger

FAILURE = Failure("ValueError", "why", "here.py:3", "Traceback …", is_assertion=False)


@pytest.fixture
def letterbox() -> Iterator[Letterbox]:
    made = Letterbox(attended=False)
    yield made
    made.close()


@pytest.mark.parametrize(
    "payload", [None, Tally(15, 12, "increments"), Messages(("a", "ö"), ("a",)), FAILURE]
)
def test_a_letter_comes_out_as_it_was_put_in(letterbox: Letterbox, payload: Payload) -> None:
    states, letters = [letterbox.state], [letterbox.collect()]

    letterbox.post(payload)

    assert [*states, letterbox.state] == [State.RUNNING, State.ENDED]
    assert [*letters, letterbox.collect()] == [None, payload]


def test_a_letter_comes_over_from_another_process(letterbox: Letterbox) -> None:
    def root() -> None:
        letterbox.post(Tally(2, 1))
        os._exit(0)

    with stranger(root) as pid:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert letterbox.collect() == Tally(2, 1)


def test_a_letter_that_does_not_fit_says_so(letterbox: Letterbox) -> None:
    letterbox.post(Messages(("x" * SIZE,), ()))

    complaint = letterbox.collect()

    assert isinstance(complaint, Failure)
    assert complaint.type == "OverflowError"
    assert str(SIZE) in complaint.message


def test_the_longest_letter_fits(letterbox: Letterbox) -> None:
    payload = Messages(("x" * (SIZE - 200),), ())

    letterbox.post(payload)

    assert letterbox.collect() == payload


def test_whoever_posts_waits_until_the_watcher_has_looked() -> None:
    letterbox = Letterbox()
    poster = threading.Thread(target=letterbox.post, args=(Tally(1, 1),))
    poster.start()
    while letterbox.state == State.RUNNING:
        poster.join(0.001)

    assert poster.is_alive()
    assert letterbox.collect() == Tally(1, 1)
    letterbox.release()
    poster.join(60)
    assert not poster.is_alive()
    letterbox.close()


def test_it_can_be_used_again(letterbox: Letterbox) -> None:
    letterbox.post(Tally(1, 1))
    letterbox.reset()

    assert letterbox.collect() is None
