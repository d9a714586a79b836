from __future__ import annotations

from lab.detect.orphan import detect
from lab.finding import Kind
from tests.detect.builders import child, run


def test_a_process_that_outlived_its_parent_is_an_orphan() -> None:
    (finding,) = detect(run(child(orphaned=1.0, ended=1.5)))

    assert finding.kind is Kind.ORPHAN
    assert finding.processes == ("P0", "P1")
    assert "P0 (python shop.py) ended first" in finding.summary
    assert "P1 (worker 1)" in finding.summary
    assert "for 0.50 s; then it ended" in finding.details[0]
    assert "P0 should end its children" in finding.advice


def test_one_that_outlived_its_reaper_too_is_that_one_s() -> None:
    (finding,) = detect(run(child("P2", parent="P1", reaper="P0", orphaned=1.0)))

    assert finding.processes == ("P0", "P2")


def test_one_that_still_ran_at_the_end_says_so() -> None:
    (finding,) = detect(run(child(orphaned=1.0)))

    assert "for 1.00 s; when the run ended it still ran" in finding.details[0]


def test_a_process_with_a_living_parent_is_none() -> None:
    assert not list(detect(run(child(ended=1.0, reaped=1.0))))


def test_helpers_of_multiprocessing_end_by_themselves() -> None:
    assert not list(detect(run(child(orphaned=1.0, helper=True))))


def test_orphans_of_one_parent_are_one_finding() -> None:
    (finding,) = detect(run(child("P1", orphaned=1.0), child("P2", orphaned=1.0)))

    assert finding.processes == ("P0", "P1", "P2")
    assert len(finding.details) == 2
    assert finding.summary.startswith("P1 and P2 lived on without a parent")
    assert "Their exit" in finding.summary


def test_an_orphan_whose_parent_nobody_saw_is_named_alone() -> None:
    (finding,) = detect(run(child(parent="", orphaned=1.0)))

    assert finding.processes == ("P1",)
    assert "an unseen process" in finding.object
    assert "the parent ended first. Its exit" in finding.summary
    assert finding.advice.startswith("The parent should")
