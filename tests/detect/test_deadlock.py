from __future__ import annotations

import pytest

from lab.detect.deadlock import detect
from lab.detect.hang import detect as hangs
from lab.finding import Kind
from lab.trace import Action, Blocked, Ending, Trace
from tests.detect.builders import asleep, child, run, stuck, waits_for_exit
from tests.detect.events import in_order, step


def _lock(process: str, path: str, holder: str) -> Blocked:
    return asleep(
        process,
        call="flock",
        object=path,
        waits_for="the lock's holder to release it",
        on=(holder,),
    )


def test_two_holders_that_each_want_the_others_lock_are_a_deadlock() -> None:
    trace = stuck(
        waits_for_exit("P0", "P1", "P2"),
        _lock("P1", "/b.lock", "P2"),
        _lock("P2", "/a.lock", "P1"),
        processes=2,
    )

    (finding,) = detect(trace)

    assert finding.kind is Kind.DEADLOCK
    assert finding.object == "/a.lock, /b.lock"
    assert finding.processes == ("P1", "P2", "P0")  # who is held up comes last
    assert "P1 (worker 1) and P2 (worker 2)" in finding.summary
    assert [line.partition(":")[0] for line in finding.details] == [
        "P1 (worker 1)",
        "P2 (worker 2)",
        "P0 (python shop.py)",
    ]
    assert finding.details[0].endswith("only P2 could bring it")
    assert "/a.lock, then /b.lock" in finding.advice
    assert not list(hangs(trace))


def test_a_cycle_is_one_also_while_others_still_run() -> None:
    trace = stuck(
        _lock("P1", "/b.lock", "P2"),
        _lock("P2", "/a.lock", "P1"),
        processes=3,
        ending=Ending.TIMED_OUT,
    )

    assert [finding.processes for finding in detect(trace)] == [("P1", "P2")]


def test_a_parent_and_its_child_that_wait_for_each_other_are_one() -> None:
    """The parent waits for the exit, the child for the parent to close its end of the pipe."""
    trace = stuck(
        waits_for_exit("P0", "P1"),
        asleep(
            "P1",
            call="read",
            object="pipe:[4711]",
            waits_for="a writer to write or to close",
            on=("P0", "P1"),
        ),
        processes=1,
    )

    (finding,) = detect(trace)

    assert finding.object == "pipe:[*]"
    assert finding.processes == ("P0", "P1")


def test_two_cycles_are_two_findings() -> None:
    trace = stuck(
        waits_for_exit("P0", "P1"),
        _lock("P1", "/b", "P2"),
        _lock("P2", "/a", "P1"),
        _lock("P3", "/d", "P4"),
        _lock("P4", "/c", "P3"),
        processes=4,
    )

    assert [finding.object for finding in detect(trace)] == ["/a, /b", "/c, /d"]


def test_openers_of_two_fifos_in_opposite_order_are_one_though_nobody_knows_who_would_come() -> (
    None
):
    trace = stuck(
        waits_for_exit("P0", "P1", "P2"),
        asleep("P1", object="/tmp/request", waits_for="a reader to open it"),
        asleep("P2", object="/tmp/reply", waits_for="a reader to open it"),
        processes=2,
    )

    (finding,) = detect(trace)

    assert finding.object == "/tmp/reply, /tmp/request"
    assert finding.processes == ("P1", "P2", "P0")
    assert finding.details[0].endswith("all others sleep")
    assert not list(hangs(trace))


def test_locks_whose_names_are_drawn_anew_are_still_different_locks() -> None:
    trace = stuck(
        asleep("P0", call="futex", object="/mp-abcd1234"),
        asleep("P1", call="futex", object="/mp-wxyz6789"),
        processes=1,
    )

    (finding,) = detect(trace)

    assert finding.object == "/mp-*"


@pytest.mark.parametrize(
    "trace",
    [
        pytest.param(
            stuck(asleep("P0", object="/a"), asleep("P1", object="/a"), processes=1),
            id="both wait for one thing",
        ),
        pytest.param(
            stuck(asleep("P0", object=""), asleep("P1", object="/a"), processes=1),
            id="one of the things is unknown",
        ),
        pytest.param(
            stuck(waits_for_exit("P0", "P1"), asleep("P1", object="/a"), processes=1),
            id="a parent waits for a child that hangs",
        ),
        pytest.param(
            stuck(
                asleep("P0", object="/a", timed=True),
                asleep("P1", object="/b"),
                asleep("P2", object="/c"),
                processes=2,
                ending=Ending.TIMED_OUT,
            ),
            id="one of them will go on by itself",
        ),
        pytest.param(
            stuck(
                asleep("P0", call="read", object="pipe:[1]", on=("P0",)),
                processes=0,
            ),
            id="a process that waits for itself alone",
        ),
    ],
)
def test_a_hang_is_no_deadlock(trace: Trace) -> None:
    assert not list(detect(trace))
    assert list(hangs(trace))


@pytest.mark.parametrize("ending", [Ending.COMPLETED, Ending.INTERRUPTED, Ending.OVERRUN])
def test_a_run_that_was_on_its_way_has_none(ending: Ending) -> None:
    blocked = (_lock("P0", "/b", "P1"), _lock("P1", "/a", "P0"))

    assert not list(detect(stuck(*blocked, processes=1, ending=ending)))


def test_a_run_that_completed_has_none() -> None:
    assert not list(detect(run(child(ended=1.0, reaped=1.0))))


def test_a_cycle_without_names_is_known_by_its_processes_and_needs_breaking() -> None:
    trace = stuck(waits_for_exit("P0", "P1"), waits_for_exit("P1", "P0"), processes=1)

    (finding,) = detect(trace)

    assert finding.object == "P0, P1"
    assert "Break the cycle" in finding.advice


def test_one_object_cannot_be_taken_in_another_order() -> None:
    trace = stuck(_lock("P0", "/a", "P1"), _lock("P1", "/a", "P0"), processes=1)

    (finding,) = detect(trace)

    assert finding.object == "/a"
    assert "Break the cycle" in finding.advice


def test_data_and_exits_are_nothing_that_can_be_taken_in_an_order() -> None:
    reader = asleep("P1", call="read", object="pipe:1", waits_for="data", on=("P0",))
    waiter = asleep("P0", call="wait4", object="P1", waits_for="the exit of P1", on=("P1",))

    (finding,) = detect(stuck(waiter, reader, processes=1))

    assert "Break the cycle" in finding.advice


def test_beside_a_known_cycle_a_wait_of_its_own_is_a_hang() -> None:
    trace = stuck(
        _lock("P0", "/b", "P1"),
        _lock("P1", "/a", "P0"),
        asleep("P2", object="/c"),
        processes=2,
    )

    assert [finding.processes for finding in detect(trace)] == [("P0", "P1")]
    assert [finding.processes for finding in hangs(trace)] == [("P2",)]


@pytest.mark.parametrize(
    ("processes", "ending"),
    [
        pytest.param(1, Ending.TIMED_OUT, id="asleep, but nobody knows for how long"),
        pytest.param(2, Ending.STUCK, id="the sleep of a third could not be read"),
    ],
)
def test_only_when_all_are_known_to_sleep_for_good_two_objects_are_proof(
    processes: int, ending: Ending
) -> None:
    trace = stuck(
        asleep("P0", object="/a"), asleep("P1", object="/b"), processes=processes, ending=ending
    )

    assert not list(detect(trace))
    assert len(list(hangs(trace))) == 2


# --- Under control, where it is known who holds what -----------------------------------------


def test_each_lock_of_the_cycle_is_told_with_its_holder_and_the_step() -> None:
    steps = in_order(
        step("P1", Action.ACQUIRE, "posix-sem:/a", where="shop.py:9"),
        step("P2", Action.ACQUIRE, "posix-sem:/b"),
        step("P2", Action.ACQUIRE, "posix-sem:/unrelated"),
    )
    waits = {"call": "sem_wait", "waits_for": ""}
    cycle = stuck(
        asleep("P1", object="/b", on=("P2",), where="shop.py:10", **waits),
        asleep("P2", object="/a", on=("P1",), **waits),
        processes=2,
        mode="controlled",
        events=steps,
    )

    (finding,) = detect(cycle)

    assert finding.details == (
        "P1 (worker 1): in sem_wait on /b since step 0 (shop.py:10); only P2 could bring it",
        "P1 holds /a since step 0 (shop.py:9)",
        "P2 (worker 2): in sem_wait on /a since step 2; only P1 could bring it",
        "P2 holds /b since step 1",
    )
    assert finding.key_steps == (0, 1)
