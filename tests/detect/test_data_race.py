from __future__ import annotations

import dataclasses

from lab.detect.data_race import detect
from lab.finding import Finding, Kind
from lab.trace import Action, Event
from tests.detect.events import PLACE, controlled, read, step, update, write


def _found(*events: Event) -> list[Finding]:
    return list(detect(controlled(*events)))


def test_a_write_and_a_read_that_nothing_orders_are_a_race() -> None:
    (found,) = _found(write("P1", 0, 7), read("P2", 7))

    assert found.kind is Kind.DATA_RACE
    assert found.object == PLACE
    assert found.processes == ("P1", "P2")
    assert found.key_steps == (0, 1)
    assert "P1's write" in found.summary
    assert "nothing orders the two" in found.summary


def test_two_writes_are_a_race_and_two_reads_are_none() -> None:
    assert _found(write("P1", 0, 1), write("P2", 1, 2))
    assert not _found(read("P1", 0), read("P2", 0))


def test_a_read_before_a_write_is_a_race_as_well() -> None:
    (found,) = _found(read("P1", 0), read("P1", 0), write("P2", 0, 1))

    assert found.key_steps == (1, 2)


def test_places_that_do_not_overlap_do_not_race() -> None:
    assert not _found(write("P1", 0, 1), write("P2", 0, 1, offset=4))
    assert _found(write("P1", 0, 1), write("P2", 0, 1, offset=2))
    assert not _found(write("P1", 0, 1), write("P2", 0, 1, object="posix-shm:/other"))


def test_a_lock_that_is_handed_over_orders() -> None:
    def lock(process: str) -> Event:
        return step(process, Action.ACQUIRE, "posix-sem:/s")

    def unlock(process: str) -> Event:
        return step(process, Action.RELEASE, "posix-sem:/s")

    first = (lock("P1"), write("P1", 0, 1), unlock("P1"))
    assert not _found(*first, lock("P2"), read("P2", 1), unlock("P2"))
    assert _found(*first, read("P2", 1))
    other = dataclasses.replace(lock("P2"), object="posix-sem:/t")
    assert _found(*first, other, read("P2", 1))


def test_a_race_is_seen_in_a_run_that_came_out_right() -> None:
    """An unguarded counter, each increment after the other."""
    (found,) = _found(read("P1", 0), write("P1", 0, 1), read("P2", 1), write("P2", 1, 2))

    assert found.key_steps == (1, 2)


def test_an_older_access_races_too_where_a_newer_one_does_not_cover_it() -> None:
    handed = (
        step("P1", Action.RELEASE, "posix-sem:/s"),
        step("P2", Action.ACQUIRE, "posix-sem:/s"),
    )
    assert not _found(write("P1", 0, 1), *handed, write("P2", 1, 2))
    (found,) = _found(
        write("P1", 0, 1, offset=4), *handed, write("P2", 1, 2), read("P3", 1, offset=4)
    )

    assert found.processes == ("P1", "P3")


def test_a_child_reads_what_was_written_before_it_was_forked() -> None:
    fork = step("P0", Action.FORK, "")

    assert not _found(write("P0", 0, 1), fork, read("P1", 1))
    assert _found(fork, write("P0", 0, 1), read("P1", 1))


def test_a_parent_reads_what_a_child_wrote_that_it_has_waited_for() -> None:
    fork, end = step("P0", Action.FORK, ""), step("P1", Action.EXIT, "P1")
    waited = step("P0", Action.WAIT, "P1", result=2)

    assert not _found(fork, write("P1", 0, 1), end, waited, read("P0", 1))
    assert _found(fork, write("P1", 0, 1), end, read("P0", 1), waited)


def test_atomic_instructions_do_not_race_nor_do_plain_ones_on_their_place() -> None:
    assert not _found(update("P1", 0, 1), update("P2", 1, 2), read("P3", 2))
    assert _found(update("P1", 0, 1), write("P1", 0, 1, offset=8), read("P2", 1, offset=8))


def test_a_flag_that_is_updated_atomically_publishes() -> None:
    data = write("P1", 0, 7, offset=8)
    assert not _found(data, update("P1", 0, 1), read("P2", 1), read("P2", 7, offset=8))


def test_threads_of_one_process_are_not_told_apart() -> None:
    assert not _found(write("P1", 0, 1), write("P1.2", 1, 2))
    assert _found(write("P1", 0, 1), write("P2.2", 1, 2))


def test_calls_on_files_are_no_accesses_to_memory() -> None:
    def call(process: str) -> Event:
        return step(process, Action.WRITE, "file:/tmp/f", call="write", size=4)

    assert not _found(call("P1"), call("P2"))


def test_one_finding_tells_of_all_places_of_an_object() -> None:
    writes = [write("P1", 0, 1, offset=8 * place) for place in range(6)]
    reads = [read("P2", 1, offset=8 * place) for place in range(6)]
    (found,) = _found(*writes, *reads)

    assert len(found.details) == 4
    assert found.details[0].startswith("also: P1's write")
    assert found.details[-1] == "and 2 more such pairs"


def test_a_free_run_shows_none() -> None:
    assert not _found()


def test_a_long_access_races_with_a_short_one_inside_it_and_not_with_one_beside_it() -> None:
    def long(process: str, offset: int) -> Event:
        return dataclasses.replace(write(process, 0, 1, offset=offset), size=200)

    assert _found(long("P1", 0), read("P2", 1, offset=196))
    assert _found(read("P2", 1, offset=196), long("P1", 0))
    assert _found(long("P1", 0), long("P2", 100))
    assert not _found(long("P1", 0), read("P2", 1, offset=200))


def test_an_access_across_two_words_races_in_either() -> None:
    across = write("P1", 0, 1, offset=6)

    assert _found(across, read("P2", 1, offset=4))
    assert _found(across, read("P2", 1, offset=8))
    assert not _found(across, read("P2", 1, offset=12))
