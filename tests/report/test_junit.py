"""JUnit XML: what a CI counts, and nothing that breaks the document."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given

from lab.report.junit import render
from lab.report.story import Report, Story
from tests.report.reports import FEW, reports
from tests.report.samples import (
    ALL,
    DECLARED,
    DIFFERS,
    ERROR,
    FAILED,
    GONE,
    KNOWN,
    KNOWN_BESIDE,
    LED,
    PARTLY_KNOWN,
    PASSED,
    SKIPPED,
    UNDECIDED,
    VACUOUS,
)

xmlschema = pytest.importorskip("xmlschema", reason="xmlschema is not installed")
SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  # what the lab has just written


def cases(*stories: Story) -> list[ET.Element]:
    return list(parsed(render(Report(stories))).iter("testcase"))


@pytest.mark.parametrize(
    ("story", "outcome"),
    [
        (FAILED, "failure"),
        (PASSED, "system-out"),
        (ERROR, "error"),
        (VACUOUS, "error"),
        (DECLARED, "system-out"),
        (DIFFERS, "failure"),
        (UNDECIDED, "error"),
    ],
)
def test_a_test_fails_where_something_is_to_be_done(story: Story, outcome: str) -> None:
    (case,) = cases(story)
    assert [child.tag for child in case] == ["properties", outcome]


def test_a_failure_carries_the_text_of_the_terminal_and_the_replay() -> None:
    (case,) = cases(FAILED)
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("type") == "lost-update"
    assert failure.text is not None
    assert "LOST UPDATE" in failure.text
    assert "scenarios" not in failure.text.splitlines()[0]
    properties = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert properties["replay"] == "1token"
    assert (case.get("classname"), case.get("name")) == ("counter", "unguarded [controlled]")


def test_a_fix_that_was_led_along_is_a_test_of_its_own() -> None:
    assert [case.get("name") for case in cases(LED)] == [
        "unguarded [controlled]",
        "guarded [controlled] (led along)",
    ]


def test_the_counts_are_those_of_the_tests() -> None:
    root = parsed(render(ALL))
    counts = [root.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["13", "4", "3", "3"]


def test_what_was_skipped_is_so() -> None:
    (case,) = cases(SKIPPED)
    assert [(child.tag, child.get("message")) for child in case][1:] == [
        ("skipped", "skipped: it needs a server")
    ]


@pytest.mark.parametrize("story", [KNOWN, KNOWN_BESIDE])
def test_what_is_known_is_skipped_with_the_reason_and_its_text(story: Story) -> None:
    (case,) = cases(story)
    assert [child.tag for child in case] == ["properties", "skipped", "system-out"]
    assert case[1].get("message") == "known: lost-update of /counter in counter.unguarded"
    assert "LOST UPDATE" in (case[2].text or "")


def test_one_that_is_new_fails_and_what_is_known_beside_it_is_a_property() -> None:
    (case,) = cases(PARTLY_KNOWN)
    (failure,) = case.findall("failure")
    assert (failure.get("type"), failure.get("message")) == (
        "leak",
        "LEAK posix-shm: It was left.",
    )
    properties = {each.get("name"): each.get("value") for each in case.iter("property")}
    assert properties["known"] == "lost-update of /counter in counter.unguarded"


def test_what_is_gone_is_a_property_of_its_program() -> None:
    cases = parsed(render(Report((PASSED, FAILED), gone=GONE))).iter("testcase")
    gone = [
        [p.get("value") for p in case.iter("property") if p.get("name") == "gone"] for case in cases
    ]
    assert gone == [["leak posix-shm of /jobs in counter.guarded"], []]


def test_what_was_stopped_is_never_green() -> None:
    assert parsed(render(Report((PASSED,), stopped="Ctrl-C"))).get("errors") == "1"


def test_the_samples_are_valid() -> None:
    SCHEMA.validate(render(ALL))


@FEW
@given(reports)
def test_whatever_a_program_says_the_document_is_valid(report: Report) -> None:
    SCHEMA.validate(render(report))
