from __future__ import annotations

import dataclasses
import signal

import pytest

from lab.detect.crash import detect
from lab.finding import Kind
from lab.trace import Ending, Failure
from tests.detect.builders import LIVING_ROOT, ROOT, child, run

ERROR = Failure("ValueError", "no such shop", "shop.py:31", "Traceback\nValueError", False)


def test_an_exception_that_left_the_body_is_a_crash() -> None:
    (finding,) = detect(run(root=dataclasses.replace(ROOT, status=1), failure=ERROR))

    assert finding.kind is Kind.CRASH
    assert finding.object == "shop.py:31"
    assert finding.subject == "ValueError"
    assert "no such shop" in finding.summary
    assert finding.details == ("Traceback", "ValueError")
    assert finding.processes == ("P0",)


def test_an_exception_without_a_place_is_the_roots() -> None:
    (finding,) = detect(run(failure=dataclasses.replace(ERROR, where="")))

    assert finding.object == "P0"


def test_a_failed_assertion_is_no_crash() -> None:
    failure = dataclasses.replace(ERROR, type="AssertionError", is_assertion=True)

    assert not list(detect(run(root=dataclasses.replace(ROOT, status=1), failure=failure)))


@pytest.mark.parametrize(
    ("status", "how"), [(3, "exit status 3"), (-signal.SIGSEGV, "SIGSEGV"), (-40, "signal 40")]
)
def test_a_root_that_did_not_succeed_crashed(status: int, how: str) -> None:
    (finding,) = detect(run(root=dataclasses.replace(ROOT, status=status)))

    assert finding.subject == how
    assert finding.object == "P0"
    assert how in finding.summary
    assert "python shop.py" in finding.summary


@pytest.mark.parametrize("status", [0, None])
def test_a_root_that_succeeded_or_whose_status_is_unknown_did_not(status: int | None) -> None:
    assert not list(detect(run(root=dataclasses.replace(ROOT, status=status))))


@pytest.mark.parametrize("ending", [Ending.STUCK, Ending.TIMED_OUT, Ending.OVERRUN])
def test_a_root_that_the_lab_killed_did_not_crash(ending: Ending) -> None:
    killed = dataclasses.replace(LIVING_ROOT, status=-signal.SIGKILL)

    assert not list(detect(run(root=killed, ending=ending)))


def test_a_root_that_crashed_by_its_own_fault_before_the_lab_could_kill_it_did() -> None:
    crashed = dataclasses.replace(ROOT, status=-signal.SIGSEGV)

    assert list(detect(run(root=crashed, ending=Ending.TIMED_OUT)))


def test_a_root_that_something_else_killed_did() -> None:
    killed = dataclasses.replace(ROOT, status=-signal.SIGKILL)

    assert [finding.subject for finding in detect(run(root=killed))] == ["SIGKILL"]


def test_the_users_interruption_is_no_crash() -> None:
    failure = dataclasses.replace(ERROR, type="KeyboardInterrupt")

    assert not list(detect(run(failure=failure, ending=Ending.INTERRUPTED)))
    assert list(detect(run(failure=failure)))
    assert list(detect(run(failure=ERROR, ending=Ending.INTERRUPTED)))


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE])
def test_a_child_that_a_signal_of_its_own_fault_ended_crashed(number: signal.Signals) -> None:
    (finding,) = detect(run(child(ended=1.0, reaped=1.0, status=-number)))

    assert finding.object == "child of P0"
    assert finding.subject == number.name
    assert finding.processes == ("P1", "P0")
    assert "P1 (worker 1)" in finding.summary


@pytest.mark.parametrize(
    "status", [0, 1, None, -signal.SIGTERM, -signal.SIGKILL, -signal.SIGINT, -signal.SIGPIPE]
)
def test_a_child_that_was_ended_on_purpose_or_answers_by_its_status_did_not(
    status: int | None,
) -> None:
    assert not list(detect(run(child(ended=1.0, reaped=1.0, status=status))))


def test_children_that_crashed_alike_are_one_finding_others_another() -> None:
    found = list(
        detect(
            run(
                child("P1", status=-signal.SIGSEGV),
                child("P2", status=-signal.SIGABRT),
                child("P3", status=-signal.SIGSEGV),
            )
        )
    )

    assert [finding.processes for finding in found] == [("P1", "P3", "P0"), ("P2", "P0")]
    assert len({finding.identity for finding in found}) == 2


def test_helpers_of_multiprocessing_are_no_concern_of_the_author() -> None:
    assert not list(detect(run(child(status=-signal.SIGSEGV, helper=True))))


def test_an_exception_without_a_message_says_so() -> None:
    (finding,) = detect(run(failure=dataclasses.replace(ERROR, message="")))

    assert "without a message" in finding.summary
