from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab.detect.hang import detect
from lab.finding import Finding, Kind
from lab.trace import Ending
from tests.detect.builders import LIVING_ROOT, asleep, child, run, stuck, waits_for_exit


def test_a_wait_that_nobody_ends_names_object_missing_end_and_process() -> None:
    trace = stuck(
        asleep("P0", object="/tmp/jobs.fifo", waits_for="a reader to open it"), processes=0
    )

    (finding,) = detect(trace)

    assert finding.kind is Kind.HANG
    assert finding.object == "/tmp/jobs.fifo"
    assert finding.processes == ("P0",)
    assert "P0 (python shop.py) waits in openat on /tmp/jobs.fifo for a reader to open it" in (
        finding.summary
    )
    assert "from 0.20 s until the run was stopped at 2.00 s" in finding.summary
    assert "O_NONBLOCK" in finding.advice


def test_a_parent_that_waits_for_a_hung_child_is_named_but_is_not_the_object() -> None:
    trace = stuck(waits_for_exit("P0", "P1"), asleep("P1"), processes=1)

    (finding,) = detect(trace)

    assert finding.object == "/tmp/jobs.fifo"
    assert finding.processes == ("P1", "P0")  # the one to be mended first
    assert "P0 (python shop.py): in wait4" in finding.details[0]
    assert "the exit of P1" in finding.details[0]


def test_several_that_wait_for_one_object_are_one_finding() -> None:
    receivers = [
        asleep(name, call="msgrcv", object="key 0x0000004c", waits_for="a message")
        for name in ("P1", "P2")
    ]

    (finding,) = detect(stuck(waits_for_exit("P0", "P1"), *receivers, processes=2))

    assert finding.processes == ("P1", "P2", "P0")
    assert "P1 (worker 1) and P2 (worker 2) wait in msgrcv" in finding.summary
    assert [line.partition(":")[0] for line in finding.details] == [
        "P1 (worker 1)",
        "P2 (worker 2)",
        "P0 (python shop.py)",
    ]


def test_waits_for_two_objects_are_two_findings_while_somebody_still_moves() -> None:
    trace = stuck(
        asleep("P1", object="/a"),
        asleep("P2", object="/b"),
        processes=2,
        ending=Ending.TIMED_OUT,
    )

    assert [finding.object for finding in detect(trace)] == ["/a", "/b"]


def test_who_still_moves_is_told_beside_the_hang() -> None:
    """A parent that polls for its hung child is seen asleep or running, as luck will have it."""
    running = stuck(asleep("P1"), processes=1, ending=Ending.TIMED_OUT)
    napping = stuck(
        asleep("P0", call="clock_nanosleep", object="", timed=True),
        asleep("P1"),
        processes=1,
        ending=Ending.TIMED_OUT,
    )

    (one,), (other,) = detect(running), detect(napping)

    assert one == other
    assert one.processes == ("P1",)
    assert one.details == ("not asleep for good: P0 (python shop.py)",)


def test_a_late_run_in_which_nobody_sleeps_for_good_is_blamed_on_who_runs() -> None:
    trace = run(
        child(),
        root=LIVING_ROOT,
        ending=Ending.TIMED_OUT,
        seconds=10.2,
        blocked=(waits_for_exit("P0", "P1"),),
    )

    (finding,) = detect(trace)

    assert finding.object == "the run"
    assert finding.summary.startswith("Still running after 10 s")
    assert "P1 (worker 1)" in finding.summary
    assert finding.processes == ("P1", "P0")
    assert "the exit of P1" in finding.details[0]


def test_a_sleep_with_a_time_limit_is_none_by_itself_but_the_run_is_late() -> None:
    trace = stuck(
        asleep("P0", call="select", object="", waits_for="an event or its time limit", timed=True),
        processes=0,
        ending=Ending.TIMED_OUT,
    )

    (finding,) = detect(trace)

    assert finding.object == "the run"
    assert "in select" in finding.details[0]


def test_a_stuck_run_whose_sleeps_could_not_be_read_is_still_a_hang() -> None:
    (finding,) = detect(stuck(processes=1))

    assert finding.object == "the run"
    assert finding.processes == ("P0", "P1")


def test_an_object_without_a_name_is_known_by_what_is_missing() -> None:
    (finding,) = detect(
        stuck(asleep("P0", call="stopped", object="", waits_for="SIGCONT"), processes=0)
    )

    assert finding.object == "SIGCONT"


def test_a_wait_of_which_nothing_is_known_is_known_by_its_call() -> None:
    (finding,) = detect(stuck(asleep("P0", call="futex", object="", waits_for=""), processes=0))

    assert finding.object == "futex"


def test_a_process_that_waits_for_a_helper_alone_is_who_is_late() -> None:
    trace = run(
        child("P1", helper=True),
        root=LIVING_ROOT,
        ending=Ending.TIMED_OUT,
        blocked=(waits_for_exit("P0", "P1"),),
    )

    (finding,) = detect(trace)

    assert finding.object == "the run"
    assert finding.processes == ("P0",)


def test_a_late_run_of_which_nobody_is_left_is_still_late() -> None:
    (finding,) = detect(run(child(ended=1.0, reaped=1.0), ending=Ending.TIMED_OUT))

    assert finding.processes == ("P0",)


def test_a_reader_that_holds_the_only_writing_end_is_told_to_close_it() -> None:
    trace = stuck(
        asleep("P0", call="read", object="pipe:[4711]", waits_for="a writer", on=("P0",)),
        processes=0,
    )

    (finding,) = detect(trace)

    assert finding.object == "pipe:[*]"
    assert "Close every copy of the writing end" in finding.advice


def test_helpers_of_multiprocessing_never_hang() -> None:
    tracker = child("P1", helper=True)
    trace = run(
        tracker,
        root=LIVING_ROOT,
        ending=Ending.TIMED_OUT,
        blocked=(asleep("P1", call="read", object="pipe:[1]"),),
    )

    (finding,) = detect(trace)

    assert finding.object == "the run"
    assert finding.processes == ("P0",)


@pytest.mark.parametrize(
    "ending", [Ending.COMPLETED, Ending.INTERRUPTED, Ending.OVERRUN, Ending.BROKEN]
)
def test_only_a_stuck_or_late_run_hangs(ending: Ending) -> None:
    assert not list(detect(stuck(asleep("P0"), processes=0, ending=ending)))


def test_the_same_hang_of_another_run_has_the_same_identity() -> None:
    (one,) = detect(stuck(asleep("P0", object="/tmp/tmpab12cd34/fifo", since=0.1), processes=0))
    (other,) = detect(stuck(asleep("P0", object="/tmp/tmp_9xy8z7w/fifo", since=0.3), processes=0))

    assert one.identity == other.identity


def test_under_control_no_clock_is_told_but_that_nobody_can_bring_it() -> None:
    (finding,) = detect(stuck(asleep("P1"), processes=1, mode="controlled"))

    assert finding.summary == (
        "P1 (worker 1) waits in openat on /tmp/jobs.fifo for a writer to open it; nobody is left "
        "who could bring it."
    )


def test_under_control_being_late_proves_nothing() -> None:
    assert not list(hangs_of(ending=Ending.TIMED_OUT, mode="controlled"))
    assert list(hangs_of(ending=Ending.TIMED_OUT))


def hangs_of(**facts: Any) -> Iterator[Finding]:
    return detect(run(child("P1"), root=LIVING_ROOT, **facts))
