"""Queues that nothing lists: what a run left, what it did not make, and what nobody can know."""

from __future__ import annotations

import os
from collections.abc import Iterator

import posix_ipc
import pytest

from lab.kernel import ipc_tables
from lab.kernel.ipc_tables import Entry
from lab.run import unlisted
from lab.run.unlisted import UnlistedQueues
from lab.run.watch import Watch

NAME = f"/lab-unlisted-{os.getpid()}"


@pytest.fixture
def queue() -> Iterator[Entry]:
    """A queue of this user."""
    made = posix_ipc.MessageQueue(NAME, posix_ipc.O_CREX, max_messages=1, max_message_size=1)
    entry = ipc_tables.queue_called(NAME)
    assert entry
    yield entry
    made.close()
    made.unlink()


def seen(*queues: Entry) -> Watch:
    """A watch that has seen them in use."""
    watch = Watch(list, orphan_after=1.0)
    watch.users = {(queue.device, queue.inode): {("P0", queue.name)} for queue in queues}
    return watch


def judged(
    meter: list[int | None], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], list[str]]:
    """What the run left, and what is doubted, when the meter says this before, after, at last."""
    monkeypatch.setattr(unlisted, "_PATIENCE", 0.0)
    readings = iter(meter)
    queues = UnlistedQueues(lambda: next(readings))
    left = [entry.name for entry in queues.left(watch)]
    return left, list(queues.doubts())


def test_a_user_who_had_none_has_made_what_is_there(
    queue: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judged([0, 98, 0], seen(queue), monkeypatch) == ([NAME], [])


def test_one_that_is_on_nobodys_account_here_was_made_by_somebody_else(
    queue: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judged([0, 0, 0], seen(queue), monkeypatch) == ([], [])


def test_a_user_who_had_some_may_have_had_this_one(
    queue: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, (doubt,) = judged([98, 98], seen(queue), monkeypatch)

    assert left == []
    assert f"posix-mq {NAME} was used and is still there" in doubt
    assert "mount -t mqueue" in doubt


def test_where_nothing_was_used_and_the_meter_stands_still_there_is_no_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert judged([98, 98], seen(), monkeypatch) == ([], [])
    assert judged([None, None], seen(), monkeypatch) == ([], [])


@pytest.mark.parametrize("meter", [[0, 98, 98], [98, 196], [98, 49], [0, None, None]])
def test_what_the_meter_tells_and_nobody_saw_is_doubted(
    meter: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    left, (doubt,) = judged(meter, seen(), monkeypatch)

    assert left == []
    assert "whether the run left one is not known" in doubt


def test_whoever_has_none_in_the_end_has_left_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged([98, 0], seen(), monkeypatch) == ([], [])


def test_a_second_one_that_nobody_saw_is_doubted(
    queue: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, (doubt,) = judged([0, 196, 98], seen(queue), monkeypatch)

    assert left == [NAME]
    assert "take 98 bytes after it" in doubt


def test_one_made_anew_under_a_name_that_was_used_is_another(
    queue: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = seen(queue)
    watch.users = {(queue.device, queue.inode + 1): {("P0", queue.name)}}

    assert judged([98, 98], watch, monkeypatch) == ([], [])


def test_what_a_namespace_took_may_take_its_time_to_come_back() -> None:
    readings = iter([0, 98, 98, 0])
    queues = UnlistedQueues(lambda: next(readings))

    assert queues.left(seen()) == []
    assert next(readings, None) is None
