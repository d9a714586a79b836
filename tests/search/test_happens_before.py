from __future__ import annotations

import random

import pytest

from lab.search.dependence import Footprint, Footprints, Touch, dependent
from lab.search.happens_before import Order, clocks, members, ordered
from lab.trace import Action, Event
from tests.search.programs import random_program
from tests.search.test_dependence import load, step, store
from tests.search.toy import run


def _order(*steps: tuple[str, str]) -> Order:
    """Steps that change things."""
    order = Order()
    for task, thing in steps:
        order.append(task, Footprint(task, (Touch(thing),)))
    return order


def test_steps_come_after_their_tasks_own_and_after_what_they_meet() -> None:
    order = _order(("P1", "a"), ("P2", "b"), ("P2", "a"), ("P3", "b"), ("P1", "c"))

    assert [set(members(past)) for past in order.past] == [set(), set(), {0, 1}, {1}, {0}]


def test_what_comes_after_a_step_includes_itself() -> None:
    order = _order(("P1", "a"), ("P2", "a"), ("P3", "b"), ("P2", "b"), ("P3", "c"))

    assert list(members(order.after(0))) == [0, 1, 3]
    assert list(members(order.after(2))) == [2, 3, 4]


def test_who_was_moved_by_a_step_comes_after_it() -> None:
    order = Order()
    order.append("P1", Footprint("P1", (Touch("a"),)), movers=["P2"])
    order.append("P2", Footprint("P2", (Touch("b"),)))

    assert order.past[1] == 0b1


def test_a_wait_comes_after_the_last_step_of_who_has_ended() -> None:
    order = _order(("P1", "a"), ("P1", "b"))
    order.append("P0", Footprint("P0", (Touch("life"),), joins="P1"))

    assert order.past[2] == 0b11


def _random_touch(generator: random.Random) -> Touch:
    start = generator.randint(0, 6)
    changes, closes = generator.random() < 0.6, generator.random() < 0.4
    return Touch(
        generator.choice("ab"), start, start + generator.randint(1, 4), changes, changes and closes
    )


@pytest.mark.parametrize("seed", range(40))
def test_all_steps_at_once_are_asked_as_one_after_the_other_would_be(seed: int) -> None:
    generator = random.Random(seed)  # noqa: S311
    order = Order()
    for _ in range(30):
        task = generator.choice(["P1", "P1.2", "P2", "P3"])
        touches = tuple(_random_touch(generator) for _ in range(generator.randint(0, 2)))
        disturbs = ("P2",) if generator.random() < 0.1 else ()
        everything = generator.random() < 0.05
        footprint = Footprint(task.partition(".")[0], touches, disturbs, everything)
        expected = sum(
            1 << index
            for index, other in enumerate(order.footprints)
            if order.tasks[index] != task and dependent(footprint, other)
        )
        assert order.met_by(task, footprint) == expected
        order.append(task, footprint)


@pytest.mark.parametrize("seed", range(20))
def test_the_order_is_the_closure_of_dependence(seed: int) -> None:
    generator = random.Random(seed)  # noqa: S311
    events = run(
        random_program(seed), lambda point: generator.randrange(len(point.enabled))
    ).trace.events
    footprints, order = Footprints(), Order()
    after: list[set[int]] = []
    for event in events:
        footprint = footprints.follow(event)
        after.append(
            {
                earlier
                for index, other in enumerate(order.footprints)
                if dependent(other, footprint)
                or footprint.joins == events[index].process
                or (events[index].action is Action.FORK and events[index].object == event.process)
                for earlier in {index, *after[index]}
            }
        )
        movers = [event.object] if event.action is Action.FORK else []
        order.append(event.process, footprint, movers=movers)

    assert [set(members(past)) for past in order.past] == after


def _ordered(*events: Event, pids: dict[int, str] | None = None) -> bool:
    """Whether the first of these steps had to come before the last."""
    times = list(clocks(events, pids))
    return ordered(events[0], times[-1], times[0])


def test_accesses_to_memory_order_nothing() -> None:
    assert not _ordered(store("P1"), load("P2"))
    assert _ordered(store("P1"), load("P1"))


def test_a_semaphore_hands_over_what_came_before() -> None:
    release, acquire = (
        step("P1", Action.RELEASE, "sem:/s"),
        step("P2", Action.ACQUIRE, "sem:/s", result=0),
    )

    assert _ordered(store("P1"), release, acquire, load("P2"))
    assert not _ordered(store("P1"), acquire, release, load("P2"))
    assert not _ordered(store("P1"), release, load("P2"))
    refused = step("P2", Action.ACQUIRE, "sem:/s", result=-11)
    assert not _ordered(store("P1"), release, refused, load("P2"))


def test_semaphores_of_one_set_hand_over_each_for_itself() -> None:
    def semop(process: str, action: Action, number: int, size: int = 1) -> Event:
        return step(process, action, "sysv-sem:key 1", call="semop", offset=number, size=size)

    given = semop("P1", Action.RELEASE, 0)
    assert _ordered(store("P1"), given, semop("P2", Action.ACQUIRE, 0), load("P2"))
    assert not _ordered(store("P1"), given, semop("P2", Action.ACQUIRE, 1), load("P2"))
    assert _ordered(store("P1"), given, semop("P2", Action.ACQUIRE, 0, 1 << 16), load("P2"))


def test_a_message_carries_what_came_before() -> None:
    sent, received = step("P1", Action.SEND, "pipe:1"), step("P2", Action.RECEIVE, "pipe:1")

    assert _ordered(store("P1"), sent, received, load("P2"))
    assert not _ordered(load("P2"), received, sent, store("P1"))


def test_a_child_knows_what_came_before_its_fork_and_no_more() -> None:
    fork, second = step("P0", Action.FORK), step("P0", Action.FORK)

    assert _ordered(store("P0"), fork, load("P1"))
    assert _ordered(store("P0"), fork, second, load("P2"))
    assert not _ordered(store("P0"), load("P1"))
    events = (fork, store("P0"), load("P1"))
    times = list(clocks(events))
    assert not ordered(events[1], times[2], times[1])


def test_who_waits_for_an_exit_knows_what_came_before_it() -> None:
    fork, end = step("P0", Action.FORK), step("P1", Action.EXIT, "P1")
    waited = step("P0", Action.WAIT, "P1", result=2)
    events = (fork, store("P1"), end, waited, load("P0"))
    times = list(clocks(events))

    assert ordered(events[1], times[4], times[1])


def test_who_looks_for_an_exit_and_finds_none_knows_nothing_new() -> None:
    looked = step("P0", Action.WAIT, "P1", call="wait4", result=0)
    events = (step("P0", Action.FORK), store("P1"), looked, load("P0"))
    times = list(clocks(events))

    assert not ordered(events[1], times[3], times[1])


def test_waiting_for_any_child_is_waiting_for_the_one_that_it_returned() -> None:
    events = (
        step("P0", Action.FORK),
        step("P0", Action.FORK),
        store("P1"),
        store("P2"),
        step("P2", Action.EXIT, "P2"),
        step("P0", Action.WAIT, "P1 P2", result=12),
        load("P0"),
    )
    times = list(clocks(events, {11: "P1", 12: "P2"}))

    assert ordered(events[3], times[6], times[3])
    assert not ordered(events[2], times[6], times[2])


def test_a_signal_tells_its_receiver_when_it_arrives() -> None:
    sent = step("P1", Action.SIGNAL, "P2", after=b"\x0a", result=0)
    arrives = step("P2", Action.DELIVER, "P2", call="SIGUSR1")

    assert _ordered(store("P1"), sent, arrives, load("P2"))
    assert not _ordered(store("P1"), sent, load("P2"))


def test_a_signal_to_many_tells_each_of_them() -> None:
    sent = step("P1", Action.SIGNAL, "P3 P2", after=b"\x0a", result=0, also=("processes",))
    arrives = step("P2", Action.DELIVER, "P2", call="SIGUSR1")

    assert _ordered(store("P1"), sent, arrives, load("P2"))


def test_a_place_that_is_updated_atomically_orders_like_a_lock() -> None:
    def update(process: str) -> Event:
        return step(process, Action.UPDATE, "shm:/lock", call="update", offset=0, size=4)

    unlock = step("P1", Action.WRITE, "shm:/lock", call="store", offset=0, size=4)
    assert _ordered(store("P1"), update("P1"), update("P2"), load("P2"))
    assert _ordered(store("P1"), unlock, update("P2"), load("P2"))


def test_an_exit_gives_away_what_it_closes() -> None:
    end = step("P1", Action.EXIT, "P1", also=("pipe:1",))

    assert _ordered(store("P1"), end, step("P2", Action.RECEIVE, "pipe:1", result=0), load("P2"))
