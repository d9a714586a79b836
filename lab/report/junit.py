"""JUnit XML, as Jenkins and GitLab read it: a suite of one test for each result.

Of scenarios that were compared with what they declare, a test fails where the two differ: there a
bug that shows itself is a good one. Elsewhere it fails where anything was found, and is an error
where the lab could not decide: neither is ever a pass, nor is what was skipped. What a baseline
knows is skipped with that as its reason, as pytest writes a failure that was expected: a CI then
neither fails for it nor shows it as mended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from lab.known import Known
from lab.report.story import Standing, shown
from lab.report.style import printable
from lab.report.terminal import render as told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.finding import Result
    from lab.report.story import Report, Story

_LONGEST = 500
"""Characters of an attribute: it is a headline, and the text below it has everything."""


def render(report: Report) -> str:
    """The document, in UTF-8 whose every character XML 1.0 allows."""
    suites = ET.Element("testsuites", name="race-lab")
    suite = ET.SubElement(suites, "testsuite", name="race-lab")
    for story in report.stories:
        _test(suite, story, report.gone or ())
    if report.stopped:
        case = ET.SubElement(suite, "testcase", classname="lab", name="stopped", time="0")
        _add(case, "error", "stopped", f"not everything was done: {report.stopped}")
    counts = {
        "tests": len(suite),
        "failures": len(suite.findall("testcase/failure")),
        "errors": len(suite.findall("testcase/error")),
        "skipped": len(suite.findall("testcase/skipped")),
    }
    seconds = sum(result.seconds for story in report.stories for result in story.results)
    for element in (suites, suite):
        element.attrib |= {name: str(number) for name, number in counts.items()}
        element.set("time", f"{seconds:.3f}")
    ET.indent(suites)
    body = ET.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def _test(suite: ET.Element, story: Story, gone: Iterable[Known]) -> None:
    case = _case(suite, story.result)
    _properties(case, "known", (Known.of(story.result.scenario, each) for each in story.known))
    _properties(case, "gone", (each for each in gone if each.program == story.result.scenario))
    text = "\n".join((*map(printable, story.differences or ()), shown(story)))
    match story.standing:
        case Standing.BAD:
            kinds = ", ".join(dict.fromkeys(each.kind for each in story.new))
            _add(case, "failure", kinds or "difference", "; ".join(story.complaints), text)
        case Standing.UNDECIDED:
            _add(case, "error", story.result.verdict, "; ".join(story.complaints), text)
        case Standing.SKIPPED:
            ET.SubElement(case, "skipped", message=_attribute("; ".join(story.complaints)))
        case Standing.KNOWN:
            ET.SubElement(case, "skipped", message=_attribute("; ".join(story.complaints)))
            ET.SubElement(case, "system-out").text = text
        case Standing.GOOD:
            ET.SubElement(case, "system-out").text = text
    for led in story.led:
        fix = _case(suite, led.result, " (led along)")
        if led.result.verdict.exit_status:
            kind = "failure" if led.result.findings else "error"
            _add(fix, kind, led.result.verdict, led.result.verdict, told(led.result))


def _case(suite: ET.Element, result: Result, suffix: str = "") -> ET.Element:
    family, _, name = result.scenario.partition(".")
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_attribute(family if name else "lab"),
        name=_attribute(f"{name or result.scenario} [{result.mode}]{suffix}"),
        time=f"{result.seconds:.3f}",
    )
    properties = ET.SubElement(case, "properties")
    facts = {"verdict": result.verdict, "runs": str(result.runs), "search": result.search}
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=name, value=_attribute(value))
    for finding in result.findings:
        if finding.schedule:
            ET.SubElement(properties, "property", name="replay", value=printable(finding.schedule))
    return case


def _properties(case: ET.Element, name: str, values: Iterable[object]) -> None:
    """Add properties of a test; those that every test has are there."""
    properties = case.find("properties")
    assert properties is not None
    for value in values:
        ET.SubElement(properties, "property", name=name, value=_attribute(str(value)))


def _add(case: ET.Element, tag: str, kind: str, message: str, text: str = "") -> None:
    element = ET.SubElement(case, tag, type=_attribute(kind), message=_attribute(message))
    element.text = text or printable(message)


def _attribute(text: str) -> str:
    line = printable(text)
    more = len(line) - _LONGEST
    return line if more <= 0 else f"{line[:_LONGEST]}... ({more} characters more)"
