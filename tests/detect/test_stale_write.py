from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.detect.stale_write import StaleWrite, stale_writes
from lab.trace import Action, Event
from tests.detect.events import in_order, number, read, step, update, write
from tests.search import toy

untimed = settings(deadline=None)


def _stale(*events: Event) -> list[StaleWrite]:
    return list(stale_writes(in_order(*events)))


def test_a_write_over_what_its_writer_never_saw_is_stale() -> None:
    (found,) = _stale(read("P1", 4), read("P2", 4), write("P2", 4, 5), write("P1", 5, 5))

    assert found.steps == (0, 2, 3)
    assert (found.was_read, found.was_there, found.is_there) == (number(4), number(5), number(5))
    assert found.certain


def test_the_last_of_the_writes_that_were_hidden_is_named() -> None:
    (found,) = _stale(read("P1", 4), update("P2", 4, 5), update("P3", 5, 6), write("P1", 6, 5))

    assert found.steps == (0, 2, 3)


@pytest.mark.parametrize(
    "events",
    [
        [write("P2", 0, 7), write("P1", 7, 8)],
        [update("P1", 4, 5), update("P2", 5, 6), update("P1", 6, 7)],
        [read("P1", 4), write("P2", 4, 5), read("P1", 5), write("P1", 5, 6)],
        [read("P1", 4), write("P1", 4, 5), write("P2", 5, 9), read("P2", 9)],
        [read("P1", 4), write("P2", 4, 5), update("P1", 5, 6)],
        [read("P1", 4), write("P2", 4, 5), update("P1", 5, 6), write("P1", 6, 7)],
        [read("P1", 4), write("P2", 4, 5), write("P2", 5, 4), write("P1", 4, 5)],
        [read("P1", 4), write("P2", 4, 5, object="sysv-shm:1"), write("P1", 4, 5)],
        [read("P1", 4), write("P2", 0, 5, offset=4), write("P1", 4, 5)],
        [read("P1", 4), write("P2", 4, 5, result=-14), write("P1", 4, 5)],
        [read("P1", 4), write("P2", 4, 5), read("P2", 5)],
    ],
    ids=[
        "blind",
        "atomic",
        "read again",
        "written before the other",
        "atomic after the read",
        "written after an own atomic update",
        "changed and changed back",
        "another object",
        "another place",
        "a write that failed",
        "never written",
    ],
)
def test_what_hides_nothing_is_not_stale(events: list[Event]) -> None:
    assert not _stale(*events)


def test_with_another_read_in_between_it_is_not_certain() -> None:
    (found,) = _stale(
        read("P1", 4), read("P1", 1, object="flag:1"), write("P2", 4, 5), write("P1", 5, 5)
    )

    assert not found.certain


@pytest.mark.parametrize(
    "between",
    [
        step("P1", Action.ACQUIRE, "posix-sem:/s"),
        step("P1", Action.SLEEP),
        update("P1", 0, 1, object="lock:1"),
        step("P1", Action.READ, "file:/tmp/n", size=0, result=0),
        step("P1", Action.READ, "file:/tmp/n", size=512, result=0),
        read("P2", 4),
    ],
    ids=["lock", "sleep", "atomic", "stat", "end of file", "another's read"],
)
def test_what_brings_no_value_leaves_it_certain(between: Event) -> None:
    (found,) = _stale(read("P1", 4), between, write("P2", 4, 5), write("P1", 5, 5))

    assert found.certain


def test_a_value_kept_and_written_again_is_stale_though_it_was_written_before() -> None:
    (found,) = _stale(read("P1", 4), write("P1", 4, 5), write("P2", 5, 9), write("P1", 9, 6))

    assert found.steps == (0, 2, 3)


def test_a_read_is_told_once_however_often_its_writer_goes_on() -> None:
    found = _stale(
        read("P1", 4), write("P2", 4, 9), write("P1", 9, 5), step("P1", Action.SLEEP),
        write("P2", 5, 9), write("P1", 9, 6),
    )  # fmt: skip

    assert [each.steps for each in found] == [(0, 1, 2)]


# --- A value in pieces ---------------------------------------------------------------------


def _packed(process: str, old: int, new: int) -> list[Event]:
    """What `struct.pack_into("<i", ...)` does: zeroes first, then byte by byte."""
    zeroes = [write(process, old, 0)] if old else [write(process, 0, 0)]
    return zeroes + [
        write(process, 0, 0, size=1, offset=at, before=b"\0", after=bytes([byte]))
        for at, byte in enumerate(number(new))
    ]


def _unpacked(process: str, value: int) -> list[Event]:
    return [
        read(process, 0, size=1, offset=at, before=bytes([byte]))
        for at, byte in reversed(list(enumerate(number(value))))
    ]


def test_zeroes_before_the_value_do_not_hide_it() -> None:
    (found,) = _stale(
        read("P1", 4), read("P2", 4), write("P2", 4, 0), write("P2", 0, 5),
        write("P1", 5, 0), write("P1", 0, 5),
    )  # fmt: skip

    assert found.steps == (0, 3, 5)
    assert (found.was_there, found.is_there) == (number(5), number(5))


def test_a_value_read_and_written_byte_by_byte_is_told_whole() -> None:
    (found,) = _stale(
        *_unpacked("P1", 300),
        *_unpacked("P2", 300),
        *_packed("P2", 300, 301),
        *_packed("P1", 301, 301),
    )

    assert found.certain
    assert found.offset == 0
    assert found.was_read == number(300)
    assert found.was_there == found.is_there == number(301)
    assert found.late.step == 17


def test_another_that_comes_between_the_zeroes_and_the_value_is_hidden_too() -> None:
    found = _stale(
        read("P1", 4), read("P2", 4), write("P1", 4, 0), write("P2", 0, 0),
        write("P2", 0, 5), write("P1", 5, 5),
    )  # fmt: skip

    assert {each.late.process for each in found} == {"P1", "P2"}


def test_a_torn_value_that_was_read_is_stale_at_the_write() -> None:
    (found,) = _stale(
        read("P1", 4), write("P1", 4, 0), read("P2", 0), write("P1", 0, 5), write("P2", 5, 1)
    )

    assert found.late.process == "P2"
    assert (found.was_read, found.was_there) == (number(0), number(5))


# --- Files, whose contents are seen in part ------------------------------------------------

FILE = "file:/tmp/n.json"


def _load(process: str, content: bytes) -> list[Event]:
    facts = {"size": 4096, "before": content[:64]}
    return [
        step(process, Action.OPEN, FILE, result=3),
        step(process, Action.READ, FILE, **facts, result=len(content)),
        step(process, Action.READ, FILE, offset=len(content), size=4096, result=0),
    ]


def _dump(process: str, content: bytes) -> list[Event]:
    return [
        step(process, Action.WRITE, FILE, result=3),  # open(path, "w") cuts it to nothing
        step(
            process, Action.WRITE, FILE, size=len(content), after=content[:64], result=len(content)
        ),
    ]


@pytest.mark.parametrize("length", [2, 500])
def test_a_file_that_is_read_changed_and_written_anew_loses_the_others_change(length: int) -> None:
    old, one, other = (letter * length for letter in (b"a", b"b", b"c"))
    (found,) = _stale(*_load("P1", old), *_load("P2", old), *_dump("P2", one), *_dump("P1", other))

    assert found.certain
    assert (found.read.step, found.overwritten.step, found.late.step) == (1, 7, 9)


def test_a_file_put_in_place_by_rename_loses_it_as_well() -> None:
    renames = [step(name, Action.CREATE, FILE, call="rename", result=0) for name in ("P2", "P1")]
    events = [*_load("P1", b"a"), *_load("P2", b"a"), *renames]
    (found,) = _stale(*events)

    assert found.late.process == "P1"


def test_a_file_read_after_the_others_change_is_not_stale() -> None:
    assert not _stale(
        *_load("P1", b"a"), *_dump("P1", b"b"), *_load("P2", b"b"), *_dump("P2", b"c")
    )


def test_appending_is_no_write_over_what_was_read() -> None:
    assert not _stale(
        *_load("P1", b"log\n"),
        step("P2", Action.WRITE, FILE, offset=4, size=4, after=b"two\n", result=4),
        step("P1", Action.WRITE, FILE, offset=8, size=4, after=b"one\n", result=4),
    )


def test_a_change_of_a_file_s_attributes_is_none_of_its_content() -> None:
    touched = step("P2", Action.WRITE, FILE, call="utimensat", result=0)

    assert not _stale(*_load("P1", b"a"), touched, *_dump("P1", b"b"))


# --- The end of a file ---------------------------------------------------------------------


def _append(process: str, at: int, line: bytes) -> Event:
    return step(
        process, Action.WRITE, FILE, offset=at, size=len(line), after=line, result=len(line)
    )


def _to_the_end(process: str, at: int) -> Event:
    return step(process, Action.READ, FILE, call="lseek", result=at)


def _empty(process: str) -> Event:
    return step(process, Action.READ, FILE, size=4096, result=0)


def test_what_is_written_over_another_s_first_content_of_an_empty_file_is_stale() -> None:
    (found,) = _stale(_empty("P1"), _empty("P2"), _append("P2", 0, b"1"), _append("P1", 0, b"1"))

    assert found.steps == (0, 2, 3)
    assert found.certain
    assert found.behind_end
    assert (found.was_there, found.is_there) == (b"1", b"1")


def test_an_empty_file_that_is_cut_to_be_written_anew_loses_it_as_well() -> None:
    (found,) = _stale(_empty("P1"), _append("P2", 0, b"1"), *_dump("P1", b"1"))

    assert found.steps == (0, 1, 3)


def test_what_was_put_behind_the_content_that_was_read_is_lost_when_all_is_written_anew() -> None:
    (found,) = _stale(*_load("P1", b"one\n"), _append("P2", 4, b"two\n"), *_dump("P1", b"one!\n"))

    assert found.certain
    assert found.behind_end
    assert (found.offset, found.was_there) == (4, b"two\n")


def test_two_who_went_to_the_end_write_over_one_another_whatever_they_read_meanwhile() -> None:
    (found,) = _stale(
        _to_the_end("P1", 4), _to_the_end("P2", 4), _append("P2", 4, b"two\n"),
        read("P1", 4), _append("P1", 4, b"one\n"),
    )  # fmt: skip

    assert found.steps == (0, 2, 4)
    assert found.certain


def test_a_writer_goes_on_from_the_end_that_it_once_went_to() -> None:
    (found,) = _stale(
        _to_the_end("P1", 0), _append("P1", 0, b"1st\n"), _to_the_end("P2", 4),
        _append("P2", 4, b"two\n"), _append("P1", 4, b"2nd\n"),
    )  # fmt: skip

    assert found.steps == (0, 3, 4)


@pytest.mark.parametrize(
    "events",
    [
        [_empty("P1"), _append("P2", 0, b"1"), _append("P1", 1, b"2")],
        [_to_the_end("P1", 0), _append("P2", 0, b"1"), _append("P1", 1, b"2")],
        [_to_the_end("P1", 4), _append("P2", 4, b"two\n"), *_dump("P1", b"new")],
        [_to_the_end("P1", 4), _append("P2", 0, b"two\n"), _append("P1", 4, b"one\n")],
        [_to_the_end("P1", 0), *_dump("P2", b"1")[:1], _append("P1", 0, b"1")],
        [
            _to_the_end("P1", 0),
            _append("P2", 0, b"1"),
            *_dump("P2", b"")[:1],
            _append("P1", 0, b"1"),
        ],
        [_to_the_end("P1", 0), _append("P2", 0, b"1"), *_dump("P1", b"2")],
        [_empty("P1"), _append("P2", 0, b"1"), *_load("P1", b"1"), *_dump("P1", b"2")],
        [*_load("P1", b"one"), *_load("P2", b"one"), _append("P2", 0, b"one"), *_dump("P1", b"1")],
    ],
    ids=[
        "O_APPEND after a read",
        "O_APPEND after a seek",
        "written anew after a seek",
        "before the end",
        "only cut",
        "put there and cut away",
        "cut by its own writer",
        "read again",
        "the same as before",
    ],
)
def test_an_end_that_was_found_is_no_update_to_lose_where(events: list[Event]) -> None:
    assert not _stale(*events)


def test_a_seek_leaves_what_was_read_before_it_known() -> None:
    (found,) = _stale(
        *_load("P1", b"one"), _to_the_end("P1", 3), *_load("P2", b"one"),
        *_dump("P2", b"two"), *_dump("P1", b"1"),
    )  # fmt: skip

    assert (found.was_read, found.certain) == (b"one", True)


# --- Against the truth ---------------------------------------------------------------------


def _plain() -> toy.Task:
    value = yield toy.read("n")
    yield toy.write("n", value + 1)


def _torn() -> toy.Task:
    value = yield toy.read("n")
    yield toy.write("n", 0)
    yield toy.write("n", value + 1)


def _atomic() -> toy.Task:
    yield toy.update("n", lambda value: value + 1)


def _guarded() -> toy.Task:
    yield toy.acquire("lock")
    yield from _plain()
    yield toy.release("lock")


def _kept() -> toy.Task:
    """A copy of the value is used for two increments."""
    value = yield toy.read("n")
    yield toy.write("n", value + 1)
    yield toy.write("n", value + 2)


WORTH = {_plain: 1, _torn: 1, _atomic: 1, _guarded: 1, _kept: 2}
increments = st.lists(st.sampled_from(list(WORTH)), min_size=1, max_size=3)


@settings(deadline=None, max_examples=500)
@given(st.lists(increments, min_size=2, max_size=3), st.integers(0, 10_000))
def test_a_counter_ends_short_exactly_if_a_stale_write_was_seen(
    tasks: list[list[toy.Body]], seed: int
) -> None:
    def task(bodies: list[toy.Body]) -> toy.Body:
        def body() -> toy.Task:
            for each in bodies:
                yield from each()

        return body

    program = toy.Program({f"P{rank}": task(bodies) for rank, bodies in enumerate(tasks, 1)})
    generator = random.Random(seed)  # noqa: S311
    run = toy.run(program, lambda point: generator.randrange(len(point.enabled)))
    found = list(stale_writes(run.trace.events))

    expected = sum(WORTH[body] for bodies in tasks for body in bodies)
    assert (run.memory["n"] < expected) == bool(found)
    assert all(each.certain for each in found)


def test_every_interleaving_of_two_increments_each_is_told_rightly() -> None:
    def twice() -> toy.Task:
        yield from _plain()
        yield from _plain()

    runs = list(toy.interleavings(toy.Program({"P1": twice, "P2": twice})))

    assert [bool(list(stale_writes(run.trace.events))) for run in runs] == [
        run.memory["n"] < 4 for run in runs
    ]


@untimed
@given(st.integers(0, 10_000))
def test_the_three_steps_are_what_they_are_said_to_be(seed: int) -> None:
    program = toy.Program({f"P{rank}": _torn for rank in range(1, 4)})
    generator = random.Random(seed)  # noqa: S311
    events = toy.run(program, lambda point: generator.randrange(len(point.enabled))).trace.events

    for found in stale_writes(events):
        assert found.read.step < found.overwritten.step < found.late.step
        assert found.read.process == found.late.process != found.overwritten.process
        assert found.read.action is Action.READ
        assert found.is_there == found.late.after
