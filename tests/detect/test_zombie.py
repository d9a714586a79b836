from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lab.detect.zombie import detect
from lab.finding import Kind
from lab.trace import Action, Ending, Process, Trace
from tests.detect.builders import LIVING_ROOT, ROOT, child, run
from tests.detect.events import in_order, step


def test_an_exit_that_the_parent_never_waited_for_is_a_zombie_until_the_parent_ends() -> None:
    (finding,) = detect(run(child(ended=0.5)))

    assert finding.kind is Kind.ZOMBIE
    assert finding.processes == ("P0", "P1")  # the one to be mended first
    assert "1.50 s" in finding.summary
    assert "pid 101" in finding.summary
    assert "worker 1" in finding.summary
    assert "python shop.py" in finding.summary
    assert "waitpid" in finding.advice


def test_a_child_reaped_in_time_is_none() -> None:
    assert not list(detect(run(child(ended=0.5, reaped=1.5))))


def test_a_child_reaped_too_late_is_one_in_a_free_run() -> None:
    (finding,) = detect(run(child(ended=0.5, reaped=1.75), zombie_limit=1.0))

    assert "1.25 s" in finding.summary
    assert "allowed: 1 s" in finding.summary


def test_the_time_that_the_kernel_takes_for_an_exit_is_not_the_parents() -> None:
    large = dataclasses.replace(child(ended=0.5, reaped=3.5), zombie=3.4)
    forgotten = dataclasses.replace(large, reaped=4.9)

    assert not list(detect(run(large, zombie_limit=1.0)))
    (finding,) = detect(run(forgotten, zombie_limit=1.0))
    assert "1.50 s" in finding.summary


def test_one_that_was_still_being_taken_down_when_the_run_was_stopped_is_none() -> None:
    leaving = dataclasses.replace(child(ended=8.0), zombie=10.0)
    stopped = run(leaving, root=LIVING_ROOT, ending=Ending.TIMED_OUT, seconds=10.0)

    assert not list(detect(stopped))


def test_under_control_time_is_virtual_and_no_duration_counts() -> None:
    late = child(ended=0.5, reaped=1.75)

    assert not list(detect(run(late, zombie_limit=1.0, mode="controlled")))


def test_under_control_a_child_that_was_never_reaped_still_counts() -> None:
    assert list(detect(run(child(ended=0.5), mode="controlled")))


@pytest.mark.parametrize("ending", [Ending.STUCK, Ending.TIMED_OUT])
def test_a_parent_that_hung_until_the_run_was_stopped_never_reaped_its_child(
    ending: Ending,
) -> None:
    (finding,) = detect(run(child(ended=0.5), root=LIVING_ROOT, ending=ending, seconds=10.0))

    assert "9.50 s" in finding.summary
    assert "stopped" in finding.summary


@pytest.mark.parametrize("ending", [Ending.INTERRUPTED, Ending.OVERRUN])
def test_a_run_that_the_lab_cut_short_proves_nothing_about_a_living_parent(ending: Ending) -> None:
    recent = child(ended=1.5)
    long_dead = child(ended=0.5)

    assert not list(detect(run(recent, root=LIVING_ROOT, ending=ending)))
    assert list(detect(run(long_dead, root=LIVING_ROOT, ending=ending)))
    assert list(detect(run(recent, ending=ending)))  # its parent had ended before the stop


def test_in_a_stuck_run_even_a_fresh_exit_was_never_going_to_be_waited_for() -> None:
    fresh = child(ended=1.9)

    assert list(detect(run(fresh, root=LIVING_ROOT, ending=Ending.STUCK)))


def test_a_process_alive_when_the_run_was_stopped_is_none() -> None:
    assert not list(detect(run(child(), root=LIVING_ROOT, ending=Ending.STUCK)))


def test_a_child_that_outlived_its_parent_is_none() -> None:
    """Init reaps it; that it outlived its parent is another finding."""
    for reaped in (None, 1.0, 9.0):  # init may be late, but that is no fault of the parent
        grandchild = child("P2", parent="P1", orphaned=0.6, ended=1.0, reaped=reaped)

        assert not list(detect(run(child(ended=0.5, reaped=0.5), grandchild)))


def test_one_that_a_reaper_had_taken_over_is_that_one_s() -> None:
    middle = child("P1", ended=0.2, reaped=0.2)
    grandchild = child("P2", parent="P1", reaper="P0", ended=0.5)
    (finding,) = detect(run(middle, grandchild))

    assert finding.processes == ("P0", "P2")
    assert "until P0 ended without having waited for it" in finding.summary


def test_exits_seen_at_the_same_moment_have_no_order() -> None:
    together = child("P2", parent="P1", ended=0.5)

    assert not list(detect(run(child(ended=0.5, reaped=0.5), together)))


def test_helpers_of_multiprocessing_and_their_children_are_none() -> None:
    server = child(ended=1.0, helper=True)
    served = child("P2", parent="P1", ended=0.5)

    assert not list(detect(run(server, served)))


def test_the_root_is_none_as_its_parent_is_the_lab() -> None:
    assert not list(detect(run(root=dataclasses.replace(ROOT, reaped=None))))


def test_zombies_of_one_parent_are_one_finding_that_names_all() -> None:
    (finding,) = detect(run(child("P1", ended=0.5), child("P2", ended=1.0)))

    assert finding.processes == ("P0", "P1", "P2")
    assert "P1 and P2" in finding.summary
    assert "1.50 s" in finding.summary  # the longest
    assert "pid 101" in finding.details[0]
    assert "pid 102" in finding.details[1]


def test_zombies_of_two_parents_are_two_findings() -> None:
    found = list(
        detect(
            run(
                child("P1", ended=1.5, reaped=1.5),
                child("P2", ended=0.5),
                child("P3", parent="P1", ended=0.5),
            )
        )
    )

    assert [finding.processes[0] for finding in found] == ["P0", "P1"]


def test_the_same_zombie_of_another_run_has_the_same_identity() -> None:
    (one,) = detect(run(child(ended=0.5, pid=4711)))
    (other,) = detect(run(child("P1", ended=0.9, pid=4712), child("P2", ended=1.0, pid=4713)))

    assert one.identity == other.identity


# --- Under control, where the order of the steps tells and not the clock ---------------------

EXITS = (step("P1", Action.EXIT, "P1"), step("P0", Action.EXIT, "P0"))
AT_ONCE = dataclasses.replace(ROOT, ended=0.0)


def test_a_child_that_ended_before_its_parent_at_the_same_virtual_moment_is_a_zombie() -> None:
    (finding,) = detect(controlled_of(child(started=0.0, ended=0.0), root=AT_ONCE))

    assert finding.summary == (
        "P1 (worker 1), pid 101, ended at step 0 and was a zombie, until P0 ended without having "
        "waited for it. P0 (python shop.py), its parent, should have reaped it."
    )
    assert finding.key_steps == (0, 1)


def test_one_that_was_reaped_however_late_is_none() -> None:
    assert not list(detect(controlled_of(child(ended=0.0, reaped=99.0))))


def test_of_several_each_is_told_by_its_step() -> None:
    (finding,) = detect(controlled_of(child("P1", ended=0.0), child("P2", ended=0.0), root=AT_ONCE))

    assert "became zombies: P1 and P2." in finding.summary
    assert finding.details[0].endswith(
        "zombie from step 0, until P0 ended without having waited for it"
    )


@pytest.mark.parametrize("ending", [Ending.ENDLESS, Ending.TIMED_OUT])
def test_a_parent_that_was_stopped_while_it_moved_might_have_waited(ending: Ending) -> None:
    facts = {"ending": ending, "root": LIVING_ROOT, "seconds": 99.0}

    assert not list(detect(controlled_of(child(ended=0.0), **facts)))


def test_a_parent_that_is_stuck_will_never_wait() -> None:
    facts = {"ending": Ending.STUCK, "root": LIVING_ROOT}

    assert list(detect(controlled_of(child(ended=0.0), **facts)))


def controlled_of(*children: Process, **facts: Any) -> Trace:
    return run(*children, mode="controlled", events=in_order(*EXITS), **facts)
