"""Reports and catalogues as JSON: format 1, to which keys may be added and none taken away.

A report is saved whole, so that `lab.report.load` can read it back and any other form can be made
from the file. Written in ASCII: a name that came from a program cannot then disturb a terminal, and
the document is valid UTF-8 wherever it goes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import __version__
from lab.finding import Kind
from lab.report.load import FORMAT
from lab.report.terminal import again

if TYPE_CHECKING:
    from lab.finding import Finding, Occurrence, Result
    from lab.report.story import Report, Story
    from lab.scenario import Scenario
    from lab.search.guided import Wait
    from lab.trace import Event

_SURROGATES = re.compile("[\ud800-\udfff]")


def result_object(result: Result, known: Collection[Finding] = ()) -> dict[str, Any]:
    """One result as plain data, and of each finding whether it is among those that are known."""
    strict = any(finding.kind is Kind.DATA_RACE for finding in result.findings)
    return {
        "scenario": result.scenario,
        "mode": result.mode,
        "verdict": result.verdict,
        "runs": result.runs,
        "seconds": result.seconds,
        "findings": [
            _finding(each, strict=strict, known=each.finding in known)
            for each in result.occurrences
        ],
        "reason": result.reason,
        "notes": list(result.notes),
        "outcomes": [
            {"result": outcome.result, "runs": outcome.runs, "allowed": outcome.allowed}
            for outcome in result.outcomes
        ],
        "isolation": result.isolation,
        "parameters": dict(result.parameters),
        "search": result.search,
        "exhausted": result.exhausted,
        "saved": result.saved,
        "stale": list(result.stale),
        "elsewhere": list(result.elsewhere),
        "lacking": list(result.lacking),
        "output": result.output,
    }


def story_object(story: Story) -> dict[str, Any]:
    """A result with all that belongs to it: how its fixes fared, where the program is."""
    told = result_object(story.result, story.known) | {
        "summary": story.summary,
        "where": story.where,
        "leading": None if story.leading is None else _place(story.leading, story.result),
        "led": [
            {
                "result": result_object(led.result),
                "steps": [_step(event) for event in led.events],
                "waits": [_wait(wait) for wait in led.waits],
            }
            for led in story.led
        ],
        "code": [dataclasses.asdict(code) for code in story.code],
    }
    if story.differences is not None:
        told |= {"differences": list(story.differences), "undecided": story.undecided}
    return told


def render(report: Report) -> str:
    """The whole report, as `--json` writes it.

    If the command ended before it had done everything it has a key `stopped`, so that a partial
    document cannot be taken for a whole one. If there was a baseline it has a key `gone`.
    """
    whole: dict[str, Any] = {
        "format": FORMAT,
        "lab": __version__,
        "results": [story_object(story) for story in report.stories],
        "sources": {
            name: {str(number): line for number, line in lines.items()}
            for name, lines in report.sources.items()
        },
    }
    if report.stopped:
        whole["stopped"] = report.stopped
    if report.gone is not None:
        whole["gone"] = [dataclasses.asdict(each) for each in report.gone]
    return encode(whole)


def scenario_object(scenario: Scenario) -> dict[str, Any]:
    """What a scenario declares, as plain data."""
    return {
        "id": scenario.id,
        "family": scenario.family,
        "role": scenario.role,
        "fixes": scenario.fixes,
        "expects": sorted(scenario.expects),
        "may_show": sorted(scenario.may_show),
        "needs": list(scenario.needs),
        "parameters": {parameter.name: parameter.default for parameter in scenario.parameters},
        "summary": scenario.summary,
    }


def encode(data: object, *, indent: int | None = 2) -> str:
    """The data as JSON, with a newline at its end; bytes that were no text become U+FFFD."""
    return json.dumps(_clean(data), indent=indent) + "\n"


def write(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the whole new one, never a part.

    What is no regular file (a pipe, /dev/null) is written to: it must not be replaced by one.

    Raises OSError as the file system gives it.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    target = path.resolve()  # a symbolic link goes on pointing where its owner put it
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp gives 0600; a report is as readable as any file that its user makes.
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(target)
    except BaseException:  # Ctrl-C too: no half a file stays beside the report
        Path(temporary).unlink(missing_ok=True)
        raise


def _place(leading: Finding, result: Result) -> int:
    return next(index for index, each in enumerate(result.findings) if each == leading)


def _finding(occurrence: Occurrence, *, strict: bool, known: bool) -> dict[str, Any]:
    finding = occurrence.finding
    return {
        "kind": finding.kind,
        "object": finding.object,
        "summary": finding.summary,
        "processes": list(finding.processes),
        "subject": finding.subject,
        "advice": finding.advice,
        "details": list(finding.details),
        "seen_in": occurrence.runs,
        "known": known,
        "schedule": finding.schedule,
        "replay": again(finding.schedule, strict_races=strict) if finding.schedule else "",
        "key_steps": list(finding.key_steps),
        "shrunk": dataclasses.asdict(finding.shrunk) if finding.shrunk else None,
        "steps": [_step(event) for event in finding.steps],
    }


def _step(event: Event) -> dict[str, Any]:
    return {
        "step": event.step,
        "process": event.process,
        "action": event.action,
        "call": event.call,
        "object": event.object,
        "offset": event.offset,
        "size": event.size,
        "before": event.before.hex(),
        "after": event.after.hex(),
        "result": event.result,
        "where": event.where,
        "time": event.time,
        "also": list(event.also),
        "waits": event.waits,
        "timed": event.timed,
    }


def _wait(wait: Wait) -> dict[str, Any]:
    """Before which step, and what the process stood before."""
    return {"step": wait.step, "pending": dataclasses.asdict(wait.pending)}


def _clean(data: Any) -> Any:
    # A lone surrogate is valid to Python's encoder and to nobody else's decoder.
    if isinstance(data, str):
        return _SURROGATES.sub("\ufffd", data)
    if isinstance(data, Mapping):
        return {_clean(key): _clean(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_clean(value) for value in data]
    return data
