from __future__ import annotations

from lab.guard.leak import Birth, Kind, Leak
from lab.trace import ObjectType


def test_objects_are_spelled_as_everywhere_in_the_lab() -> None:
    assert {kind.value for kind in ObjectType} <= {kind.value for kind in Kind} | {"pipe", "file"}


def test_what_is_known_is_told_and_nothing_else() -> None:
    key = (Kind.POSIX_SHM, "/dev/shm/jobs", 7)
    assert str(Leak(key, "/jobs")) == "posix-shm /jobs"
    born = Birth("test_jobs.py:5", "fixture db (module)", "its child 12")
    assert str(Leak(key, "/jobs", born, "removed, and still attached")) == (
        "posix-shm /jobs, made at test_jobs.py:5, by its child 12, removed, and still attached, "
        "of fixture db (module)"
    )


def test_the_handler_that_was_there_before_makes_no_other_leak() -> None:
    key = (Kind.SIGNAL_HANDLER, 15, 1)
    assert Leak(key, "SIGTERM", before=print) == Leak(key, "SIGTERM", before=len)
