"""What can be replayed: a token, or a file that holds some.

A report of a nightly run is enough to bring home all that failed there: each of its findings
carries its schedule, and its steps, so that a replay that goes another way can say where.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab.corpus import BadFile, read
from lab.finding import Finding
from lab.report.load import from_json
from lab.report.plain import BadData
from lab.search.token import Token


def replayable(text: str) -> tuple[str | Finding, ...]:
    """The runs that a text names, each once.

    Args:
        text: a token; or the name of a file: a saved schedule, or a report as `--json` writes it.

    Raises BadFile for a file that holds none.
    """
    path = Path(text)
    if not (path.suffix or "/" in text or os.path.isfile(text)):  # no token has a dot or a slash
        return (text,)
    try:
        content = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from error
    if '"results"' not in content:
        return (str(read(path).token),)
    try:
        report = from_json(content)
    except BadData as bad:
        raise BadFile(f"{path} is no report: {bad}") from bad
    found: dict[str, Finding] = {}
    for story in report.stories:
        for finding in story.result.findings:
            if finding.schedule:
                found.setdefault(finding.schedule, finding)
    if not found:
        raise BadFile(f"{path} holds no schedule: nothing in it was found under control")
    return tuple(found.values())


def only(text: str) -> str | Finding:
    """The one run that a text names.

    Raises BadFile if there are several, or none.
    """
    runs = replayable(text)
    if len(runs) > 1:
        raise BadFile(f"{text} holds {len(runs)} schedules, and one is wanted: give its token")
    return runs[0]


def token(run: str | Finding) -> str:
    """Its token."""
    return run.schedule if isinstance(run, Finding) else run


def of_program(text: str, name: str) -> str:
    """The token of a run of the program with this name; the first where there are several.

    Raises BadFile where there is none, and BadToken.
    """
    tokens = [token(run) for run in replayable(text)]
    if tokens == [text]:
        return text
    for each in tokens:
        if Token.read(each).origin.name == name:
            return each
    raise BadFile(f"{text} holds no schedule of {name}")
