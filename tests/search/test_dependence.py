from __future__ import annotations

import dataclasses
import itertools

import pytest

from lab.search.dependence import Footprints, dependent
from lab.search.strategy import Pending
from lab.trace import Action, Event


def step(process: str, action: Action, thing: str = "", **facts: object) -> Event:
    event = Event(0, process, action, str(action), thing)
    return dataclasses.replace(event, **facts)  # type: ignore[arg-type]


def load(process: str, offset: int = 0, size: int = 4) -> Event:
    return step(process, Action.READ, "shm:/n", call="load", offset=offset, size=size)


def store(process: str, offset: int = 0, size: int = 4) -> Event:
    return step(process, Action.WRITE, "shm:/n", call="store", offset=offset, size=size)


def meet(one: Event, other: Event, *before: Event) -> bool:
    """Whether the steps depend on one another, in a run that began with others."""
    footprints = Footprints()
    for event in before:
        footprints.follow(event)
    answer = dependent(footprints.of(one), footprints.of(other))
    assert answer == dependent(footprints.of(other), footprints.of(one))
    return answer


FORKS = (step("P0", Action.FORK), step("P0", Action.FORK), step("P0", Action.FORK))
"""P1, P2 and P3 are children of P0."""


def test_reads_of_one_place_do_not_meet_and_a_write_meets_both() -> None:
    assert not meet(load("P1"), load("P2"))
    assert meet(load("P1"), store("P2"))
    assert meet(store("P1"), store("P2"))


def test_places_that_do_not_overlap_do_not_meet() -> None:
    assert not meet(store("P1", 0), store("P2", 4))
    assert meet(store("P1", 0), store("P2", 3))
    assert meet(store("P1", 0, 8), load("P2", 4, 1))


def test_what_reaches_an_unknown_part_reaches_all() -> None:
    assert meet(store("P1", 64), step("P2", Action.WRITE, "shm:/n", call="ftruncate"))
    assert meet(
        step("P1", Action.WRITE, "file:/tmp/f", call="write", size=4),
        step("P2", Action.READ, "file:/tmp/f", call="pread64", offset=100, size=4),
    )


def test_steps_of_one_process_always_meet_and_its_threads_count_as_one() -> None:
    assert meet(load("P1"), step("P1", Action.SLEEP))
    assert meet(load("P1"), step("P1.2", Action.READ, "pipe:1"))


@pytest.mark.parametrize(
    ("one", "other"),
    list(itertools.combinations_with_replacement([Action.ACQUIRE, Action.RELEASE], 2)),
)
def test_acquires_and_releases_always_meet(one: Action, other: Action) -> None:
    assert meet(step("P1", one, "sem:/s"), step("P2", other, "sem:/s"))
    assert not meet(step("P1", one, "sem:/s"), step("P2", other, "sem:/t"))


def test_semaphores_of_one_set_are_told_apart() -> None:
    def semop(process: str, number: int, size: int = 1) -> Event:
        facts = {"call": "semop", "offset": number, "size": size}
        return step(process, Action.ACQUIRE, "sysv-sem:key 1", **facts)

    assert not meet(semop("P1", 0), semop("P2", 1))
    assert meet(semop("P1", 0), semop("P2", 0))
    assert meet(semop("P1", 1), semop("P2", 0, 1 << 16))


def test_a_try_that_failed_only_looked() -> None:
    def failed(process: str) -> Event:
        return step(process, Action.READ, "sem:/s", call="sem_trywait", result=-11)

    assert not meet(failed("P1"), failed("P2"))
    assert meet(failed("P1"), step("P2", Action.RELEASE, "sem:/s"))
    exists = step("P1", Action.CREATE, "file:/tmp/f", result=-17)
    assert not meet(exists, dataclasses.replace(exists, process="P2"))
    assert meet(exists, step("P2", Action.REMOVE, "file:/tmp/f"))


def test_a_sleep_meets_nothing() -> None:
    for other in (store("P2"), step("P2", Action.SLEEP), step("P2", Action.ACQUIRE, "sem:/s")):
        assert not meet(step("P1", Action.SLEEP), other)


def test_an_unknown_call_meets_everything() -> None:
    for other in (load("P2"), step("P2", Action.SLEEP), step("P2", Action.START, "P2")):
        assert meet(step("P1", Action.CALL), other)


def test_a_start_meets_nothing_but_forks_meet_one_another() -> None:
    assert not meet(step("P1", Action.START, "P1"), step("P2", Action.START, "P2"))
    assert not meet(step("P1", Action.START, "P1"), store("P2"))
    assert meet(step("P1", Action.FORK), step("P2", Action.FORK))
    assert not meet(step("P1", Action.FORK), store("P2"))


def test_an_exit_meets_who_waits_for_it_and_no_other_exit() -> None:
    ends = [step(name, Action.EXIT, name) for name in ("P1", "P2")]

    assert not meet(*ends, *FORKS)
    assert meet(ends[0], step("P0", Action.WAIT, "P1"), *FORKS)
    assert not meet(ends[0], step("P0", Action.WAIT, "P2"), *FORKS)
    assert meet(ends[0], step("P0", Action.WAIT, "P1 P2 P3"), *FORKS)
    assert not meet(ends[0], store("P0"), *FORKS)


def test_an_exit_meets_its_parents_exit_for_one_is_orphaned_or_a_zombie() -> None:
    assert meet(step("P1", Action.EXIT, "P1"), step("P0", Action.EXIT, "P0"), *FORKS)


def test_an_exit_changes_what_it_closes() -> None:
    end = step("P1", Action.EXIT, "P1", also=("pipe:1",))

    assert meet(end, step("P2", Action.RECEIVE, "pipe:1"), *FORKS)
    assert not meet(end, step("P2", Action.RECEIVE, "pipe:2"), *FORKS)


def test_two_who_close_a_stream_do_not_meet() -> None:
    closes = step("P1", Action.CLOSE, "pipe:1")
    end = step("P2", Action.EXIT, "P2", also=("pipe:1",))

    assert not meet(closes, step("P2", Action.CLOSE, "pipe:1"))
    assert not meet(closes, end, *FORKS)
    assert meet(closes, step("P2", Action.RECEIVE, "pipe:1"))
    assert meet(closes, step("P2", Action.WAIT, "pipe:1", call="poll"))


def test_an_exit_gives_back_what_it_holds() -> None:
    for held in ("lock:/tmp/f", "sysv-sem:key 1"):
        end = step("P1", Action.EXIT, "P1", also=(held,))
        assert meet(end, step("P2", Action.ACQUIRE, held), *FORKS)
        assert meet(end, step("P2", Action.EXIT, "P2", also=(held,)), *FORKS)


def test_an_exit_meets_every_step_of_a_parent_that_handles_it() -> None:
    end = step("P1", Action.EXIT, "P1")
    handles = step("P0", Action.WRITE, "P0", call="rt_sigaction", after=b"SIGCHLD handler")
    another = dataclasses.replace(handles, after=b"SIGUSR1 handler")
    default = dataclasses.replace(handles, after=b"SIGCHLD default")

    assert meet(end, store("P0"), *FORKS, handles)
    assert not meet(end, store("P0"), *FORKS, another)
    assert not meet(end, store("P0"), *FORKS, handles, default)
    assert not meet(end, store("P2"), *FORKS, handles)
    assert meet(end, handles, *FORKS)


def test_handlers_are_inherited_by_a_fork_and_lost_by_exec() -> None:
    handles = step("P0", Action.WRITE, "P0", call="rt_sigaction", after=b"SIGCHLD handler")
    grandchild = step("P2", Action.EXIT, "P2")
    forks = (handles, step("P0", Action.FORK), step("P1", Action.FORK))

    assert meet(grandchild, store("P1"), *forks)
    assert not meet(grandchild, store("P1"), *forks, step("P1", Action.EXEC))


def test_a_signal_meets_every_step_of_its_receiver() -> None:
    sent = step("P0", Action.SIGNAL, "P1", after=bytes([10]))

    assert meet(sent, load("P1"))
    assert meet(sent, step("P1", Action.SLEEP))
    assert not meet(sent, load("P2"))
    assert meet(sent, dataclasses.replace(sent, process="P2"))


def test_a_signal_that_cannot_be_handled_meets_everything() -> None:
    killed = step("P0", Action.SIGNAL, "P1", after=bytes([9]))

    assert meet(killed, load("P2"))
    assert meet(step("P0", Action.SIGNAL, "P1", after=bytes([15]), also=("processes",)), load("P2"))
    assert meet(Pending("P0", Action.SIGNAL, "P1"), load("P2"))  # type: ignore[arg-type]


def test_to_ask_whether_somebody_lives_is_no_signal() -> None:
    asks = step("P0", Action.SIGNAL, "P1", after=bytes([0]))

    assert not meet(asks, load("P1"))
    assert meet(asks, step("P1", Action.EXIT, "P1"), *FORKS)


def test_a_signal_that_arrives_may_be_the_end_unless_there_is_a_handler() -> None:
    arrives = step("P1", Action.DELIVER, "P1", call="SIGUSR1")
    handles = step("P1", Action.WRITE, "P1", call="rt_sigaction", after=b"SIGUSR1 handler")

    assert meet(arrives, load("P2"))
    assert not meet(arrives, load("P2"), handles)


def test_a_file_is_found_by_the_directories_above_it() -> None:
    made = step("P1", Action.CREATE, "file:/tmp/d/f")

    assert meet(made, step("P2", Action.REMOVE, "file:/tmp/d"))
    assert meet(made, step("P2", Action.CREATE, "file:/tmp/d"))
    assert not meet(made, step("P2", Action.CREATE, "file:/tmp/d/g"))
    assert not meet(made, step("P2", Action.REMOVE, "file:/tmp/e"))


def test_a_rename_changes_both_names() -> None:
    renamed = step("P1", Action.CREATE, "file:/tmp/new", also=("file:/tmp/old",))

    assert meet(renamed, step("P2", Action.OPEN, "file:/tmp/old"))
    assert meet(renamed, step("P2", Action.OPEN, "file:/tmp/new"))


def test_to_open_a_file_changes_nothing_and_to_open_a_fifo_or_a_queue_does() -> None:
    kinds = {"file": False, "posix-shm": False, "fifo": True, "posix-mq": True}
    for kind, changes in kinds.items():
        opened = step("P1", Action.OPEN, f"{kind}:/x", result=3)
        assert meet(opened, dataclasses.replace(opened, process="P2")) is changes


def test_a_queue_of_sleepers_is_changed_by_going_to_sleep() -> None:
    sleeps = step("P1", Action.READ, "shm:/n", call="futex", offset=0, size=4)

    assert meet(sleeps, dataclasses.replace(sleeps, process="P2"))


def test_waiting_for_one_of_several_descriptors_looks_at_each() -> None:
    polls = step("P1", Action.WAIT, "pipe:1 pipe:2", call="poll")

    assert meet(polls, step("P2", Action.SEND, "pipe:2"))
    assert not meet(polls, step("P2", Action.SEND, "pipe:3"))
    assert not meet(polls, dataclasses.replace(polls, process="P2"))


def test_objects_without_a_name_are_numbered_in_the_order_of_their_making() -> None:
    made = step("P1", Action.CREATE, "")

    assert meet(made, step("P2", Action.CREATE, ""))
    assert not meet(made, store("P2"))


def test_a_sleep_meets_what_has_a_time_limit_for_it_moves_the_clock() -> None:
    sleep = step("P1", Action.SLEEP)
    limited = step("P2", Action.ACQUIRE, "sem:/s", timed=True)

    assert meet(sleep, limited)
    assert not meet(sleep, dataclasses.replace(limited, timed=False))
    assert not meet(limited, step("P3", Action.ACQUIRE, "sem:/t", timed=True))
    polls_nothing = step("P3", Action.WAIT, "", call="poll", timed=True)
    assert meet(polls_nothing, limited)
    assert not meet(polls_nothing, sleep)


def test_commands_to_a_server_meet_on_their_keys_and_a_script_meets_every_key() -> None:
    get = step("P1", Action.READ, "redis:a", call="GET")
    put = step("P2", Action.WRITE, "redis:a", call="SET")

    assert meet(get, put)
    assert not meet(get, dataclasses.replace(get, process="P2"))
    assert not meet(get, dataclasses.replace(put, object="redis:b"))
    assert meet(get, dataclasses.replace(put, object="redis:b", also=("redis:a",)))
    script = step("P2", Action.UPDATE, "redis", call="EVAL")
    assert meet(get, script)
    assert meet(script, dataclasses.replace(script, process="P3"))


def test_a_command_meets_sleeps_where_keys_have_a_time_to_live() -> None:
    get, sleep = step("P1", Action.READ, "redis:a", call="GET"), step("P2", Action.SLEEP)

    assert not meet(get, sleep)
    assert meet(dataclasses.replace(get, timed=True), sleep)
