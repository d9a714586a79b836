"""A saved report is the report: nothing is lost on the way through a file."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given

from lab.finding import Finding, Result
from lab.report.json import render
from lab.report.load import from_json
from lab.report.plain import BadData
from lab.report.story import Report
from lab.trace import Event
from tests.report.reports import FEW, reports
from tests.report.samples import ALL, FAILED


@FEW
@given(reports)
def test_what_was_saved_is_read_back_the_same(report: Report) -> None:
    assert from_json(render(report)) == report


def test_each_fact_has_a_key() -> None:
    """What is added to a record and not to the file would be lost without a word."""
    (failed, *_) = json.loads(render(Report((FAILED,))))["results"]
    (finding,) = failed["findings"]
    for kind, written in ((Result, failed), (Finding, finding), (Event, finding["steps"][0])):
        fields = {field.name for field in dataclasses.fields(kind)} - {"seen_in"}
        assert fields <= written.keys(), kind


def test_a_file_of_before_a_key_was_added_can_be_read() -> None:
    old = {"scenario": "a", "mode": "observed", "verdict": "passed", "runs": 1, "seconds": 1}
    (story,) = from_json(json.dumps({"format": 1, "results": [old]})).stories
    assert (story.result.scenario, story.result.seconds, story.led) == ("a", 1.0, ())


def test_what_is_known_and_gone_is_saved() -> None:
    saved = json.loads(render(ALL))
    assert [each["known"] for each in saved["results"][-2]["findings"]] == [True, False]
    (gone,) = saved["gone"]
    assert (gone["program"], gone["kind"], gone["object"]) == ("counter.guarded", "leak", "/jobs")
    assert from_json(render(ALL)) == ALL


def test_a_key_that_a_later_lab_added_is_passed_over() -> None:
    assert from_json('{"format": 1, "results": [], "mood": "good"}') == Report(())


RESULT = {"scenario": "a", "mode": "observed", "verdict": "passed", "runs": 1, "seconds": 1}
FINDING = {"kind": "leak", "object": "/q", "summary": "It stays.", "seen_in": 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", "it holds no results"),
        ('{"results": []}', "its format is None, and this lab reads 1"),
        ('{"results": {}, "format": 1}', "results is to be a list"),
        ('{"results": [3], "format": 1}', "results[0] is to be an object"),
        ('{"results": [], "format": 1, "sources": {"a": {"x": ""}}}', "sources is to be"),
    ],
)
def test_what_is_no_report_is_refused(text: str, told: str) -> None:
    with pytest.raises(BadData) as refused:
        from_json(text)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"runs": "three"}, "results[0].runs is to be a whole number, and not 'three'"),
        ({"runs": True}, "results[0].runs is to be a whole number, and not True"),
        ({"verdict": "fine"}, "results[0].verdict is to be one of failed, proved"),
        ({"notes": "x"}, "results[0].notes is to be a list"),
        ({"findings": [3]}, "results[0].findings is to be a list of objects"),
        ({"findings": [FINDING]}, "results[0] contradicts itself: passed with 1 findings"),
        (
            {"verdict": "failed", "findings": [FINDING | {"steps": [{"step": 1}]}]},
            "results[0].findings[0].steps[0].process is missing",
        ),
        ({"leading": 3}, "results[0].leading is to be the number of a finding"),
        ({"led": [{"result": RESULT}]}, "results[0].led[0].steps is to be a list"),
    ],
)
def test_what_contradicts_the_format_is_told_with_its_place(
    change: dict[str, object], told: str
) -> None:
    with pytest.raises(BadData) as refused:
        from_json(json.dumps({"format": 1, "results": [RESULT | change]}))
    assert told in str(refused.value)
