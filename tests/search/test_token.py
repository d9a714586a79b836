from __future__ import annotations

import base64
import json
import re
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.search.random import Random
from lab.search.schedule import Recorder, Schedule
from lab.search.token import _LETTERS, BadToken, Origin, Source, Token, _folded, fingerprint, here
from lab.trace import Action, Ending
from tests.search.models import counter
from tests.search.test_schedule import schedules
from tests.search.toy import run

untimed = settings(deadline=None)

texts = st.text(st.characters(exclude_categories=()))
origins = st.builds(
    Origin,
    st.sampled_from(Source),
    st.lists(texts, min_size=1).map(tuple),
    st.lists(st.tuples(texts, texts)).map(tuple),
)
tokens = st.builds(
    Token,
    origins,
    schedules(),
    st.lists(st.sampled_from(Action)).map(tuple),
    st.integers(1, 100_000),
    st.integers(0, 2**32 - 1),
    texts,
)
COUNTER = Token(
    Origin(Source.SCENARIO, ("counter.posix_unguarded",), (("writers", "2"),)),
    Schedule(((2, "P2"), (3, "P1")), 1),
    (Action.READ, Action.READ, Action.WRITE),
    10_000,
    1234,
    "x86_64 3.11",
)


def _whole(content: bytes) -> str:
    data = _folded(content)
    whole = zlib.crc32(data).to_bytes(4, "big") + data
    return "1" + base64.urlsafe_b64encode(whole).decode().rstrip("=")


@untimed
@given(tokens)
def test_a_token_is_read_as_it_was_written(token: Token) -> None:
    assert Token.read(str(token)) == token


@untimed
@given(tokens)
def test_a_token_needs_no_quoting_in_a_shell_or_a_url(token: Token) -> None:
    assert re.fullmatch(r"1[A-Za-z0-9_-]+", str(token))


@untimed
@given(tokens, st.data())
def test_a_mistyped_letter_is_noticed(token: Token, data: st.DataObject) -> None:
    text = str(token)
    # The last letter carries bits that stand for nothing, so another may say the same.
    at = data.draw(st.integers(0, len(text) - 2))
    letter = data.draw(st.sampled_from("AZaz09_-").filter(lambda letter: letter != text[at]))

    with pytest.raises(BadToken):
        Token.read(text[:at] + letter + text[at + 1 :])


@untimed
@given(tokens, st.integers(1, 20))
def test_a_token_that_lost_its_end_is_noticed(token: Token, lost: int) -> None:
    with pytest.raises(BadToken):
        Token.read(str(token)[:-lost])


@untimed
@given(texts)
def test_garbage_is_no_token_and_never_another_error(text: str) -> None:
    with pytest.raises(BadToken):
        Token.read(text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", "there is no token"),
        ("2f7a", "'2f7a' is no token, or one of another version of the lab"),
        ("1f7a!", "it holds letters that none has"),
        (str(COUNTER)[:-5] + "x", "is not whole: its checksum is wrong. Copy all of it"),
    ],
)
def test_the_error_says_what_to_do(text: str, answer: str) -> None:
    with pytest.raises(BadToken, match=re.escape(answer)):
        Token.read(text)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        None,
        ["scenario", ["a.b"], [], [], "9", 0, "", 9, 0, ""],
        ["scenario", ["a.b"], [], [], "b", 0, "", 9, 0, ""],
        ["scenario", ["a.b"], [], ["P1"], "a", 7, "", 9, 0, ""],
        ["recipe", ["a.b"], [], [], "", 0, "", 9, 0, ""],
        ["scenario", ["a.b"], [], [], "", 0, "!", 9, 0, ""],
    ],
)
def test_a_whole_token_without_sense_is_refused(content: object) -> None:
    with pytest.raises(BadToken, match="is whole, but makes no sense"):
        Token.read(_whole(json.dumps(content).encode()))


def test_a_token_that_unfolds_to_far_too_much_is_refused() -> None:
    with pytest.raises(BadToken, match="unfolds to far too much"):
        Token.read(_whole(b" " * (1 << 25)))


def test_blanks_around_a_token_are_none_of_it() -> None:
    assert Token.read(f"  {COUNTER}\n") == COUNTER


def test_old_tokens_are_read_for_ever() -> None:
    old = "17Qp3FkPlJeeX5gF16xXkF2dWxJfmpZcmFqWkpkCsQZgM9AVQBNlQo8QkJR1DHaWionIgbQAEOoZGxiY6qN4DAA"

    assert Token.read(old) == COUNTER


def test_every_action_has_a_letter_of_its_own() -> None:
    assert set(_LETTERS) == set(Action)
    assert len(set(_LETTERS.values())) == len(Action)


def test_a_random_run_makes_a_token_of_two_lines_and_a_shrunk_one_one_and_a_half() -> None:
    strategy = Random(0)
    strategy.begin()
    recorder = Recorder(strategy.choose)
    steps = len(run(counter(3, 5, guarded=True), recorder).trace.events)
    actions = tuple(operation.action for operation in recorder.operations(steps))
    origin = Origin(Source.SCENARIO, ("counter.posix_guarded",))

    def length(schedule: Schedule) -> int:
        return len(str(Token(origin, schedule, actions, 10_000, 2**31, here())))

    assert length(recorder.schedule) < 2 * 80
    assert (
        len(str(Token(origin, Schedule(((30, "P2"),), 1), actions, 10_000, 2**31, here())))
        < 1.5 * 80
    )


def test_a_fingerprint_tells_runs_apart_that_made_the_same_choices() -> None:
    trace = run(counter(), lambda point: point.default).trace
    other = run(counter(2), lambda point: point.default).trace
    stuck = run(counter(), lambda point: point.default, max_steps=30).trace

    assert fingerprint(trace) == fingerprint(run(counter(), lambda p: p.default).trace)
    assert len({fingerprint(trace), fingerprint(other)}) == 2
    assert stuck.ending is Ending.COMPLETED
    endless = run(counter(), lambda point: point.default, max_steps=29).trace
    assert fingerprint(endless) != fingerprint(trace)
