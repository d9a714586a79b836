"""SARIF 2.1.0 (OASIS): findings as code scanning shows them, each with the steps that led there.

A finding that its scenario declares is there too, suppressed: it is known and wanted. A result that
could not be decided is no result of SARIF but a notification, and the run did then not succeed. One
that was skipped is a notification too.

With a baseline each finding says whether it is new or unchanged, and what is known is suppressed.
GitHub reads neither word: there the level keeps what is known, a note, from failing a check, and
the fingerprint keeps it one alert. Left out it would be taken for mended, and opened anew. For the
same reason what is gone is a notification, and no result that is "absent": GitHub would open an
alert for it, where it closes the one it has when the result is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lab import __version__
from lab.finding import Kind
from lab.known import fingerprint
from lab.operation import happening
from lab.report.json import encode
from lab.report.steps import last_steps, rows
from lab.report.story import Standing, located
from lab.report.style import cut, printable
from lab.report.terminal import again, title

if TYPE_CHECKING:
    from lab.finding import Finding
    from lab.report.story import Report, Story
    from lab.trace import Event

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LONGEST = 1000
_DIFFERENCE = "not-as-declared"
_RULES = (*Kind, _DIFFERENCE)
_DECLARED = "the scenario declares it, and shows it"
_KNOWN = "the baseline has it"
_UNKNOWN = {Standing.UNDECIDED: "error", Standing.SKIPPED: "note"}


def render(report: Report) -> str:
    """The log, with one run in it."""
    told = [
        _notification(story, level)
        for story in report.stories
        if (level := _UNKNOWN.get(story.standing))
    ]
    if report.stopped:
        told.append({"level": "error", "message": _text(f"stopped: {report.stopped}")})
    told.extend({"level": "note", "message": _text(each)} for each in report.absences)
    unknown = [story for story in report.stories if story.standing in _UNKNOWN]
    # A run in which all was skipped says nothing of anybody.
    decided = (not unknown or len(unknown) < len(report.stories)) and all(
        each["level"] != "error" for each in told
    )
    driver = {
        "name": "race-lab",
        "version": __version__,
        "rules": [
            {"id": rule, "shortDescription": {"text": rule.replace("-", " ")}} for rule in _RULES
        ],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {"executionSuccessful": decided, "toolExecutionNotifications": told},
        ],
        "results": [
            result
            for story in report.stories
            for result in _results(story, gated=report.gone is not None)
        ],
    }
    return encode({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _results(story: Story, *, gated: bool) -> list[dict[str, Any]]:
    compared = story.differences is not None
    # Of a scenario that is as it declares, what is not known is what it declares.
    wanted = _DECLARED if compared and not story.differences else ""
    results = [
        _result(story, finding, seen, _KNOWN if finding in story.known else wanted)
        for finding, seen in zip(story.result.findings, story.result.seen_in, strict=True)
    ]
    if compared and story.standing is Standing.BAD and not story.new:
        results.extend(_difference(story, each) for each in story.complaints)
    if gated:
        for each in results:
            each["baselineState"] = "unchanged" if "suppressions" in each else "new"
    return results


def _result(story: Story, finding: Finding, seen: int, allowed: str) -> dict[str, Any]:
    """A finding; `allowed` is why nothing is to be done about it."""
    lines = [f"{title(finding)} in {story.result.scenario}: {finding.summary}", finding.advice]
    if finding.schedule:
        lines.append(f"Replay: {again(finding.schedule)}")
    result: dict[str, Any] = {
        "ruleId": finding.kind,
        "ruleIndex": _RULES.index(finding.kind),
        "level": "note" if allowed else "error",
        "message": _text(*lines),
        "locations": _locations(story.place_of(finding)),
        "partialFingerprints": {"findingIdentity/v1": fingerprint(story.result.scenario, finding)},
        "properties": {
            "scenario": printable(story.result.scenario),
            "object": printable(finding.object),
            "runs": story.result.runs,
            "seenIn": seen,
            "schedule": printable(finding.schedule),
        },
    }
    if steps := rows(finding) or last_steps(finding):
        flow = {"locations": [_step(event, order) for order, event in enumerate(steps, 1)]}
        result["codeFlows"] = [{"message": _text("the steps that matter"), "threadFlows": [flow]}]
    if allowed:
        result["suppressions"] = [{"kind": "external", "justification": allowed}]
    return result


def _difference(story: Story, complaint: str) -> dict[str, Any]:
    return {
        "ruleId": _DIFFERENCE,
        "ruleIndex": _RULES.index(_DIFFERENCE),
        "level": "error",
        "message": _text(complaint),
        "locations": _locations(story.place_of(None)),
    }


def _step(event: Event, order: int) -> dict[str, Any]:
    location: dict[str, Any] = {"message": _text(f"{event.process}: {happening(event)}")}
    location |= _physical(located(event.where))
    return {
        "location": location,
        "executionOrder": order,
        "properties": {"step": event.step, "process": printable(event.process)},
    }


def _locations(at: tuple[str, int] | None) -> list[dict[str, Any]]:
    return [_physical(at)] if at else []


def _physical(at: tuple[str, int] | None) -> dict[str, Any]:
    if at is None:
        return {}
    file, line = at
    # A path may hold what no address may: control characters, spaces, what was no text.
    address = quote(file, errors="backslashreplace")
    address = f"file://{address}" if file.startswith("/") else address
    return {
        "physicalLocation": {"artifactLocation": {"uri": address}, "region": {"startLine": line}}
    }


def _notification(story: Story, level: str) -> dict[str, Any]:
    return {
        "level": level,
        "message": _text(f"{story.result.scenario}: {'; '.join(story.complaints)}"),
        "locations": _locations(story.place_of(None)),
    }


def _text(*lines: str) -> dict[str, str]:
    return {"text": "\n".join(cut(line, _LONGEST) for line in lines if line) or "-"}
