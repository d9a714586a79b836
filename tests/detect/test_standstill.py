from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lab.detect.deadlock import detect as deadlocks
from lab.detect.hang import detect as hangs
from lab.detect.standstill import standstill
from lab.trace import Blocked, Ending, Trace
from tests.detect.builders import asleep, stuck, untimed, waits_for_exit


def _stopped_runs(*, most: int = 5) -> st.SearchStrategy[Trace]:
    """Runs in which some processes sleep, each on something, released by some others."""
    names = [f"P{number}" for number in range(most)]

    def sleeper(name: str) -> st.SearchStrategy[Blocked | None]:
        return st.one_of(
            st.none(),
            st.builds(
                asleep,
                st.just(name),
                object=st.sampled_from(["", "/a", "/b", "/c"]),
                call=st.sampled_from(["openat", "read", "wait4"]),
                timed=st.booleans(),
                on=st.lists(st.sampled_from(names), unique=True, max_size=2).map(tuple),
            ),
        )

    return st.tuples(
        st.tuples(*(sleeper(name) for name in names)),
        st.sampled_from([Ending.STUCK, Ending.TIMED_OUT]),
    ).map(
        lambda drawn: stuck(
            *(blocked for blocked in drawn[0] if blocked), processes=most - 1, ending=drawn[1]
        )
    )


def _doomed(trace: Trace) -> set[str]:
    """Who can never be released, if whoever is not asleep for good releases everybody it can.

    Only edges that are known count; a sleeper without one is left out.
    """
    on = {b.process: set(b.on) - {b.process} for b in trace.blocked if not b.timed}
    on = {name: others for name, others in on.items() if others}
    saved = {process.name for process in trace.processes} - on.keys()
    while more := {name for name, others in on.items() if others & saved and name not in saved}:
        saved |= more
    return on.keys() - saved


@untimed
@given(_stopped_runs())
def test_no_process_is_the_cause_of_two_findings(trace: Trace) -> None:
    found = standstill(trace)
    causes = [b.process for group in (*found.knots, *found.stalls) for b in group.causes]

    assert len(causes) == len(set(causes))


@untimed
@given(_stopped_runs())
def test_nobody_is_blamed_twice_or_both_blamed_and_called_moving(trace: Trace) -> None:
    found = standstill(trace)
    named = [name for group in (*found.knots, *found.stalls) for name in group.processes]

    assert len(named) == len(set(named))
    assert not set(named) & set(found.moving)


@untimed
@given(_stopped_runs())
def test_a_run_that_had_to_be_stopped_always_has_a_finding(trace: Trace) -> None:
    assert list(deadlocks(trace)) or list(hangs(trace))


@untimed
@given(_stopped_runs())
def test_a_late_run_is_deadlocked_exactly_when_somebody_can_never_be_released(
    trace: Trace,
) -> None:
    if trace.ending is Ending.TIMED_OUT:  # a stuck run has a second proof
        knots = standstill(trace).knots
        causes = {b.process for knot in knots for b in knot.causes}
        named = {name for knot in knots for name in knot.processes}
        doomed = _doomed(trace)

        assert bool(knots) == bool(doomed)
        assert causes <= doomed <= named


def test_a_cycle_with_a_way_out_is_no_deadlock() -> None:
    """P1 and P2 wait for each other, but P3, which runs, could release P1 as well."""
    trace = stuck(
        asleep("P0", object="/a", on=("P3",)),
        asleep("P1", object="/b", on=("P2", "P3")),
        asleep("P2", object="/c", on=("P1",)),
        processes=3,
        ending=Ending.TIMED_OUT,
    )

    assert not standstill(trace).knots


def test_a_releaser_that_has_ended_releases_nobody() -> None:
    """A lock whose holder died: the waiter stalls, and waits for nobody."""
    trace = stuck(asleep("P0", on=("P9",)), processes=0)

    assert [group.processes for group in standstill(trace).stalls] == [("P0",)]


def test_a_parent_whose_children_the_kernel_did_not_name_waits_for_all_it_has() -> None:
    parent = waits_for_exit("P0")
    trace = stuck(parent, asleep("P1"), processes=1)

    assert [group.processes for group in standstill(trace).stalls] == [("P1", "P0")]


def test_a_parent_that_waits_for_one_child_does_not_wait_for_the_others() -> None:
    trace = stuck(waits_for_exit("P0", "P1"), asleep("P2"), processes=2, ending=Ending.TIMED_OUT)

    assert [group.processes for group in standstill(trace).stalls] == [("P2",)]


def test_a_parent_that_waits_for_something_else_does_not_wait_for_its_children() -> None:
    trace = stuck(
        asleep("P0", object="/a"),
        asleep("P1", object="/b"),
        processes=2,
        ending=Ending.TIMED_OUT,
    )

    assert [group.processes for group in standstill(trace).stalls] == [("P0",), ("P1",)]


def test_a_cycle_that_another_deadlock_could_release_follows_it() -> None:
    """P0 and P1 wait for each other, but P2 could release P0 too, were it not deadlocked."""
    trace = stuck(
        asleep("P0", object="/a", on=("P1", "P2")),
        asleep("P1", object="/b", on=("P0",)),
        asleep("P2", object="/c", on=("P3",)),
        asleep("P3", object="/d", on=("P2",)),
        processes=3,
    )

    (knot,) = standstill(trace).knots

    assert [blocked.process for blocked in knot.causes] == ["P2", "P3"]
    assert [blocked.process for blocked in knot.followers] == ["P0", "P1"]
