from __future__ import annotations

from dataclasses import replace

import pytest

from lab.guard.leak import Birth, Kind, Leak
from lab.guard.telling import is_property, property_of, section, table

PIPE = Leak((Kind.FD, 7, 1), "pipe:[1]", note="fd 7")
GATE = Leak((Kind.POSIX_SEM, "/dev/shm/sem.gate", 2), "/gate", Birth("test_it.py:3"))


def told(test: str, leak: Leak) -> tuple[str, str, str]:
    """As it comes from a report."""
    return test, property_of(leak), str(leak)


def doubt(leak: Leak) -> Leak:
    return replace(leak, birth=Birth(), doubtful=True)


def test_a_section_has_a_line_for_each_and_says_what_to_do() -> None:
    assert section([PIPE, GATE], []).splitlines()[:3] == [
        "This test left 2 things behind:",
        "  fd pipe:[1], fd 7",
        "  posix-sem /gate, made at test_it.py:3",
    ]
    assert "lab_guard_allow" in section([PIPE], [])


def test_what_was_done_about_it_stands_behind_it() -> None:
    assert "  fd pipe:[1], fd 7 [leads to /dev/null now]\n" in section(
        [PIPE], ["leads to /dev/null now"]
    )


def test_a_fixture_that_left_all_of_it_is_named_and_a_test_that_left_some_as_well() -> None:
    fixtures = replace(GATE, birth=Birth(owner="fixture gate (module)"))
    assert section([fixtures], []).startswith("The fixture gate (module) was finished and left 1 t")
    assert section([fixtures, PIPE], []).startswith("This test left 2 things behind:")


def test_a_table_names_each_test_once_and_counts_the_kinds() -> None:
    found = [told("test_a", PIPE), told("test_a", GATE), told("test_b", PIPE)]
    assert list(table(found, 3)) == [
        "test_a",
        "  fd         pipe:[1], fd 7",
        "  posix-sem  /gate, made at test_it.py:3",
        "test_b",
        "  fd         pipe:[1], fd 7",
        "3 things left behind by 2 of 3 tests: 2 fd, 1 posix-sem",
    ]


def test_a_session_that_is_clean_is_told_so() -> None:
    assert list(table([], 1)) == ["1 test left nothing behind"]


def test_a_doubt_is_told_once_with_how_many_tests_ran_beside_it() -> None:
    found = [told(test, doubt(GATE)) for test in ("test_a", "test_b", "test_c")]
    assert list(table(found, 3)) == [
        "posix-sem /gate appeared during test_a and 2 tests beside it; nothing tells who made it",
        "3 tests left nothing behind",
    ]
    assert "appeared during test_a; nothing" in next(table(found[:1], 3))


@pytest.mark.parametrize(
    ("known", "seen"),
    [
        (GATE, doubt(GATE)),
        (
            Leak((Kind.TEMP_FILE, "/dev/shm/a, b", 1), "/dev/shm/a, b", Birth("test_it.py:3")),
            Leak((Kind.POSIX_SHM, "/dev/shm/a, b", 1), "/a, b", doubtful=True),
        ),
    ],
)
def test_what_one_worker_knows_is_no_doubt_of_the_others(known: Leak, seen: Leak) -> None:
    *_, last = lines = list(table([told("test_a", seen), told("test_b", known)], 2))
    assert not any("nothing tells" in line for line in lines)
    assert last == f"1 thing left behind by 1 of 2 tests: 1 {known.kind}"


def test_one_that_has_a_longer_name_is_a_doubt_still() -> None:
    longer = replace(doubt(GATE), name="/gate-2")
    assert "posix-sem /gate-2 appeared" in "\n".join(
        table([told("test_a", longer), told("test_b", GATE)], 2)
    )


def test_properties_are_told_from_those_of_others() -> None:
    assert property_of(GATE) == "lab-guard:posix-sem"
    assert property_of(doubt(GATE)) == "lab-guard-doubt:posix-sem"
    assert is_property("lab-guard:fd")
    assert is_property("lab-guard-doubt:fd")
    assert not is_property("lab:race")
