from __future__ import annotations

from typing import Any

import pytest

from lab.detect.leak import detect
from lab.finding import Finding, Kind
from lab.trace import Ending, ObjectType, SharedObject
from tests.detect.builders import child, run


def _leak(kind: ObjectType, name: str = "/jobs", **facts: Any) -> Finding:
    thing = SharedObject(kind, name, left=True, **facts)
    (finding,) = detect(run(child(ended=1.0, reaped=1.0), objects=(thing,)))
    return finding


def test_what_is_left_is_told_with_type_name_size_owner_and_maker() -> None:
    finding = _leak(ObjectType.POSIX_SHM, "/counter", size=4096, owner=1000, made_by="P1")

    assert finding.kind is Kind.LEAK
    assert finding.subject == "posix-shm"
    assert finding.object == "/counter"
    assert finding.processes == ("P1",)
    assert finding.summary == (
        "posix-shm /counter (4096 bytes, owner uid 1000, made by P1 (worker 1)) was left behind."
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ObjectType.POSIX_SHM, "shm_unlink"),
        (ObjectType.POSIX_SEM, "sem_unlink"),
        (ObjectType.POSIX_MQ, "mq_unlink"),
        (ObjectType.SYSV_SHM, "IPC_RMID"),
        (ObjectType.SYSV_SEM, "IPC_RMID"),
        (ObjectType.SYSV_MQ, "IPC_RMID"),
        (ObjectType.FIFO, "os.unlink"),
        (ObjectType.UNIX_SOCKET, "os.unlink"),
        (ObjectType.TEMP_FILE, "tempfile"),
        (ObjectType.FD, "Close it"),
        (ObjectType.LOCK_HELD, "Release it"),
    ],
)
def test_each_type_is_removed_in_its_own_way(kind: ObjectType, words: str) -> None:
    assert words in _leak(kind).advice


@pytest.mark.parametrize(
    ("kind", "facts", "words"),
    [
        (ObjectType.SYSV_SEM, {"size": 3}, "3 semaphores"),
        (ObjectType.POSIX_MQ, {"size": 10, "messages": ("hello", "world")}, "2 messages, 10 bytes"),
        (ObjectType.SYSV_MQ, {}, "0 bytes queued"),
        (ObjectType.FIFO, {}, "(owner"),
    ],
)
def test_size_is_told_in_the_unit_of_the_type(
    kind: ObjectType, facts: dict[str, Any], words: str
) -> None:
    assert words in _leak(kind, **facts).summary


def test_who_was_seen_to_use_it_is_a_detail() -> None:
    assert (
        "P0 (python shop.py) and P1 (worker 1)"
        in (_leak(ObjectType.POSIX_SHM, used_by=("P0", "P1")).details[0])
    )


def test_objects_of_different_name_or_type_are_different_leaks() -> None:
    things = (
        SharedObject(ObjectType.POSIX_SHM, "/jobs", left=True),
        SharedObject(ObjectType.POSIX_SEM, "/jobs", left=True),
        SharedObject(ObjectType.POSIX_SHM, "/jobs2", left=True),
    )

    assert len({finding.identity for finding in detect(run(objects=things))}) == 3


def test_objects_whose_names_are_drawn_anew_are_one_leak_that_names_them() -> None:
    things = (
        SharedObject(ObjectType.POSIX_SHM, "/psm_1f00ba44", left=True),
        SharedObject(ObjectType.POSIX_SHM, "/psm_deadbeef", left=True),
    )

    (finding,) = detect(run(objects=things))

    assert finding.object == "/psm_*"
    assert "/psm_1f00ba44" in finding.summary
    assert "/psm_deadbeef" in finding.summary


def test_what_was_used_and_removed_is_none() -> None:
    assert not list(detect(run(objects=(SharedObject(ObjectType.FIFO, "/tmp/f"),))))


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.COMPLETED])
def test_a_run_that_was_stopped_had_no_chance_to_clean_up(ending: Ending) -> None:
    left = SharedObject(ObjectType.FIFO, "/tmp/f", left=True)

    assert not list(detect(run(objects=(left,), ending=ending)))
