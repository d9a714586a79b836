"""A saved report, read back: the inverse of what `lab.report.json` writes.

What JSON cannot hold is the one thing lost: bytes that were no text, and became U+FFFD.
"""

from __future__ import annotations

import json
from typing import Any

from lab.finding import Result
from lab.known import Known
from lab.report.plain import BadData, listed, read, text
from lab.report.story import Code, Led, Report, Sources, Story
from lab.search.guided import Wait
from lab.trace import Event

FORMAT = 1


def from_json(document: str) -> Report:
    """The report that this text was made from.

    Raises BadData for a text that is no report, or one of a format that this lab does not know.
    """
    try:
        data = json.loads(document)
    except (ValueError, RecursionError) as bad:
        raise BadData(f"it is no JSON: {bad}") from bad
    if not isinstance(data, dict) or "results" not in data:
        raise BadData("it holds no results: give a file that --json of run, explore or check wrote")
    if data.get("format") != FORMAT:
        raise BadData(f"its format is {data.get('format')!r}, and this lab reads {FORMAT}")
    results = data["results"]
    if not isinstance(results, list):
        raise BadData("results is to be a list")
    return Report(
        tuple(_story(each, f"results[{index}]") for index, each in enumerate(results)),
        _sources(data.get("sources", {})),
        text(data.get("stopped", ""), "stopped"),
        listed(Known, data["gone"], "gone") if "gone" in data else None,
    )


def _story(data: Any, at: str) -> Story:
    result = _result(data, at)
    leading = data.get("leading")
    if leading is not None and leading not in range(len(result.findings)):
        raise BadData(f"{at}.leading is to be the number of a finding, from 0")
    differences = data.get("differences")
    return Story(
        result,
        None if leading is None else result.findings[leading],
        tuple(
            _led(each, f"{at}.led[{index}]")
            for index, each in enumerate(_list(data.get("led", []), f"{at}.led"))
        ),
        text(data.get("summary", ""), f"{at}.summary"),
        listed(Code, data.get("code", []), f"{at}.code"),
        text(data.get("where", ""), f"{at}.where"),
        None
        if differences is None
        else tuple(
            text(each, f"{at}.differences") for each in _list(differences, f"{at}.differences")
        ),
        data.get("undecided") is True,
        tuple(
            finding
            for finding, saved in zip(result.findings, data.get("findings", []), strict=True)
            if saved.get("known") is True
        ),
    )


def _led(data: Any, at: str) -> Led:
    if not isinstance(data, dict):
        raise BadData(f"{at} is to be an object")
    return Led(
        _result(data.get("result"), f"{at}.result"),
        listed(Event, data.get("steps"), f"{at}.steps"),
        listed(Wait, data.get("waits"), f"{at}.waits"),
    )


def _result(data: Any, at: str) -> Result:
    """Its findings carry in how many runs they were seen, and its parameters are an object."""
    if not isinstance(data, dict):
        raise BadData(f"{at} is to be an object")
    findings = _list(data.get("findings", []), f"{at}.findings")
    if not all(isinstance(finding, dict) for finding in findings):
        raise BadData(f"{at}.findings is to be a list of objects")
    parameters = data.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadData(f"{at}.parameters is to be an object")
    return read(
        Result,
        data
        | {
            "seen_in": [finding.get("seen_in") for finding in findings],
            "parameters": [list(pair) for pair in parameters.items()],
        },
        at,
    )


def _list(data: Any, at: str) -> list[Any]:
    if not isinstance(data, list):
        raise BadData(f"{at} is to be a list")
    return data


def _sources(data: Any) -> Sources:
    try:
        return {
            text(name, "sources"): {int(number): text(line, name) for number, line in lines.items()}
            for name, lines in data.items()
        }
    except (AttributeError, ValueError) as bad:
        raise BadData("sources is to be an object: for each file its lines by number") from bad
