from __future__ import annotations

import pytest

from lab.guard.allow import Allowed, AllowError
from lab.guard.leak import Kind, Leak


def leak(kind: Kind, name: str) -> Leak:
    return Leak((kind, 1, 0), name)


@pytest.mark.parametrize(
    ("entry", "kind", "name", "allowed"),
    [
        ("fd", Kind.FD, "/tmp/log", True),
        ("fd", Kind.LOCK_HELD, "/tmp/log", False),
        (" fd:/tmp/* ", Kind.FD, "/tmp/a/log", True),
        ("fd:log", Kind.FD, "/tmp/log", False),
        ("fd:/TMP/*", Kind.FD, "/tmp/log", False),
        ("fd:socket:*:80)", Kind.FD, "socket:[5] (127.0.0.1:80)", True),
        ("*:/jobs-*", Kind.POSIX_SEM, "/jobs-1", True),
        ("*:/jobs-*", Kind.POSIX_MQ, "/other", False),
        ("*", Kind.THREAD, "anything", True),
        ("thread:pool-?_0", Kind.THREAD, "pool-1_0", True),
    ],
)
def test_an_entry_allows_its_kind_with_names_that_its_pattern_matches_as_a_whole(
    entry: str, kind: Kind, name: str, allowed: bool
) -> None:
    assert (leak(kind, name) in Allowed([entry])) is allowed


def test_one_entry_of_several_is_enough() -> None:
    allowed = Allowed(["thread", "fd:/tmp/*"])
    assert leak(Kind.FD, "/tmp/log") in allowed
    assert leak(Kind.FD, "/var/log") not in allowed


def test_what_the_c_library_keeps_is_allowed_always() -> None:
    assert leak(Kind.FD, "/var/lib/sss/mc/passwd") in Allowed([])
    assert leak(Kind.FD, "/var/lib/other") not in Allowed([])


@pytest.mark.parametrize("entry", ["", "fds", "fd *", ":/tmp/*", "FD"])
def test_an_entry_of_no_kind_is_told_with_the_kinds_that_there_are(entry: str) -> None:
    with pytest.raises(
        AllowError, match=r"allows no kind of leak; .*KIND:PATTERN.* zombie, .*, \*"
    ):
        Allowed([entry])
